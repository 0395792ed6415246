//! Every name that leaves the program, once.
//!
//! Keys are those of LiveKit's registry (`otel/` of livekit/protocol) where it has one, then those of
//! OpenTelemetry's semantic conventions (version 1.44.0). All others begin with `lk.`. Values of LiveKit's enums are
//! spelled as the protobuf spells them.

/// The schema of the OpenTelemetry names used.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The keys of personal data, which `privacy.pii` applies to. An error's text is among them, as it
/// may quote anything. LiveKit's collectors delete keys with a segment `pii`.
pub const PERSONAL: &[&str] = &[
    key::ROOM_NAME,
    key::PARTICIPANT_IDENTITY,
    key::ERROR,
    key::SIP_PHONE_NUMBER,
    key::SIP_TRUNK_PHONE_NUMBER,
];

pub mod metric;

/// Attribute keys.
pub mod key {
    /// The room's session id, `RM_…`.
    pub const ROOM_ID: &str = "lk.room_id";
    /// The room's name. Personal data.
    pub const ROOM_NAME: &str = "lk.pii.room_name";
    /// The participant's session id, `PA_…`.
    pub const PARTICIPANT_ID: &str = "lk.participant_id";
    /// The participant's identity. Personal data.
    pub const PARTICIPANT_IDENTITY: &str = "lk.pii.participant_identity";
    /// `STANDARD`, `INGRESS`, `EGRESS`, `SIP`, `AGENT`, `CONNECTOR` or `BRIDGE`.
    pub const PARTICIPANT_KIND: &str = "lk.participant_kind";
    /// Why the participant left: `CLIENT_INITIATED`, ….
    pub const DISCONNECT_REASON: &str = "lk.disconnect_reason";
    /// The participant that publishes the track subscribed to.
    pub const PUBLISHER_ID: &str = "lk.publisher_id";
    /// The track's session id, `TR_…`.
    pub const TRACK_ID: &str = "lk.track_id";
    /// audio or video; absent for data.
    pub const TRACK_KIND: &str = "lk.track.kind";
    /// `SOURCE_CAMERA`, `SOURCE_MICROPHONE`, `SOURCE_SCREENSHARE` or `SOURCE_SCREENSHARE_AUDIO`; absent
    /// if it is unknown.
    pub const TRACK_SOURCE: &str = "lk.track_source";
    /// The codec, `audio/opus`.
    pub const TRACK_MIME_TYPE: &str = "lk.track.mime_type";
    /// How often the track was muted.
    pub const TRACK_MUTES: &str = "lk.track.mutes";
    /// How long the track was muted in all, in seconds.
    pub const TRACK_MUTED_DURATION: &str = "lk.track.muted_duration";
    /// The LiveKit node, `ND_…`.
    pub const NODE_ID: &str = "lk.node_id";
    /// The egress, `EG_…`.
    pub const EGRESS_ID: &str = "lk.egress_id";
    /// Its status: `EGRESS_ACTIVE`, `EGRESS_FAILED`, ….
    pub const EGRESS_STATUS: &str = "lk.egress.status";
    /// What it records, by its request: `room_composite`, `web`, `participant`, `track_composite`, `track`,
    /// `template`, `media` or `replay`.
    pub const EGRESS_TYPE: &str = "lk.egress.type";
    /// The time from its start to the first frame of its first result, in seconds.
    pub const EGRESS_FIRST_FRAME_LATENCY: &str = "lk.egress.first_frame_latency";
    /// Why it is, or was, stuck: `starting`, `ending`, `room_ended` or `participant_left`.
    pub const EGRESS_STUCK_REASON: &str = "lk.egress.stuck.reason";
    /// The ingress, `IN_…`.
    pub const INGRESS_ID: &str = "lk.ingress_id";
    /// Its status: `ENDPOINT_PUBLISHING`, ….
    pub const INGRESS_STATUS: &str = "lk.ingress.status";
    /// The SIP call, `SCL_…`.
    pub const SIP_CALL_ID: &str = "lk.sip.call_id";
    /// Its status: `SCS_ACTIVE`, ….
    pub const SIP_CALL_STATUS: &str = "lk.sip.call_status";
    /// `SCD_INBOUND` or `SCD_OUTBOUND`.
    pub const SIP_CALL_DIRECTION: &str = "lk.sip.call_direction";
    /// Why the SIP call ended: `CLIENT_INITIATED`, ….
    pub const SIP_DISCONNECT_REASON: &str = "lk.sip.disconnect_reason";
    /// The SIP status that a call or a transfer ended with, as 486.
    pub const SIP_STATUS_CODE: &str = "lk.sip.status_code";
    /// The SIP trunk, `ST_…`.
    pub const SIP_TRUNK_ID: &str = "lk.sip.trunk_id";
    /// The SIP dispatch rule, `SDR_…`.
    pub const SIP_DISPATCH_RULE_ID: &str = "lk.sip.dispatch_rule_id";
    /// The SIP transfer.
    pub const SIP_TRANSFER_ID: &str = "lk.sip.transfer_id";
    /// Whether the SIP call was answered: `answered`, `unanswered` or `unknown`.
    pub const SIP_ANSWER: &str = "lk.sip.answer";
    /// How long the SIP call took from its start to its answer, in seconds.
    pub const SIP_ANSWER_LATENCY: &str = "lk.sip.answer_latency";
    /// The status in its participant's attributes when that left: `dialing`, `ringing`, `automation`, `active`
    /// or `hangup`.
    pub const SIP_LAST_STATUS: &str = "lk.sip.last_status";
    /// The number outside of LiveKit: the caller's of an inbound call, or the callee's. Personal data.
    pub const SIP_PHONE_NUMBER: &str = "lk.pii.sip.phoneNumber";
    /// The trunk's number. Personal data.
    pub const SIP_TRUNK_PHONE_NUMBER: &str = "lk.pii.sip.trunkPhoneNumber";
    /// The agent job, `AJ_…`.
    pub const JOB_ID: &str = "lk.job_id";
    /// The agent's name.
    pub const AGENT_NAME: &str = "lk.agent_name";
    /// The dispatch that the job is of, `AD_…`.
    pub const DISPATCH_ID: &str = "lk.dispatch_id";
    /// What became of the dispatch: joined, rejected, `not_joined`, `no_worker`, `room_ended` or deleted.
    pub const DISPATCH_OUTCOME: &str = "lk.dispatch.outcome";
    /// How long it took from the dispatch's creation to the agent's join, in seconds.
    pub const DISPATCH_LATENCY: &str = "lk.dispatch.latency";
    /// Whether the dispatch names no agent, so that any worker without a name may answer it.
    pub const DISPATCH_AUTOMATIC: &str = "lk.dispatch.automatic";
    /// The worker that the job runs on, `AW_…`.
    pub const JOB_WORKER_ID: &str = "lk.job.worker_id";
    /// The agent that the job runs on, `A_…`.
    pub const JOB_AGENT_ID: &str = "lk.job.agent_id";
    /// The job's status: `JS_RUNNING`, ….
    pub const JOB_STATUS: &str = "lk.agent_job.status";
    /// Why the job has no agent, or had none when it last waited: `JSR_NO_CAPACITY`, ….
    pub const JOB_REASON: &str = "lk.agent_job.reason";
    /// How many attempts of the job were assigned to a worker.
    pub const JOB_ATTEMPTS: &str = "lk.agent_job.attempts";
    /// How long the job took from its creation to its first start, in seconds.
    pub const JOB_START_LATENCY: &str = "lk.agent_job.start_latency";
    /// How long the job's last attempt took from its acceptance to its assignment, in seconds.
    pub const JOB_ASSIGNMENT_LATENCY: &str = "lk.job.assignment_latency";
    /// The API call's service and method.
    pub const RPC_METHOD: &str = "rpc.method";
    /// The API call's Twirp error code; absent if it succeeded.
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    /// The method that a webhook is sent with.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// The status that a webhook's receiver answered with.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// The host that a webhook is sent to.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// The port that a webhook is sent to, if the URL names it.
    pub const SERVER_PORT: &str = "server.port";
    /// How long an operation took, in seconds.
    pub const DURATION: &str = "lk.duration";
    /// The feature that a report is about: `KRISP_NOISE_CANCELLATION`, ….
    pub const REPORT_FEATURE: &str = "lk.report.feature";
    /// The client's region, if the server knows it.
    pub const REGION: &str = "lk.client.region";
    /// The client's SDK: `JS`, `SWIFT`, ….
    pub const CLIENT_SDK: &str = "lk.client.sdk";
    /// The client's SDK version.
    pub const CLIENT_VERSION: &str = "lk.client.version";
    /// The client's operating system.
    pub const CLIENT_OS: &str = "lk.client.os";
    /// udp, tcp or turn.
    pub const CLIENT_CONNECTION_TYPE: &str = "lk.client.connection_type";
    /// How long connecting took, as the client reports it, in seconds.
    pub const CLIENT_CONNECT_TIME: &str = "lk.client.connect_time";
    /// The client's country, if the server knows it.
    pub const CLIENT_COUNTRY: &str = "lk.client.country";
    /// Why the client resumed: `signal_disconnected`, ….
    pub const RECONNECT_REASON: &str = "lk.reconnect.reason";
    /// Why the room ended: `ROOM_END_API_DELETE`, ….
    pub const ROOM_END_REASON: &str = "lk.room.end_reason";
    /// The layer of RTP totals.
    pub const VIDEO_LAYER: &str = "lk.video.layer";
    /// The highest quality that anyone subscribes to: `LOW`, `MEDIUM`, `HIGH` or `OFF`.
    pub const VIDEO_QUALITY: &str = "lk.video.quality";
    /// The webhook delivered: its event.
    pub const WEBHOOK_EVENT: &str = "lk.webhook.event";
    /// The webhook delivered: its id, `EV_…`.
    pub const WEBHOOK_EVENT_ID: &str = "lk.webhook.event_id";
    /// Whether the server gave up on the webhook.
    pub const WEBHOOK_DROPPED: &str = "lk.webhook.dropped";
    /// How many webhooks were dropped before it.
    pub const WEBHOOK_DROPPED_COUNT: &str = "lk.webhook.dropped_count";
    /// How long the webhook waited in the server's queue, in seconds.
    pub const WEBHOOK_QUEUE_DURATION: &str = "lk.webhook.queue_duration";
    /// How many rooms the node holds.
    pub const NODE_ROOMS: &str = "lk.node.rooms";
    /// How many participants the node's rooms hold.
    pub const NODE_PARTICIPANTS: &str = "lk.node.participants";
    /// Set on the series that collects everything over a cardinality limit (OpenTelemetry, metrics SDK).
    pub const METRIC_OVERFLOW: &str = "otel.metric.overflow";
    /// upstream (from the participant) or downstream (to it).
    pub const DIRECTION: &str = "lk.direction";
    /// Packets over the stream's life.
    pub const RTP_PACKETS: &str = "lk.rtp.packets";
    /// Bytes over the stream's life.
    pub const RTP_BYTES: &str = "lk.rtp.bytes";
    /// Packets over the stream's life that never arrived.
    pub const RTP_PACKETS_LOST: &str = "lk.rtp.packets_lost";
    /// Packets over the stream's life that arrived late.
    pub const RTP_PACKETS_OUT_OF_ORDER: &str = "lk.rtp.packets_out_of_order";
    /// Frames over the stream's life.
    pub const RTP_FRAMES: &str = "lk.rtp.frames";
    /// Key frames over the stream's life.
    pub const RTP_KEY_FRAMES: &str = "lk.rtp.key_frames";
    /// NACKs over the stream's life.
    pub const RTP_NACKS: &str = "lk.rtp.nacks";
    /// Picture loss indications over the stream's life.
    pub const RTP_PLIS: &str = "lk.rtp.plis";
    /// Full intra requests over the stream's life.
    pub const RTP_FIRS: &str = "lk.rtp.firs";
    /// Highest jitter of the stream's life, in seconds.
    pub const RTP_JITTER_MAX: &str = "lk.rtp.jitter_max";
    /// Highest round trip of the stream's life, in seconds.
    pub const RTP_ROUND_TRIP_MAX: &str = "lk.rtp.round_trip_max";
    /// Packets in all of the stream's stats windows.
    pub const STATS_PACKETS: &str = "lk.stats.packets";
    /// Bytes in all of the stream's stats windows.
    pub const STATS_BYTES: &str = "lk.stats.bytes";
    /// Packets lost in all of the stream's stats windows.
    pub const STATS_PACKETS_LOST: &str = "lk.stats.packets_lost";
    /// Frames in all of the stream's stats windows.
    pub const STATS_FRAMES: &str = "lk.stats.frames";
    /// How many stats windows the stream had.
    pub const STATS_WINDOWS: &str = "lk.stats.windows";
    /// The lowest quality score, 1 to 5.
    pub const STATS_SCORE_MIN: &str = "lk.stats.score_min";
    /// The mean of the windows' average quality scores, 1 to 5.
    pub const STATS_SCORE_AVERAGE: &str = "lk.stats.score_average";
    /// The highest round trip, in seconds.
    pub const STATS_ROUND_TRIP_MAX: &str = "lk.stats.round_trip_max";
    /// The highest jitter, in seconds.
    pub const STATS_JITTER_MAX: &str = "lk.stats.jitter_max";
    /// How often a subscription was requested before it was answered.
    pub const ATTEMPTS: &str = "lk.attempts";
    /// The source: analytics, webhook or api.
    pub const SOURCE: &str = "lk.source";
    /// The event type that this version does not know, as its source wrote it.
    pub const EVENT_TYPE: &str = "lk.event.type";
    /// `1s` if the time is known to the second only.
    pub const TIME_PRECISION: &str = "lk.time.precision";
    /// The rule that inferred a start: first_report (the beginning was not reported, and the start is the
    /// time of the first report).
    pub const START_INFERRED: &str = "lk.start.inferred";
    /// The rule that inferred an end: participant_left, room_ended, replaced (a room of the same name
    /// began and nothing more was reported of this one), empty, silence, reconciled (missing in two
    /// lists in a row), job_ended (the root of an agent's job was received) or shutdown. The end is then the
    /// newest time known.
    pub const END_INFERRED: &str = "lk.end.inferred";
    /// How far a failed connection attempt got: joining (its signal connection is made) or joined (it
    /// has answered).
    pub const CONNECT_REACHED: &str = "lk.connect.reached";
    /// How often a participant's connection was resumed.
    pub const PARTICIPANT_RESUMES: &str = "lk.participant.resumes";
    /// How often a participant was moved to another node.
    pub const PARTICIPANT_MIGRATIONS: &str = "lk.participant.migrations";
    /// How many spans were left out, as the trace has reached its limit.
    pub const SPANS_LEFT_OUT: &str = "lk.trace.spans_left_out";
    /// The trace in which an agent's job recorded a span that is now in its room's trace.
    pub const ORIGINAL_TRACE_ID: &str = "lk.trace.original_id";
    /// How many of the caller's packets were lost around a turn, 0 to 1: of those from the caller for a turn of its
    /// own, of those to the caller for one of the agent.
    pub const NETWORK_LOSS: &str = "lk.network.loss";
    /// The caller's highest round trip around a turn, in seconds.
    pub const NETWORK_ROUND_TRIP: &str = "lk.network.round_trip";
    /// The caller's highest jitter around a turn in the direction of `lk.network.loss`, in seconds.
    pub const NETWORK_JITTER: &str = "lk.network.jitter";
    /// Why an agent's session closed: `participant_disconnected`, ….
    pub const CLOSE_REASON: &str = "lk.close_reason";
    /// How many turns the users of a session took.
    pub const RECORDING_USER_TURNS: &str = "lk.recording.user_turns";
    /// How many requests to models failed in a session.
    pub const RECORDING_ERRORS: &str = "lk.recording.errors";
    /// How many characters a session's models spoke.
    pub const RECORDING_SPEECH_CHARACTERS: &str = "lk.recording.speech_characters";
    /// How long the speech of a session's models is, in seconds.
    pub const RECORDING_SPEECH_DURATION: &str = "lk.recording.speech_duration";
    /// How much audio a session's models transcribed, in seconds.
    pub const RECORDING_TRANSCRIBED_DURATION: &str = "lk.recording.transcribed_duration";
    /// How large a session's recorded audio is, in bytes.
    pub const RECORDING_AUDIO_SIZE: &str = "lk.recording.audio_size";
    /// How large a session's recorded history is, in bytes.
    pub const RECORDING_HISTORY_SIZE: &str = "lk.recording.history_size";
    /// How many tokens a session's language models received.
    pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// How many tokens a session's language models returned.
    pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// The model, as its plugin names it.
    pub const MODEL_NAME: &str = "model_name";
    /// Who provides the model, as its plugin names it.
    pub const MODEL_PROVIDER: &str = "model_provider";
    /// The tool that a model called.
    pub const TOOL_NAME: &str = "gen_ai.tool.name";
    /// What was done: `execute_tool`.
    pub const OPERATION_NAME: &str = "gen_ai.operation.name";
    /// Whether the agent was interrupted.
    pub const INTERRUPTED: &str = "lk.interrupted";
    /// To which kind of model a request was made: llm, tts or stt.
    pub const REQUEST_KIND: &str = "lk.agent.request.kind";
    /// How much of an agent's job was uploaded: complete (its end too), partial (not its end) or none.
    pub const UPLOAD: &str = "lk.agent.upload";
    /// How often the track's description was updated while it was published.
    pub const TRACK_UPDATES: &str = "lk.track.updates";
    /// How often the highest quality that anyone subscribes to changed, so that the publisher had to
    /// begin or stop sending layers.
    pub const TRACK_QUALITY_CHANGES: &str = "lk.track.quality_changes";
    /// Where the trace can be viewed.
    pub const TRACE_URL: &str = "lk.trace.url";
    /// `true` if no event reported it, and it is only known from a list of LiveKit's API or its node.
    pub const RECONCILED: &str = "lk.reconciled";
    /// How a subscribe attempt ended: subscribed, failed, unsubscribed or track_unpublished.
    pub const SUBSCRIBE_RESULT: &str = "lk.subscribe.result";
    /// How a publish attempt ended: published, or unknown if nothing was reported.
    pub const PUBLISH_RESULT: &str = "lk.publish.result";
    /// The result of connecting: active or aborted.
    pub const CONNECT_RESULT: &str = "lk.connect.result";
    /// A step of a participant's connecting: signal_connected, rtc_active, ….
    pub const JOIN_STATE: &str = "lk.join.state";
    /// Whether its media connects together with its signalling, where that is known.
    pub const JOIN_WARP: &str = "lk.join.warp";
    /// What packets of forward error correction did: received, recovered or discarded.
    pub const FEC_TYPE: &str = "lk.fec.type";
    /// A feature of a track's packet trailers, as the protobuf enum spells it: `PTF_USER_TIMESTAMP`, ….
    pub const PACKET_TRAILER_FEATURE: &str = "lk.track.packet_trailer_feature";
    /// The state of an attempt to publish or subscribe: attempt, success, failure or cancel.
    pub const ATTEMPT_STATE: &str = "lk.attempt.state";
    /// The client's signalling protocol version.
    pub const PROTOCOL_VERSION: &str = "lk.client.protocol_version";
    /// Why an operation failed, with low cardinality.
    pub const ERROR_TYPE: &str = "error.type";
    /// What went wrong, in the server's words. Personal data, as it may quote anything.
    pub const ERROR: &str = "lk.pii.error";
    /// The source's id of the event.
    pub const LOG_RECORD_UID: &str = "log.record.uid";
    /// traces, logs or metrics.
    pub const LEDGER_SIGNAL: &str = "lk.otel.signal";
    /// webhook, events, stats, node_rooms or api.
    pub const LEDGER_SOURCE: &str = "lk.otel.source";
    /// webhooks, streams, admin or page.
    pub const LISTENER: &str = "lk.otel.listener";
    /// The outcome of the items, a column of the ledger.
    pub const LEDGER_OUTCOME: &str = "lk.otel.outcome";
    /// Why they were refused or lost, or what was unknown: event_type, enum_value or field.
    pub const LEDGER_REASON: &str = "lk.otel.reason";
    /// Whether the record is a test record, of `livekit-otel doctor`.
    pub const DOCTOR: &str = "lk.otel.doctor";
    /// What was missed: room_missing, participant_missing (listed, but never reported), room_gone or
    /// participant_gone (no longer listed, but no end was reported).
    pub const DISAGREEMENT: &str = "lk.otel.disagreement";
}

