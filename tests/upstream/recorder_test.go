package upstream

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/observability/roomobs"
	"github.com/livekit/protocol/webhook"
)

// record is what the service sent at a time: a message, or a worker's stats.
type record struct {
	AtMs  int64             `json:"at_ms"`
	Event json.RawMessage   `json:"event,omitempty"`
	Stats []json.RawMessage `json:"stats,omitempty"`
}

// recorder stands for upstream's analytics service and its notifier: both only record.
type recorder struct {
	mu                                 sync.Mutex
	stats, events, webhooks, nodeRooms []record
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats, r.events, r.webhooks, r.nodeRooms = []record{}, []record{}, []record{}, []record{}
}

func (r *recorder) into(a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.Stats, a.Events, a.Webhooks, a.NodeRooms = r.stats, r.events, r.webhooks, r.nodeRooms
}

func written(m proto.Message) json.RawMessage {
	text, err := protojson.Marshal(m)
	if err != nil {
		panic(err)
	}
	return text
}

func (r *recorder) add(to *[]record, m proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, record{AtMs: time.Now().UnixMilli(), Event: written(m)})
}

func (r *recorder) SendStats(_ context.Context, stats []*livekit.AnalyticsStat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := record{AtMs: time.Now().UnixMilli()}
	for _, stat := range stats {
		one.Stats = append(one.Stats, written(stat))
	}
	r.stats = append(r.stats, one)
}

func (r *recorder) SendEvent(_ context.Context, event *livekit.AnalyticsEvent) {
	r.add(&r.events, event)
}

func (r *recorder) SendNodeRoomStates(_ context.Context, rooms *livekit.AnalyticsNodeRooms) {
	r.add(&r.nodeRooms, rooms)
}

func (r *recorder) RoomProjectReporter(context.Context) roomobs.ProjectReporter {
	return roomobs.NewNoopProjectReporter()
}

func (r *recorder) RegisterProcessedHook(func(context.Context, *livekit.WebhookInfo)) {}
func (r *recorder) SetKeys(string, string)                                            {}
func (r *recorder) SetFilter(webhook.FilterParams)                                    {}
func (r *recorder) Stop(bool)                                                         {}

func (r *recorder) QueueNotify(
	_ context.Context,
	event *livekit.WebhookEvent,
	_ ...webhook.NotifyOption,
) error {
	copied := proto.Clone(event).(*livekit.WebhookEvent)
	// The id is random.
	copied.Id = ""
	r.add(&r.webhooks, copied)
	return nil
}
