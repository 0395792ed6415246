// Replaces one function of LiveKit's server (pkg/service/ioservice.go), which drops what the SIP service reports of its
// calls: build.sh takes that function out of the server's own file, and adds this one. See README.md.

package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
)

// The SIP service repeats what is known of a call every 10 minutes (livekit/sip 1.9, stateUpdateTick). An answer that
// was earlier than this is such a repetition. Clocks may differ by as much.
const sipAnswerIsNew = 5 * time.Minute

// UpdateSIPCallState sends what the SIP service reports of a call or a transfer as analytics. Its answer is that of
// LiveKit's own function.
func (s *IOInfoService) UpdateSIPCallState(
	ctx context.Context, req *rpc.UpdateSIPCallStateRequest,
) (*emptypb.Empty, error) {
	if s.telemetry != nil {
		now := time.Now()
		if info := req.GetCallInfo(); info != nil {
			s.telemetry.SendEvent(ctx, sipCallEvent(info, now))
		}
		if info := req.GetTransferInfo(); info != nil {
			s.telemetry.SendEvent(ctx, sipTransferEvent(info, now))
		}
	}
	return &emptypb.Empty{}, nil
}

func sipCallEvent(info *livekit.SIPCallInfo, now time.Time) *livekit.AnalyticsEvent {
	event := &livekit.AnalyticsEvent{
		Type:              sipCallEventType(info, now),
		Timestamp:         timestamppb.New(now),
		RoomId:            info.RoomId,
		SipCallId:         info.CallId,
		SipTrunkId:        info.TrunkId,
		SipDispatchRuleId: info.DispatchRuleId,
		SipCall:           info,
	}
	if info.RoomName != "" {
		event.Room = &livekit.Room{Sid: info.RoomId, Name: info.RoomName}
	}
	return event
}

// The type of a report, from that report alone: those of one call may reach different nodes. Each call has one first
// report and one last.
func sipCallEventType(info *livekit.SIPCallInfo, now time.Time) livekit.AnalyticsEventType {
	isOngoing := info.EndedAtNs == 0 && info.DisconnectReason == livekit.DisconnectReason_UNKNOWN_REASON
	isAnswered := info.StartedAtNs != 0
	switch info.CallStatus {
	case livekit.SIPCallStatus_SCS_DISCONNECTED:
		return livekit.AnalyticsEventType_SIP_CALL_ENDED
	case livekit.SIPCallStatus_SCS_ERROR:
		// A call that failed is reported again with its end, but not one whose participant could not join.
		if info.EndedAtNs != 0 || isOngoing && !isAnswered {
			return livekit.AnalyticsEventType_SIP_CALL_ENDED
		}
	case livekit.SIPCallStatus_SCS_ACTIVE:
		if isOngoing && now.Sub(time.Unix(0, info.StartedAtNs)) < sipAnswerIsNew {
			return livekit.AnalyticsEventType_SIP_CALL_STARTED
		}
	case livekit.SIPCallStatus_SCS_PARTICIPANT_JOINED:
		// The status is also that of a call that was answered before the request for it was.
		if isOngoing && !isAnswered {
			return livekit.AnalyticsEventType_SIP_PARTICIPANT_CREATED
		}
	case livekit.SIPCallStatus_SCS_CALL_INCOMING:
		// The second report has what the dispatch rules say, at least of the encryption.
		isInbound := info.CallDirection == livekit.SIPCallDirection_SCD_INBOUND
		if isOngoing && isInbound && info.RoomName == "" && info.MediaEncryption == "" {
			return livekit.AnalyticsEventType_SIP_CALL_INCOMING
		}
	}
	return livekit.AnalyticsEventType_SIP_CALL_UPDATE
}

func sipTransferEvent(info *livekit.SIPTransferInfo, now time.Time) *livekit.AnalyticsEvent {
	event := &livekit.AnalyticsEvent{
		Type:        livekit.AnalyticsEventType_SIP_TRANSFER_COMPLETE,
		Timestamp:   timestamppb.New(now),
		SipCallId:   info.CallId,
		SipTransfer: info,
	}
	if info.TransferStatus == livekit.SIPTransferStatus_STS_TRANSFER_ONGOING {
		event.Type = livekit.AnalyticsEventType_SIP_TRANSFER_REQUESTED
	}
	return event
}