/// Span names.
pub mod span {
    /// From a room's creation to its end.
    pub const ROOM: &str = "room";
    /// From a participant's signal connection until it leaves.
    pub const PARTICIPANT: &str = "participant";
    /// From a participant's signal connection to its media connection.
    pub const PARTICIPANT_CONNECT: &str = "participant connect";
    /// From the request to publish a track to its publication.
    pub const TRACK_PUBLISH: &str = "track publish";
    /// From a track's publication to its end.
    pub const TRACK: &str = "track";
    /// From the request to subscribe to a track to its answer.
    pub const TRACK_SUBSCRIBE: &str = "track subscribe";
    /// From the answer to a subscription's end; only with `traces.subscriptions`.
    pub const SUBSCRIPTION: &str = "subscription";
    /// From an egress's start to its end.
    pub const EGRESS: &str = "egress";
    /// From the start of an ingress's session to its end.
    pub const INGRESS: &str = "ingress";
    /// From a SIP call's creation to its end.
    pub const SIP_CALL: &str = "SIP call";
    /// From the request to transfer a SIP call to its answer.
    pub const SIP_TRANSFER: &str = "SIP transfer";
    /// From the start of an agent's job to its end.
    pub const AGENT_JOB: &str = "agent job";
    /// From a dispatch's creation to its agent's join, or until none is expected any more.
    pub const AGENT_DISPATCH: &str = "agent dispatch";
    /// A call of the server's API.
    pub const API_CALL: &str = "API call";
    /// One delivery of a webhook.
    pub const WEBHOOK_DELIVERY: &str = "webhook delivery";
    /// A test span of `livekit-otel doctor`.
    pub const DOCTOR: &str = "doctor";
}

