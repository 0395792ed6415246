package telemetryfakes_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"

	"github.com/livekit/livekit-server/pkg/service"
	"github.com/livekit/livekit-server/pkg/telemetry/telemetryfakes"
)

const (
	incoming     = livekit.SIPCallStatus_SCS_CALL_INCOMING
	joined       = livekit.SIPCallStatus_SCS_PARTICIPANT_JOINED
	active       = livekit.SIPCallStatus_SCS_ACTIVE
	disconnected = livekit.SIPCallStatus_SCS_DISCONNECTED
	failed       = livekit.SIPCallStatus_SCS_ERROR
	in           = livekit.SIPCallDirection_SCD_INBOUND
	out          = livekit.SIPCallDirection_SCD_OUTBOUND
)

// What LiveKit's telemetry service is called with for a report of the SIP service.
func sent(t *testing.T, request *rpc.UpdateSIPCallStateRequest) []*livekit.AnalyticsEvent {
	fake := &telemetryfakes.FakeTelemetryService{}
	io, err := service.NewIOInfoService(nil, nil, nil, nil, fake)
	require.NoError(t, err)
	before := proto.Clone(request)
	answer, err := io.UpdateSIPCallState(context.Background(), request)
	require.NoError(t, err)
	require.True(t, proto.Equal(&emptypb.Empty{}, answer))
	require.True(t, proto.Equal(before, request))
	var events []*livekit.AnalyticsEvent
	for nth := range fake.SendEventCallCount() {
		_, event := fake.SendEventArgsForCall(nth)
		require.WithinDuration(t, time.Now(), event.Timestamp.AsTime(), time.Minute)
		events = append(events, event)
	}
	return events
}

func ago(ago time.Duration) int64 { return time.Now().Add(-ago).UnixNano() }

