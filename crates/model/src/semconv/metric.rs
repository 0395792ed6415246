//! Metric names.

/// Open rooms, `{room}`.
pub const ROOM_COUNT: &str = "lk.room.count";
/// Participants in open rooms, `{participant}`.
pub const PARTICIPANT_COUNT: &str = "lk.participant.count";
/// Published tracks, `{track}`.
pub const TRACK_COUNT: &str = "lk.track.count";
/// How long rooms were open, s.
pub const ROOM_DURATION: &str = "lk.room.duration";
/// How long participants were in their room, s.
pub const PARTICIPANT_DURATION: &str = "lk.participant.duration";
/// Participants that left, `{participant}`.
pub const PARTICIPANT_DISCONNECTS: &str = "lk.participant.disconnects";
/// From signal to media connection, s.
pub const PARTICIPANT_CONNECT_DURATION: &str = "lk.participant.connect.duration";
/// From request to publication, s.
pub const TRACK_PUBLISH_DURATION: &str = "lk.track.publish.duration";
/// From request to answer, s.
pub const TRACK_SUBSCRIBE_DURATION: &str = "lk.track.subscribe.duration";
/// Running egresses, `{egress}`.
pub const EGRESS_COUNT: &str = "lk.egress.count";
/// Egresses that are stuck, `{egress}`.
pub const EGRESS_STUCK: &str = "lk.egress.stuck";
/// How long egresses took, s.
pub const EGRESS_DURATION: &str = "lk.egress.duration";
/// From an egress's start to its first frame, s.
pub const EGRESS_FIRST_FRAME_DURATION: &str = "lk.egress.first_frame.duration";
/// Running sessions of ingresses, `{ingress}`.
pub const INGRESS_COUNT: &str = "lk.ingress.count";
/// How long sessions of ingresses took, s.
pub const INGRESS_DURATION: &str = "lk.ingress.duration";
/// Running SIP calls, `{call}`.
pub const SIP_CALL_COUNT: &str = "lk.sip.call.count";
/// How long SIP calls took, s.
pub const SIP_CALL_DURATION: &str = "lk.sip.call.duration";
/// From a SIP call's start to its answer, s.
pub const SIP_ANSWER_DURATION: &str = "lk.sip.answer.duration";
/// From the request to transfer a SIP call to its answer, s.
pub const SIP_TRANSFER_DURATION: &str = "lk.sip.transfer.duration";
/// Running jobs of agents, `{job}`.
pub const AGENT_JOB_COUNT: &str = "lk.agent_job.count";
/// How long jobs of agents took, s.
pub const AGENT_JOB_DURATION: &str = "lk.agent_job.duration";
/// From a dispatch to its agent's join, or until none was expected any more, s.
pub const AGENT_DISPATCH_DURATION: &str = "lk.agent.dispatch.duration";
/// How long participants were in rooms, s.
pub const USAGE_PARTICIPANT_TIME: &str = "lk.usage.participant.time";
/// How long tracks were published, s.
pub const USAGE_TRACK_PUBLISHED_TIME: &str = "lk.usage.track.published.time";
/// How long participants were subscribed to tracks, s.
pub const USAGE_TRACK_SUBSCRIBED_TIME: &str = "lk.usage.track.subscribed.time";
/// How long egresses took, s.
pub const USAGE_EGRESS_TIME: &str = "lk.usage.egress.time";
/// How long SIP calls took from their answer, s.
pub const USAGE_SIP_TIME: &str = "lk.usage.sip.time";
/// How long agents were in rooms, s.
pub const USAGE_AGENT_TIME: &str = "lk.usage.agent.time";
/// Packets, `{packet}`.
pub const NODE_PACKETS: &str = "lk.node.packets";
/// Bytes, By.
pub const NODE_IO: &str = "lk.node.io";
/// Packets that the server sent again, `{packet}`.
pub const NODE_RETRANSMITTED_PACKETS: &str = "lk.node.retransmitted_packets";
/// Bytes that the server sent again, By.
pub const NODE_RETRANSMITTED_IO: &str = "lk.node.retransmitted_io";
/// Packets that never arrived, `{packet}`.
pub const NODE_PACKETS_LOST: &str = "lk.node.packets_lost";
/// Packets that arrived late, `{packet}`.
pub const NODE_PACKETS_OUT_OF_ORDER: &str = "lk.node.packets_out_of_order";
/// Requests to send a packet again, `{nack}`.
pub const NODE_NACKS: &str = "lk.node.nacks";
/// Picture loss indications, `{pli}`.
pub const NODE_PLIS: &str = "lk.node.plis";
/// Full intra requests, `{fir}`.
pub const NODE_FIRS: &str = "lk.node.firs";
/// Part of a window's packets that never arrived, 0 to 1.
pub const NODE_LOSS: &str = "lk.node.loss";
/// Part of a window's packets that arrived late, 0 to 1.
pub const NODE_OUT_OF_ORDER: &str = "lk.node.out_of_order";
/// Highest round trip of a window, s.
pub const NODE_ROUND_TRIP: &str = "lk.node.round_trip";
/// Highest jitter of a window, s.
pub const NODE_JITTER: &str = "lk.node.jitter";
/// Average quality score of a window, 1 to 5.
pub const NODE_SCORE: &str = "lk.node.score";
/// Steps of participants' connecting, `{join}`.
pub const NODE_JOINS: &str = "lk.node.joins";
/// Attempts to publish a track, `{attempt}`.
pub const NODE_PUBLISHES: &str = "lk.node.publishes";
/// Attempts to subscribe to a track, `{attempt}`.
pub const NODE_SUBSCRIBES: &str = "lk.node.subscribes";
/// Participants that the node has a stats worker for, `{participant}`.
pub const NODE_PARTICIPANTS: &str = "lk.node.participants";
/// Tracks published on the node, `{track}`.
pub const NODE_PUBLISHED_TRACKS: &str = "lk.node.published_tracks";
/// Subscriptions to tracks on the node, `{track}`.
pub const NODE_SUBSCRIBED_TRACKS: &str = "lk.node.subscribed_tracks";
/// From a session's signal connection to its join response, s.
pub const NODE_SESSION_JOIN_DURATION: &str = "lk.node.session.join.duration";
/// From a session's signal connection to its media connection, s.
pub const NODE_SESSION_START_DURATION: &str = "lk.node.session.start.duration";
/// How long sessions lasted, s.
pub const NODE_SESSION_DURATION: &str = "lk.node.session.duration";
/// From a packet's arrival until it is forwarded, s.
pub const NODE_FORWARD_LATENCY: &str = "lk.node.forward.latency";
/// 90th percentile of the forward latency, s.
pub const NODE_FORWARD_LATENCY_P90: &str = "lk.node.forward.latency_p90";
/// Video tracks published on the node with packet trailers, `{track}`.
pub const NODE_PACKET_TRAILER_TRACKS: &str = "lk.node.packet_trailer_tracks";
/// The same by feature of their packet trailers, `{track}`.
pub const NODE_PACKET_TRAILER_FEATURES: &str = "lk.node.packet_trailer_features";
/// Packets of publishers' forward error correction, and packets recovered by it, `{packet}`.
pub const NODE_FEC_PACKETS: &str = "lk.node.fec_packets";
/// Bytes of publishers' forward error correction, By.
pub const NODE_FEC_IO: &str = "lk.node.fec_io";
/// Key frames received from publishers, or sent to a subscriber, `{frame}`.
pub const NODE_KEY_FRAMES: &str = "lk.node.key_frames";
/// Packets not sent again because a subscription's budget for that was used up, `{packet}`.
pub const NODE_CAPPED_RETRANSMISSIONS: &str = "lk.node.capped_retransmissions";
/// Packets of streams, by the attributes of `stats.level`; `{packet}`.
pub const STREAM_PACKETS: &str = "lk.stream.packets";
/// Bytes of streams, By.
pub const STREAM_IO: &str = "lk.stream.io";
/// Packets of streams that were sent again, `{packet}`.
pub const STREAM_RETRANSMITTED_PACKETS: &str = "lk.stream.retransmitted_packets";
/// Bytes of streams that were sent again, By.
pub const STREAM_RETRANSMITTED_IO: &str = "lk.stream.retransmitted_io";
/// Their packets of padding, `{packet}`.
pub const STREAM_PADDING_PACKETS: &str = "lk.stream.padding_packets";
/// Their bytes of padding, By.
pub const STREAM_PADDING_IO: &str = "lk.stream.padding_io";
/// Their packets that never arrived, `{packet}`.
pub const STREAM_PACKETS_LOST: &str = "lk.stream.packets_lost";
/// Their packets that arrived late, `{packet}`.
pub const STREAM_PACKETS_OUT_OF_ORDER: &str = "lk.stream.packets_out_of_order";
/// Their frames, `{frame}`.
pub const STREAM_FRAMES: &str = "lk.stream.frames";
/// Their requests to send a packet again, `{nack}`.
pub const STREAM_NACKS: &str = "lk.stream.nacks";
/// Their picture loss indications, `{pli}`.
pub const STREAM_PLIS: &str = "lk.stream.plis";
/// Their full intra requests, `{fir}`.
pub const STREAM_FIRS: &str = "lk.stream.firs";
/// Their highest round trip, s.
pub const STREAM_ROUND_TRIP: &str = "lk.stream.round_trip";
/// Their highest jitter, s.
pub const STREAM_JITTER: &str = "lk.stream.jitter";
/// Their mean quality score, 1 to 5.
pub const STREAM_SCORE: &str = "lk.stream.score";
/// Received items, by outcome, `{item}`.
pub const LEDGER_ITEMS: &str = "lk.otel.items";
/// Records to send, by outcome, `{record}`.
pub const LEDGER_RECORDS: &str = "lk.otel.records";
/// Records that wait for delivery, `{record}`.
pub const LEDGER_WAITING: &str = "lk.otel.waiting";
/// What this version did not know in accepted messages, `{item}`.
pub const LEDGER_UNKNOWN: &str = "lk.otel.unknown";
/// Ids that were forgotten before their time, `{id}`.
pub const FORGOTTEN_IDS: &str = "lk.otel.forgotten.ids";
/// Ended rooms and participants that were forgotten before their time, `{entity}`.
pub const FORGOTTEN_ENDED: &str = "lk.otel.forgotten.ended";
/// How often a list of rooms disagreed with the reported events, `{disagreement}`.
pub const RECONCILER_DISAGREEMENTS: &str = "lk.otel.reconciler.disagreements";
/// How often the journal could not be written, `{failure}`.
pub const JOURNAL_FAILURES: &str = "lk.otel.journal.failures";
/// Entries of the journal that could not be read, `{entry}`.
pub const JOURNAL_DAMAGED: &str = "lk.otel.journal.damaged";
/// Parts of a snapshot that could not be read or were missing, `{part}`.
pub const SNAPSHOT_DAMAGED: &str = "lk.otel.snapshot.damaged";
/// Disk space of the journal and of queued records, By.
pub const JOURNAL_SIZE: &str = "lk.otel.journal.size";
/// How much of its limit the journal on disk uses, with the space for the next snapshot, By.
pub const JOURNAL_USED: &str = "lk.otel.journal.used";
/// How much the journal on disk may use, By.
pub const JOURNAL_LIMIT: &str = "lk.otel.journal.limit";
/// Audio and history of agents' recordings, By.
pub const RECORDING_SIZE: &str = "lk.otel.recording.size";
/// Memory of the process, By.
pub const MEMORY: &str = "lk.otel.memory";
/// Open connections to the listeners, `{connection}`.
pub const CONNECTION_COUNT: &str = "lk.otel.connection.count";
/// Connections that were closed at the limit in favour of others, `{connection}`.
pub const CONNECTION_DISPLACED: &str = "lk.otel.connection.displaced";
/// 1 for each test point of `livekit-otel doctor`.
pub const DOCTOR: &str = "lk.otel.doctor";
/// Windows that got no series of their own, `{window}`.
pub const STREAM_OVERFLOWS: &str = "lk.stream.overflows";
/// Lowest mean score of a stream of the participants where it is lowest, 1 to 5.
pub const WORST_SCORE: &str = "lk.worst.score";
/// Part of packets that never arrived, of the participants where it is highest.
pub const WORST_LOSS: &str = "lk.worst.loss";
/// Highest round trip, of the participants where it is highest; s.
pub const WORST_ROUND_TRIP: &str = "lk.worst.round_trip";
/// From the end of a user's speech to the agent's first audio, s.
pub const AGENT_E2E_LATENCY: &str = "lk.agents.turn.e2e_latency";
/// To the language model's first token, s.
pub const AGENT_LLM_TTFT: &str = "lk.agents.turn.llm_ttft";
/// To the first byte of speech, s.
pub const AGENT_TTS_TTFB: &str = "lk.agents.turn.tts_ttfb";
/// From the end of a user's speech to its transcript, s.
pub const AGENT_TRANSCRIPTION_DELAY: &str = "lk.agents.turn.transcription_delay";
/// From the end of a user's speech to the decision that the turn is over, s.
pub const AGENT_END_OF_TURN_DELAY: &str = "lk.agents.turn.end_of_turn_delay";
/// How long the application's `on_user_turn_completed` took, s.
pub const AGENT_TURN_COMPLETED_DELAY: &str = "lk.agents.turn.on_user_turn_completed_delay";
/// Tokens that language models received, in all.
pub const AGENT_INPUT_TOKENS: &str = "lk.agents.usage.llm_input_tokens";
/// Those of them that the provider had in its cache.
pub const AGENT_CACHED_TOKENS: &str = "lk.agents.usage.llm_input_cached_tokens";
/// Tokens that language models returned.
pub const AGENT_OUTPUT_TOKENS: &str = "lk.agents.usage.llm_output_tokens";
/// Characters that were spoken.
pub const AGENT_CHARACTERS: &str = "lk.agents.usage.tts_characters";
/// How long the speech of models is, s.
pub const AGENT_SPEECH_DURATION: &str = "lk.agents.usage.tts_audio_duration";
/// How long calls of tools took, s.
pub const TOOL_DURATION: &str = "gen_ai.execute_tool.duration";
/// Turns of agents, `{turn}`.
pub const AGENT_TURNS: &str = "lk.agent.turns";
/// Requests of agents to models, each attempt, `{request}`.
pub const AGENT_REQUESTS: &str = "lk.agent.requests";
/// Jobs of agents that ended, `{job}`.
pub const AGENT_JOBS: &str = "lk.agent.jobs";
