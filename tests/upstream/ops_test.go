package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit/livekit-server/pkg/telemetry"
	"github.com/livekit/livekit-server/pkg/telemetry/prometheus"
	"github.com/livekit/protocol/codecs/mime"
	"github.com/livekit/protocol/livekit"
)

type op struct {
	Op              string          `json:"op"`
	Ms              int64           `json:"ms"`
	Room            json.RawMessage `json:"room"`
	Participant     json.RawMessage `json:"participant"`
	ClientInfo      json.RawMessage `json:"client_info"`
	ClientMeta      json.RawMessage `json:"client_meta"`
	Track           json.RawMessage `json:"track"`
	Publisher       json.RawMessage `json:"publisher"`
	Stat            json.RawMessage `json:"stat"`
	Stats           json.RawMessage `json:"stats"`
	Info            json.RawMessage `json:"info"`
	ParticipantSid  string          `json:"participant_sid"`
	Identity        string          `json:"identity"`
	TrackSid        string          `json:"track_sid"`
	Direction       string          `json:"direction"`
	Country         string          `json:"country"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Mime            string          `json:"mime"`
	NodeID          string          `json:"node_id"`
	Error           string          `json:"error"`
	State           string          `json:"state"`
	SDK             string          `json:"sdk"`
	Counts          []uint32        `json:"counts"`
	Bytes           uint64          `json:"bytes"`
	Version         int             `json:"version"`
	Guard           string          `json:"guard"`
	Reason          int32           `json:"reason"`
	MaxQuality      int32           `json:"max_quality"`
	Layer           int             `json:"layer"`
	IsTrack         bool            `json:"is_track"`
	IsMigration     bool            `json:"is_migration"`
	IsWarp          bool            `json:"is_warp"`
	IsUserError     bool            `json:"is_user_error"`
	WasLocal        bool            `json:"was_published_locally"`
	ShouldSendEvent bool            `json:"should_send_event"`
}

// Returns a new message for each call; nil if it is absent.
func message[T any, P interface {
	*T
	proto.Message
}](raw json.RawMessage, failed *error) P {
	if len(raw) == 0 {
		return nil
	}
	made := P(new(T))
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, made); err != nil {
		*failed = err
	}
	return made
}

func (o op) call(service telemetry.TelemetryService, guards map[string]*telemetry.ReferenceGuard) error {
	var failed error
	call := o.prepare(service, guards, &failed)
	if failed != nil {
		return failed
	}
	if call == nil {
		return fmt.Errorf("no such call: %s", o.Op)
	}
	call()
	return nil
}

func (o op) prepare(
	service telemetry.TelemetryService,
	guards map[string]*telemetry.ReferenceGuard,
	failed *error,
) func() {
	ctx := context.Background()
	room := message[livekit.Room](o.Room, failed)
	who := message[livekit.ParticipantInfo](o.Participant, failed)
	track := message[livekit.TrackInfo](o.Track, failed)
	meta := message[livekit.AnalyticsClientMeta](o.ClientMeta, failed)
	var roomID livekit.RoomID
	var roomName livekit.RoomName
	if room != nil {
		roomID, roomName = livekit.RoomID(room.Sid), livekit.RoomName(room.Name)
	}
	sid := livekit.ParticipantID(o.ParticipantSid)
	trackID := livekit.TrackID(o.TrackSid)
	identity := livekit.ParticipantIdentity(o.Identity)
	codec := mime.NormalizeMimeType(o.Mime)
	var guard *telemetry.ReferenceGuard
	if o.Guard != "" {
		if guards[o.Guard] == nil {
			guards[o.Guard] = &telemetry.ReferenceGuard{}
		}
		guard = guards[o.Guard]
	}
	switch o.Op {
	case "advance":
		return func() { time.Sleep(time.Duration(o.Ms) * time.Millisecond) }
	case "flush":
		return service.FlushStats
	case "track_stats":
		stat := message[livekit.AnalyticsStat](o.Stat, failed)
		return func() { service.TrackStats(roomID, roomName, o.key(), stat) }
	case "room_started":
		return func() { service.RoomStarted(ctx, room) }
	case "room_ended":
		return func() { service.RoomEnded(ctx, room, livekit.RoomEndReason(o.Reason)) }
	case "participant_joined":
		info := message[livekit.ClientInfo](o.ClientInfo, failed)
		return func() {
			service.ParticipantJoined(ctx, room, who, info, meta, o.ShouldSendEvent, guard)
		}
	case "participant_active":
		return func() {
			service.ParticipantActive(ctx, room, who, meta, o.IsMigration, o.IsWarp, guard)
		}
	case "participant_resumed":
		reason := livekit.ReconnectReason(o.Reason)
		return func() {
			service.ParticipantResumed(ctx, room, who, livekit.NodeID(o.NodeID), reason)
		}
	case "participant_left":
		return func() { service.ParticipantLeft(ctx, room, who, o.ShouldSendEvent, guard) }
	case "track_publish_requested":
		return func() {
			service.TrackPublishRequested(ctx, room, sid, identity, track, o.ShouldSendEvent)
		}
	case "track_published":
		return func() {
			service.TrackPublished(ctx, room, sid, identity, track, o.ShouldSendEvent)
		}
	case "track_unpublished":
		return func() {
			service.TrackUnpublished(ctx, room, sid, identity, track, o.WasLocal, o.ShouldSendEvent)
		}
	case "track_subscribe_requested":
		return func() { service.TrackSubscribeRequested(ctx, room, sid, track) }
	case "track_subscribed":
		publisher := message[livekit.ParticipantInfo](o.Publisher, failed)
		return func() {
			service.TrackSubscribed(ctx, room, sid, track, publisher, o.ShouldSendEvent)
		}
	case "track_unsubscribed":
		return func() {
			service.TrackUnsubscribed(ctx, room, sid, track, o.ShouldSendEvent)
		}
	case "track_subscribe_failed":
		err := errors.New(o.Error)
		return func() {
			service.TrackSubscribeFailed(ctx, room, sid, trackID, err, o.IsUserError)
		}
	case "track_muted":
		return func() { service.TrackMuted(ctx, room, sid, track) }
	case "track_unmuted":
		return func() { service.TrackUnmuted(ctx, room, sid, track) }
	case "track_published_update":
		return func() { service.TrackPublishedUpdate(ctx, room, sid, track) }
	case "track_max_subscribed_video_quality":
		quality := livekit.VideoQuality(o.MaxQuality)
		return func() {
			service.TrackMaxSubscribedVideoQuality(ctx, room, sid, track, codec, quality)
		}
	case "track_publish_rtp_stats":
		stats := message[livekit.RTPStats](o.Stats, failed)
		return func() {
			service.TrackPublishRTPStats(ctx, room, sid, trackID, codec, o.Layer, stats)
		}
	case "track_subscribe_rtp_stats":
		stats := message[livekit.RTPStats](o.Stats, failed)
		return func() {
			service.TrackSubscribeRTPStats(ctx, room, sid, trackID, codec, stats)
		}
	}
	return o.prepareRoomless(service, failed)
}

func (o op) prepareRoomless(service telemetry.TelemetryService, failed *error) func() {
	ctx := context.Background()
	egress := map[string]func(context.Context, *livekit.EgressInfo){
		"egress_started": service.EgressStarted,
		"egress_updated": service.EgressUpdated,
		"egress_ended":   service.EgressEnded,
	}
	if call := egress[o.Op]; call != nil {
		info := message[livekit.EgressInfo](o.Info, failed)
		return func() { call(ctx, info) }
	}
	ingress := map[string]func(context.Context, *livekit.IngressInfo){
		"ingress_created": service.IngressCreated,
		"ingress_deleted": service.IngressDeleted,
		"ingress_started": service.IngressStarted,
		"ingress_updated": service.IngressUpdated,
		"ingress_ended":   service.IngressEnded,
	}
	if call := ingress[o.Op]; call != nil {
		info := message[livekit.IngressInfo](o.Info, failed)
		return func() { call(ctx, info) }
	}
	switch o.Op {
	case "local_room_state":
		info := message[livekit.AnalyticsNodeRooms](o.Info, failed)
		return func() { service.LocalRoomState(ctx, info) }
	case "report":
		info := message[livekit.ReportInfo](o.Info, failed)
		return func() { service.Report(ctx, info) }
	case "api_call":
		info := message[livekit.APICallInfo](o.Info, failed)
		return func() { service.APICall(ctx, info) }
	case "webhook":
		info := message[livekit.WebhookInfo](o.Info, failed)
		return func() { service.Webhook(ctx, info) }
	}
	return o.prepareNode()
}

// What the server counts itself, without its telemetry service.
func (o op) prepareNode() func() {
	sdk := livekit.ClientInfo_SDK(livekit.ClientInfo_SDK_value[o.SDK])
	direction := prometheus.Incoming
	if o.Direction == "DOWNSTREAM" {
		direction = prometheus.Outgoing
	}
	switch o.Op {
	case "node_join":
		return map[string]func(){
			"signal_connected":         func() { prometheus.IncrementParticipantJoin(1) },
			"signal_failed":            func() { prometheus.IncrementParticipantJoinFail(1) },
			"signal_validation_failed": func() { prometheus.IncrementParticipantJoinValidationFail(1) },
			"rtc_init":                 func() { prometheus.IncrementParticipantRtcInit(1) },
			"rtc_canceled":             func() { prometheus.IncrementParticipantRtcCanceled(1, o.IsWarp, sdk) },
			"rtc_success":              func() { prometheus.IncrementParticipantRtcSuccess(1, o.IsWarp, sdk) },
			"rtc_failure":              func() { prometheus.IncrementParticipantRtcFailure(1, o.IsWarp, sdk) },
		}[o.State]
	case "node_session_start":
		took := time.Duration(o.Ms) * time.Millisecond
		return func() { prometheus.RecordSessionStartTime(o.Version, o.IsWarp, sdk, took) }
	case "node_fec":
		return func() {
			received, recovered, discarded := int(o.Counts[0]), int(o.Counts[1]), int(o.Counts[2])
			prometheus.RecordFECUpstream(received, recovered, discarded, o.Bytes)
		}
	case "node_key_frame":
		return func() { prometheus.IncrementKeyFrames(direction) }
	case "node_rtx_capped":
		return func() { prometheus.RecordRTXCapped(o.Type, o.Counts[0]) }
	}
	return nil
}

func (o op) key() telemetry.StatsKey {
	direction := livekit.StreamType(livekit.StreamType_value[o.Direction])
	sid := livekit.ParticipantID(o.ParticipantSid)
	track := livekit.TrackID(o.TrackSid)
	if !o.IsTrack {
		return telemetry.StatsKeyForData(o.Country, direction, sid, track)
	}
	source := livekit.TrackSource(livekit.TrackSource_value[o.Source])
	kind := livekit.TrackType(livekit.TrackType_value[o.Type])
	return telemetry.StatsKeyForTrack(o.Country, direction, sid, track, source, kind)
}