// A call that is answered, and repeated every 10 minutes; one whose caller waits for its end; and those that fail at
// each stage, as livekit/sip 1.9 reports them.
func TestSIPCallTypes(t *testing.T) {
	type info = livekit.SIPCallInfo
	encrypt, busy := "SIP_MEDIA_ENCRYPT_DISABLE", livekit.DisconnectReason_USER_REJECTED
	for name, test := range map[string]struct {
		info info
		want livekit.AnalyticsEventType
	}{
		"inbound, before the dispatch rules": {
			info{CallStatus: incoming, CallDirection: in},
			livekit.AnalyticsEventType_SIP_CALL_INCOMING,
		},
		"inbound, with a room": {
			info{CallStatus: incoming, CallDirection: in, RoomName: "room"},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"inbound, without a rule": {
			info{CallStatus: incoming, CallDirection: in, MediaEncryption: encrypt},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"outbound, in a room": {
			info{CallStatus: joined, CallDirection: out, RoomName: "room"},
			livekit.AnalyticsEventType_SIP_PARTICIPANT_CREATED,
		},
		"outbound, in no room": {
			info{CallStatus: failed, CallDirection: out, Error: "no room"},
			livekit.AnalyticsEventType_SIP_CALL_ENDED,
		},
		"outbound, failed while the request waits": {
			info{CallStatus: incoming, CallDirection: out, DisconnectReason: busy},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"outbound, answered while the request waited": {
			info{CallStatus: joined, CallDirection: out, StartedAtNs: ago(0)},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"answered": {
			info{CallStatus: active, CallDirection: in, StartedAtNs: ago(time.Second)},
			livekit.AnalyticsEventType_SIP_CALL_STARTED,
		},
		"answered, by a clock that is ahead": {
			info{CallStatus: active, CallDirection: in, StartedAtNs: ago(-time.Minute)},
			livekit.AnalyticsEventType_SIP_CALL_STARTED,
		},
		"active for 10 minutes": {
			info{CallStatus: active, CallDirection: in, StartedAtNs: ago(10 * time.Minute)},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"hangs up": {
			info{CallStatus: active, StartedAtNs: ago(time.Second), DisconnectReason: busy},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"rejected": {
			info{CallStatus: joined, DisconnectReason: busy},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"fails": {
			info{CallStatus: failed, DisconnectReason: livekit.DisconnectReason_SIP_TRUNK_FAILURE},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"loses its media": {
			info{CallStatus: failed, StartedAtNs: ago(time.Minute)},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
		"has failed": {
			info{CallStatus: failed, StartedAtNs: ago(time.Minute), EndedAtNs: ago(0)},
			livekit.AnalyticsEventType_SIP_CALL_ENDED,
		},
		"has ended": {
			info{CallStatus: disconnected, DisconnectReason: busy, EndedAtNs: ago(0)},
			livekit.AnalyticsEventType_SIP_CALL_ENDED,
		},
		"of a status that is not known": {
			info{CallStatus: 99},
			livekit.AnalyticsEventType_SIP_CALL_UPDATE,
		},
	} {
		events := sent(t, &rpc.UpdateSIPCallStateRequest{CallInfo: &test.info})
		require.Len(t, events, 1, name)
		require.Equal(t, test.want, events[0].Type, name)
	}
}

func TestSIPCallEvent(t *testing.T) {
	call := &livekit.SIPCallInfo{
		CallId: "SCL_1", TrunkId: "ST_1", DispatchRuleId: "SDR_1", RoomName: "room", RoomId: "RM_1",
		CallStatus: active, CallDirection: in, StartedAtNs: ago(0),
		FromUri: &livekit.SIPUri{User: "+15550100"},
	}
	events := sent(t, &rpc.UpdateSIPCallStateRequest{CallInfo: call})
	require.Len(t, events, 1)
	want := &livekit.AnalyticsEvent{
		Type: livekit.AnalyticsEventType_SIP_CALL_STARTED, Timestamp: events[0].Timestamp,
		RoomId: "RM_1", Room: &livekit.Room{Sid: "RM_1", Name: "room"},
		SipCallId: "SCL_1", SipTrunkId: "ST_1", SipDispatchRuleId: "SDR_1", SipCall: call,
	}
	require.True(t, proto.Equal(want, events[0]), "%v", events[0])

	events = sent(t, &rpc.UpdateSIPCallStateRequest{CallInfo: &livekit.SIPCallInfo{CallId: "SCL_1"}})
	require.Nil(t, events[0].Room)
}

func TestSIPTransfers(t *testing.T) {
	requested := livekit.AnalyticsEventType_SIP_TRANSFER_REQUESTED
	complete := livekit.AnalyticsEventType_SIP_TRANSFER_COMPLETE
	for status, kind := range map[livekit.SIPTransferStatus]livekit.AnalyticsEventType{
		livekit.SIPTransferStatus_STS_TRANSFER_ONGOING:    requested,
		livekit.SIPTransferStatus_STS_TRANSFER_FAILED:     complete,
		livekit.SIPTransferStatus_STS_TRANSFER_SUCCESSFUL: complete,
	} {
		transfer := &livekit.SIPTransferInfo{TransferId: "STR_1", CallId: "SCL_1", TransferStatus: status}
		events := sent(t, &rpc.UpdateSIPCallStateRequest{TransferInfo: transfer})
		require.Len(t, events, 1)
		want := &livekit.AnalyticsEvent{
			Type: kind, Timestamp: events[0].Timestamp, SipCallId: "SCL_1", SipTransfer: transfer,
		}
		require.True(t, proto.Equal(want, events[0]), "%v", events[0])
	}
}

func TestSIPReportsOfNothing(t *testing.T) {
	require.Empty(t, sent(t, &rpc.UpdateSIPCallStateRequest{}))
	io, err := service.NewIOInfoService(nil, nil, nil, nil, nil)
	require.NoError(t, err)
	request := &rpc.UpdateSIPCallStateRequest{CallInfo: &livekit.SIPCallInfo{}}
	_, err = io.UpdateSIPCallState(context.Background(), request)
	require.NoError(t, err)
}
