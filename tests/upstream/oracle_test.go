// Upstream's telemetry service as the oracle for ours: reads calls as JSON lines, and writes what it sent.
package upstream

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/livekit-server/pkg/telemetry"
	"github.com/livekit/livekit-server/pkg/telemetry/prometheus"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
)

const flushInterval = 30 * time.Second

type request struct {
	Ops []op `json:"ops"`
}

type answer struct {
	StartMs   int64          `json:"start_ms"`
	Stats     []record       `json:"stats"`
	Events    []record       `json:"events"`
	Webhooks  []record       `json:"webhooks"`
	NodeRooms []record       `json:"node_rooms"`
	Metrics   map[string]any `json:"metrics"`
	Error     string         `json:"error,omitempty"`
}

// TestOracle answers until its input ends, with a clock that advances only while it sleeps.
func TestOracle(t *testing.T) {
	if os.Getenv("UPSTREAM_MODE") != "oracle" {
		t.Skip("UPSTREAM_MODE is not oracle")
	}
	out := os.Stdout
	os.Stdout = os.Stderr
	logger.InitFromConfig(&logger.Config{Level: "error"}, "upstream")
	if err := prometheus.Init("oracle", livekit.NodeType_SERVER); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		recorder := &recorder{}
		service := telemetry.NewTelemetryService(recorder, recorder)
		requests := bufio.NewReaderSize(os.Stdin, 1<<20)
		answers := json.NewEncoder(out)
		for {
			line, err := requests.ReadBytes('\n')
			if err != nil {
				// Upstream's goroutines never end.
				os.Exit(0)
			}
			// Start just after one of the service's own flushes, so that the time of the next is known.
			since := time.Since(began)
			time.Sleep(since.Truncate(flushInterval) + flushInterval + time.Millisecond - since)
			synctest.Wait()
			recorder.reset()
			before := gather()
			var asked request
			answer := answer{StartMs: time.Now().UnixMilli()}
			if err := json.Unmarshal(line, &asked); err != nil {
				answer.Error = err.Error()
			}
			guards := map[string]*telemetry.ReferenceGuard{}
			for _, op := range asked.Ops {
				if err := op.call(service, guards); err != nil {
					answer.Error = err.Error()
					break
				}
				synctest.Wait()
			}
			recorder.into(&answer)
			answer.Metrics = changes(before, gather())
			if err := answers.Encode(answer); err != nil {
				os.Exit(1)
			}
		}
	})
}