/// Event names of log records, one for each type that LiveKit knows.
pub mod event {
    /// LiveKit's `ROOM_CREATED`.
    pub const ROOM_CREATED: &str = "lk.room.created";
    /// LiveKit's `ROOM_ENDED`.
    pub const ROOM_ENDED: &str = "lk.room.ended";
    /// LiveKit's `PARTICIPANT_JOINED`.
    pub const PARTICIPANT_JOINED: &str = "lk.participant.joined";
    /// LiveKit's `PARTICIPANT_LEFT`.
    pub const PARTICIPANT_LEFT: &str = "lk.participant.left";
    /// LiveKit's `PARTICIPANT_CONNECTION_ABORTED`.
    pub const PARTICIPANT_CONNECTION_ABORTED: &str = "lk.participant.connection_aborted";
    /// LiveKit's `TRACK_PUBLISHED`.
    pub const TRACK_PUBLISHED: &str = "lk.track.published";
    /// LiveKit's `TRACK_PUBLISH_REQUESTED`.
    pub const TRACK_PUBLISH_REQUESTED: &str = "lk.track.publish_requested";
    /// LiveKit's `TRACK_UNPUBLISHED`.
    pub const TRACK_UNPUBLISHED: &str = "lk.track.unpublished";
    /// LiveKit's `TRACK_SUBSCRIBED`.
    pub const TRACK_SUBSCRIBED: &str = "lk.track.subscribed";
    /// LiveKit's `TRACK_SUBSCRIBE_REQUESTED`.
    pub const TRACK_SUBSCRIBE_REQUESTED: &str = "lk.track.subscribe_requested";
    /// LiveKit's `TRACK_SUBSCRIBE_FAILED`.
    pub const TRACK_SUBSCRIBE_FAILED: &str = "lk.track.subscribe_failed";
    /// LiveKit's `TRACK_UNSUBSCRIBED`.
    pub const TRACK_UNSUBSCRIBED: &str = "lk.track.unsubscribed";
    /// LiveKit's `TRACK_PUBLISHED_UPDATE`.
    pub const TRACK_PUBLISHED_UPDATE: &str = "lk.track.published_update";
    /// LiveKit's `TRACK_MUTED`.
    pub const TRACK_MUTED: &str = "lk.track.muted";
    /// LiveKit's `TRACK_UNMUTED`.
    pub const TRACK_UNMUTED: &str = "lk.track.unmuted";
    /// LiveKit's `TRACK_PUBLISH_STATS`.
    pub const TRACK_PUBLISH_STATS: &str = "lk.track.publish_stats";
    /// LiveKit's `TRACK_SUBSCRIBE_STATS`.
    pub const TRACK_SUBSCRIBE_STATS: &str = "lk.track.subscribe_stats";
    /// LiveKit's `PARTICIPANT_ACTIVE`.
    pub const PARTICIPANT_ACTIVE: &str = "lk.participant.active";
    /// LiveKit's `PARTICIPANT_RESUMED`.
    pub const PARTICIPANT_RESUMED: &str = "lk.participant.resumed";
    /// LiveKit's `EGRESS_STARTED`.
    pub const EGRESS_STARTED: &str = "lk.egress.started";
    /// LiveKit's `EGRESS_ENDED`.
    pub const EGRESS_ENDED: &str = "lk.egress.ended";
    /// LiveKit's `EGRESS_UPDATED`.
    pub const EGRESS_UPDATED: &str = "lk.egress.updated";
    /// An egress is stuck.
    pub const EGRESS_STUCK: &str = "lk.egress.stuck";
    /// LiveKit's `TRACK_MAX_SUBSCRIBED_VIDEO_QUALITY`.
    pub const TRACK_MAX_SUBSCRIBED_VIDEO_QUALITY: &str = "lk.track.max_subscribed_video_quality";
    /// LiveKit's `RECONNECTED`.
    pub const RECONNECTED: &str = "lk.reconnected";
    /// LiveKit's `INGRESS_CREATED`.
    pub const INGRESS_CREATED: &str = "lk.ingress.created";
    /// LiveKit's `INGRESS_DELETED`.
    pub const INGRESS_DELETED: &str = "lk.ingress.deleted";
    /// LiveKit's `INGRESS_STARTED`.
    pub const INGRESS_STARTED: &str = "lk.ingress.started";
    /// LiveKit's `INGRESS_ENDED`.
    pub const INGRESS_ENDED: &str = "lk.ingress.ended";
    /// LiveKit's `INGRESS_UPDATED`.
    pub const INGRESS_UPDATED: &str = "lk.ingress.updated";
    /// LiveKit's `SIP_INBOUND_TRUNK_CREATED`.
    pub const SIP_INBOUND_TRUNK_CREATED: &str = "lk.sip.inbound_trunk_created";
    /// LiveKit's `SIP_INBOUND_TRUNK_DELETED`.
    pub const SIP_INBOUND_TRUNK_DELETED: &str = "lk.sip.inbound_trunk_deleted";
    /// LiveKit's `SIP_OUTBOUND_TRUNK_CREATED`.
    pub const SIP_OUTBOUND_TRUNK_CREATED: &str = "lk.sip.outbound_trunk_created";
    /// LiveKit's `SIP_OUTBOUND_TRUNK_DELETED`.
    pub const SIP_OUTBOUND_TRUNK_DELETED: &str = "lk.sip.outbound_trunk_deleted";
    /// LiveKit's `SIP_DISPATCH_RULE_CREATED`.
    pub const SIP_DISPATCH_RULE_CREATED: &str = "lk.sip.dispatch_rule_created";
    /// LiveKit's `SIP_DISPATCH_RULE_DELETED`.
    pub const SIP_DISPATCH_RULE_DELETED: &str = "lk.sip.dispatch_rule_deleted";
    /// LiveKit's `SIP_PARTICIPANT_CREATED`.
    pub const SIP_PARTICIPANT_CREATED: &str = "lk.sip.participant_created";
    /// LiveKit's `SIP_CALL_INCOMING`.
    pub const SIP_CALL_INCOMING: &str = "lk.sip.call_incoming";
    /// LiveKit's `SIP_CALL_STARTED`.
    pub const SIP_CALL_STARTED: &str = "lk.sip.call_started";
    /// LiveKit's `SIP_CALL_ENDED`.
    pub const SIP_CALL_ENDED: &str = "lk.sip.call_ended";
    /// LiveKit's `SIP_TRANSFER_REQUESTED`.
    pub const SIP_TRANSFER_REQUESTED: &str = "lk.sip.transfer_requested";
    /// LiveKit's `SIP_TRANSFER_COMPLETE`.
    pub const SIP_TRANSFER_COMPLETE: &str = "lk.sip.transfer_complete";
    /// LiveKit's `SIP_CALL_UPDATE`.
    pub const SIP_CALL_UPDATE: &str = "lk.sip.call_update";
    /// LiveKit's `REPORT`.
    pub const REPORT: &str = "lk.report";
    /// LiveKit's `API_CALL`.
    pub const API_CALL: &str = "lk.api.call";
    /// LiveKit's `WEBHOOK`.
    pub const WEBHOOK: &str = "lk.webhook";
    /// The webhook `agent_job_pending`.
    pub const AGENT_JOB_PENDING: &str = "lk.agent.job_pending";
    /// LiveKit's `AGENT_JOB_STARTED`.
    pub const AGENT_JOB_STARTED: &str = "lk.agent.job_started";
    /// LiveKit's `AGENT_JOB_ENDED`.
    pub const AGENT_JOB_ENDED: &str = "lk.agent.job_ended";
    /// No agent came for a dispatch.
    pub const AGENT_DISPATCH_FAILED: &str = "lk.agent.dispatch_failed";
    /// An agent uploaded the recording of a session.
    pub const AGENT_SESSION_RECORDED: &str = "lk.agent.session_recorded";
    /// LiveKit's `AnalyticsNodeRooms`.
    pub const NODE_ROOMS: &str = "lk.node.rooms";
    /// A list contains an open room that was never reported.
    pub const ROOM_MISSING: &str = "lk.room.missing";
    /// Lists no longer contain a room, but no end was reported.
    pub const ROOM_GONE: &str = "lk.room.gone";
    /// A list contains a participant that was never reported.
    pub const PARTICIPANT_MISSING: &str = "lk.participant.missing";
    /// Lists no longer contain a participant, but no leaving was reported.
    pub const PARTICIPANT_GONE: &str = "lk.participant.gone";
    /// A test record of `livekit-otel doctor`.
    pub const DOCTOR: &str = "lk.otel.doctor";
    /// An event type that this version does not know.
    pub const UNKNOWN: &str = "lk.unknown";
}
