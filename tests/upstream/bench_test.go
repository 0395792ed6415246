package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit/livekit-server/pkg/telemetry"
	"github.com/livekit/livekit-server/pkg/telemetry/prometheus"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	"github.com/livekit/protocol/observability/roomobs"
)

const (
	perParticipant = 10
	perRoom        = 10
	reports        = 6
)

type figures struct {
	Streams             int     `json:"streams"`
	Threads             int     `json:"threads"`
	CallCPU             float64 `json:"call_cpu_ns"`
	CallWall            float64 `json:"call_wall_ns"`
	HeldBytes           float64 `json:"held_bytes_per_stream"`
	FlushCoalesceCPU    float64 `json:"flush_coalesce_cpu_ns_per_stream"`
	FlushMarshalCPU     float64 `json:"flush_marshal_cpu_ns_per_stream"`
	MarshalledBytesEach float64 `json:"marshalled_bytes_per_stream"`
}

// sink accepts stats, and marshals them if `marshal` is set.
type sink struct {
	marshal bool
	bytes   int
	event   chan struct{}
}

func (s *sink) SendStats(_ context.Context, stats []*livekit.AnalyticsStat) {
	if s.marshal {
		bytes, _ := proto.Marshal(&livekit.AnalyticsStats{Stats: stats})
		s.bytes += len(bytes)
	}
}
func (s *sink) SendEvent(context.Context, *livekit.AnalyticsEvent)              { s.event <- struct{}{} }
func (s *sink) SendNodeRoomStates(context.Context, *livekit.AnalyticsNodeRooms) {}
func (s *sink) RoomProjectReporter(context.Context) roomobs.ProjectReporter {
	return roomobs.NewNoopProjectReporter()
}

func processCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func number(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return n
}

// The same load as benches/telemetry/load.rs.
func stat(nth int) *livekit.AnalyticsStat {
	varied := uint32(nth % 97)
	layer := func(layer int32) *livekit.AnalyticsVideoLayer {
		return &livekit.AnalyticsVideoLayer{
			Layer: layer, Packets: 250 + varied, Bytes: 250_000, Frames: 150,
		}
	}
	return &livekit.AnalyticsStat{
		Score: 3 + float32(varied)/97,
		Mime:  "video/vp8",
		Streams: []*livekit.AnalyticsStream{{
			PrimaryPackets: 500 + varied, PrimaryBytes: 500_000, RetransmitPackets: varied % 5,
			RetransmitBytes: 5000, PaddingPackets: 10, PaddingBytes: 2000, PacketsLost: varied % 7,
			PacketsOutOfOrder: varied % 3, Frames: 150, Rtt: 20 + varied, Jitter: 900 + varied*40,
			Nacks: varied % 4, Plis: varied % 2,
			VideoLayers: []*livekit.AnalyticsVideoLayer{layer(0), layer(1)},
			StartTime:   &timestamppb.Timestamp{Seconds: 1_795_400_000},
			EndTime:     &timestamppb.Timestamp{Seconds: 1_795_400_005},
		}},
	}
}

type stream struct {
	room livekit.RoomID
	key  telemetry.StatsKey
}

func streams(service telemetry.TelemetryService, n int) []stream {
	all := make([]stream, n)
	for nth := range all {
		member := nth / perParticipant
		room := &livekit.Room{
			Sid:  fmt.Sprintf("RM_%012d", member/perRoom),
			Name: fmt.Sprintf("room-%d", member/perRoom),
		}
		sid := fmt.Sprintf("PA_%012d", member)
		if nth%perParticipant == 0 {
			who := &livekit.ParticipantInfo{Sid: sid, Identity: fmt.Sprintf("user-%d", member)}
			guard := &telemetry.ReferenceGuard{}
			service.ParticipantJoined(context.Background(), room, who, nil, nil, false, guard)
		}
		direction := livekit.StreamType(nth % 2)
		all[nth] = stream{livekit.RoomID(room.Sid), telemetry.StatsKeyForTrack(
			"DE", direction, livekit.ParticipantID(sid), livekit.TrackID(fmt.Sprintf("TR_%012d", nth)),
			livekit.TrackSource_CAMERA, livekit.TrackType_VIDEO,
		)}
	}
	return all
}

// Waits for all calls so far: they are processed in order, so an event that comes out is the last of them.
func processed(service telemetry.TelemetryService, sink *sink) {
	service.RoomStarted(context.Background(), &livekit.Room{})
	<-sink.event
}

// TestBench prints what a window costs upstream. The messages are made before the measurement, so making them
// is not timed; they count as held memory, as upstream's workers keep them.
func TestBench(t *testing.T) {
	if os.Getenv("UPSTREAM_MODE") != "bench" {
		t.Skip("UPSTREAM_MODE is not bench")
	}
	out := os.Stdout
	os.Stdout = os.Stderr
	logger.InitFromConfig(&logger.Config{Level: "error"}, "upstream")
	if err := prometheus.Init("bench", livekit.NodeType_SERVER); err != nil {
		t.Fatal(err)
	}
	n, threads := number("STREAMS"), number("THREADS")
	sink := &sink{event: make(chan struct{}, 1)}
	service := telemetry.NewTelemetryService(nil, sink)
	all := streams(service, n)
	processed(service, sink)
	got := figures{Streams: n, Threads: threads}
	for round, marshal := range []bool{false, true} {
		before := heap()
		stats := make([]*livekit.AnalyticsStat, n*reports)
		for nth := range stats {
			stats[nth] = stat(nth)
		}
		runtime.GC()
		cpu, wall := processCPU(), time.Now()
		call(service, all, stats, threads)
		processed(service, sink)
		calls := float64(n * reports)
		if round == 0 || float64(processCPU()-cpu)/calls < got.CallCPU {
			got.CallCPU = float64(processCPU()-cpu) / calls
			got.CallWall = float64(time.Since(wall)) / calls
		}
		clear(stats)
		// Measured in the first round only: its queue is freed during the second.
		if round == 0 {
			got.HeldBytes = float64(heap()-before) / float64(n)
		}
		sink.marshal, sink.bytes = marshal, 0
		cpu = processCPU()
		service.FlushStats()
		each := float64(processCPU()-cpu) / float64(n)
		if marshal {
			got.FlushMarshalCPU = each
			got.MarshalledBytesEach = float64(sink.bytes) / float64(n)
		} else {
			got.FlushCoalesceCPU = each
		}
	}
	if err := json.NewEncoder(out).Encode(got); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func call(
	service telemetry.TelemetryService,
	all []stream,
	stats []*livekit.AnalyticsStat,
	threads int,
) {
	part := (len(all) + threads - 1) / threads
	var done sync.WaitGroup
	for from := 0; from < len(all); from += part {
		done.Go(func() {
			own := all[from:min(from+part, len(all))]
			for report := range reports {
				for nth, stream := range own {
					stat := stats[report*len(all)+from+nth]
					service.TrackStats(stream.room, "", stream.key, stat)
				}
			}
		})
	}
	done.Wait()
}
