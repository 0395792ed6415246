package telemetry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	"github.com/livekit/protocol/rpc"

	"github.com/livekit/livekit-server/pkg/config"
	"github.com/livekit/livekit-server/pkg/routing"
)

const patience = 20 * time.Second

// An analytics recorder: stores what it receives, by stream, and answers each stream as configured.
type receiver struct {
	rpc.UnimplementedAnalyticsRecorderServiceServer
	// Called for each event; an error is the answer to its stream.
	onEvent func(stream int, event *livekit.AnalyticsEvent) error
	// Called at the end of a stream; an error is the answer to it.
	onEnd func(stream int) error

	mu       sync.Mutex
	streams  [][]string
	lasted   []time.Duration
	answered []string
	tokens   []string
	stats    []*livekit.AnalyticsStats
	rooms    []*livekit.AnalyticsNodeRooms
}

func (r *receiver) IngestEvents(stream grpc.ClientStreamingServer[livekit.AnalyticsEvents, emptypb.Empty]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	r.mu.Lock()
	nth := len(r.streams)
	r.streams = append(r.streams, nil)
	r.lasted = append(r.lasted, 0)
	r.tokens = append(r.tokens, strings.Join(md.Get("authorization"), ","))
	r.mu.Unlock()
	var first time.Time
	var taken []string
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if first.IsZero() {
			first = time.Now()
		}
		for _, event := range message.Events {
			if r.onEvent != nil {
				if err := r.onEvent(nth, event); err != nil {
					return err
				}
			}
			taken = append(taken, event.Id)
			r.mu.Lock()
			r.streams[nth] = append(r.streams[nth], event.Id)
			r.mu.Unlock()
		}
	}
	if r.onEnd != nil {
		if err := r.onEnd(nth); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.answered = append(r.answered, taken...)
	if !first.IsZero() {
		r.lasted[nth] = time.Since(first)
	}
	r.mu.Unlock()
	return stream.SendAndClose(&emptypb.Empty{})
}

func (r *receiver) IngestStats(stream grpc.ClientStreamingServer[livekit.AnalyticsStats, emptypb.Empty]) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&emptypb.Empty{})
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.stats = append(r.stats, message)
		r.mu.Unlock()
	}
}

func (r *receiver) IngestNodeRoomStates(stream grpc.ClientStreamingServer[livekit.AnalyticsNodeRooms, emptypb.Empty]) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&emptypb.Empty{})
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.rooms = append(r.rooms, message)
		r.mu.Unlock()
	}
}

// The ids of acknowledged messages.
func (r *receiver) acknowledged() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.answered)
}

func (r *receiver) seen() [][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.streams), func(ids []string) bool { return len(ids) == 0 })
}

func (r *receiver) listen(t *testing.T, address string, options ...grpc.ServerOption) (*grpc.Server, string) {
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	server := grpc.NewServer(options...)
	rpc.RegisterAnalyticsRecorderServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return server, listener.Addr().String()
}

// Collects the log messages of all tests.
type log struct{ logger.Logger }

var (
	logMu sync.Mutex
	lines []string
)

// Set before anything can log.
func init() { logger.SetLogger(log{logger.GetDiscardLogger()}, "") }

func (l log) WithName(string) logger.Logger { return l }

func (l log) WithCallDepth(int) logger.Logger { return l }

func (l log) Infow(message string, _ ...any) { l.Warnw(message, nil) }

func (log) Warnw(message string, _ error, _ ...any) {
	logMu.Lock()
	defer logMu.Unlock()
	lines = append(lines, message)
}

func (l log) Errorw(message string, err error, _ ...any) { l.Warnw(message, err) }

func logged(snippet string) (times int) {
	logMu.Lock()
	defer logMu.Unlock()
	for _, line := range lines {
		if strings.Contains(line, snippet) {
			times++
		}
	}
	return times
}

func eventually(t *testing.T, is func() bool, what string) {
	t.Helper()
	require.Eventually(t, is, patience, 5*time.Millisecond, what)
}

func settingsOf(t *testing.T, environment map[string]string) *analyticsSettings {
	get := func(name string) string { return environment[name] }
	settings, err := readAnalyticsSettings(get, map[string]string{"b": "of-b", "a": "of-a"})
	require.NoError(t, err)
	return settings
}

func start(t *testing.T, address string, change func(*analyticsSettings)) *analyticsService {
	settings := settingsOf(t, map[string]string{envAddr: address})
	settings.minPause, settings.maxPause = 5*time.Millisecond, 50*time.Millisecond
	settings.interval = 20 * time.Millisecond
	if change != nil {
		change(settings)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	service, err := startAnalytics(ctx, settings, "ND_1")
	require.NoError(t, err)
	return service
}

func send(service *analyticsService, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		event := &livekit.AnalyticsEvent{Type: livekit.AnalyticsEventType_ROOM_CREATED}
		service.SendEvent(context.Background(), event)
		ids[i] = event.Id
	}
	return ids
}

func waiting(lane *analyticsLane) int {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	return len(lane.queue)
}

func count(t *testing.T, of prometheus.Metric) int {
	var metric dto.Metric
	require.NoError(t, of.Write(&metric))
	return int(metric.GetCounter().GetValue() + metric.GetGauge().GetValue())
}

func droppedEvents(t *testing.T, reason string) int {
	return count(t, analyticsDropped.WithLabelValues("events", reason))
}

func unusedAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func TestAnalyticsStreamEndsASecondAfterItsFirstMessage(t *testing.T) {
	receiver := &receiver{}
	_, address := receiver.listen(t, "127.0.0.1:0")
	defaults := settingsOf(t, map[string]string{envAddr: address})
	service := start(t, address, func(s *analyticsSettings) { s.interval = defaults.interval })
	ids := send(service, 1)
	eventually(t, func() bool { return len(receiver.seen()) == 1 }, "sent at once")
	require.Empty(t, receiver.acknowledged())
	ids = append(ids, send(service, 1)...)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 2 }, "acknowledged")
	require.Equal(t, [][]string{ids}, receiver.seen())
	require.Greater(t, receiver.lasted[0], 900*time.Millisecond)
	require.Less(t, receiver.lasted[0], 5*time.Second)
	eventually(t, func() bool { return waiting(service.events) == 0 }, "removed")
}

func TestAnalyticsStreamEndsAfter512Messages(t *testing.T) {
	receiver := &receiver{}
	_, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, func(s *analyticsSettings) { s.interval = patience })
	before := count(t, service.events.acknowledged)
	ids := send(service, 1024)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 1024 }, "acknowledged")
	require.Equal(t, ids, receiver.acknowledged())
	require.Len(t, receiver.seen(), 2)
	require.Len(t, receiver.seen()[0], 512)
	eventually(t, func() bool { return count(t, service.events.acknowledged) == before+1024 }, "counted")
}

func TestAnalyticsIdleStreamStaysOpenAndIsEndedInTheEnd(t *testing.T) {
	ended := make(chan int, 64)
	receiver := &receiver{onEnd: func(stream int) error {
		ended <- stream
		return nil
	}}
	_, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, func(s *analyticsSettings) { s.idle = 200 * time.Millisecond })
	at := time.Now()
	require.Equal(t, 0, <-ended)
	require.GreaterOrEqual(t, time.Since(at), 150*time.Millisecond)
	require.Equal(t, 1, <-ended)
	ids := send(service, 1)
	eventually(t, func() bool { return slices.Equal(ids, receiver.acknowledged()) }, "acknowledged")
}

func TestAnalyticsWithoutEmptyIsSentAgain(t *testing.T) {
	for name, answer := range map[string]error{
		"unavailable": status.Error(codes.Unavailable, "busy"),
		"internal":    status.Error(codes.Internal, "broken"),
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			receiver := &receiver{onEnd: func(int) (err error) {
				once.Do(func() { err = answer })
				return
			}}
			_, address := receiver.listen(t, "127.0.0.1:0")
			service := start(t, address, nil)
			ids := send(service, 20)
			eventually(t, func() bool { return len(receiver.acknowledged()) >= 20 }, "acknowledged")
			require.Equal(t, ids, receiver.acknowledged())
			require.Greater(t, len(receiver.seen()), 1)
		})
	}
}

// A receiver that answers Empty before the end of the stream, which does not say what was read.
type hasty struct{ receiver }

func (h *hasty) IngestEvents(stream grpc.ClientStreamingServer[livekit.AnalyticsEvents, emptypb.Empty]) error {
	h.mu.Lock()
	isFirst := len(h.streams) == 0
	h.mu.Unlock()
	if !isFirst {
		return h.receiver.IngestEvents(stream)
	}
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.streams = append(h.streams, []string{message.Events[0].Id})
	h.lasted, h.tokens = append(h.lasted, 0), append(h.tokens, "")
	h.mu.Unlock()
	return stream.SendAndClose(&emptypb.Empty{})
}

func TestAnalyticsWithAnEarlyEmptyIsSentAgain(t *testing.T) {
	hasty := &hasty{}
	server := grpc.NewServer()
	rpc.RegisterAnalyticsRecorderServiceServer(server, hasty)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	service := start(t, listener.Addr().String(), func(s *analyticsSettings) { s.interval = time.Second })
	ids := send(service, 3)
	eventually(t, func() bool { return len(hasty.acknowledged()) == 3 }, "acknowledged")
	require.Equal(t, ids, hasty.acknowledged())
}

func TestAnalyticsIsBoundedAndCountedWhileTheReceiverIsAway(t *testing.T) {
	for name, bound := range map[string]func(*analyticsSettings){
		"messages": func(s *analyticsSettings) { s.maxMessages = 10 },
		// An event takes 27 bytes here.
		"bytes": func(s *analyticsSettings) { s.maxBytes = 275 },
	} {
		t.Run(name, func(t *testing.T) {
			address := unusedAddress(t)
			before := droppedEvents(t, dropFull)
			service := start(t, address, bound)
			ids := send(service, 25)
			require.Equal(t, 10, waiting(service.events))
			require.Equal(t, 15, droppedEvents(t, dropFull)-before)
			require.Equal(t, 10, count(t, service.events.waiting))
			receiver := &receiver{}
			receiver.listen(t, address)
			eventually(t, func() bool { return len(receiver.acknowledged()) == 10 }, "acknowledged")
			require.Equal(t, ids[:10], receiver.acknowledged())
			eventually(t, func() bool { return count(t, service.events.waiting) == 0 }, "removed")
			require.Equal(t, 0, service.events.bytes)
			// The queue has space again.
			ids = send(service, 1)
			eventually(t, func() bool { return slices.Equal(ids, receiver.acknowledged()[10:]) }, "acknowledged")
		})
	}
}

func TestAnalyticsDoesNotBlockWhileTheReceiverHangs(t *testing.T) {
	hangs := make(chan struct{})
	receiver := &receiver{onEvent: func(stream int, _ *livekit.AnalyticsEvent) error {
		<-hangs
		return nil
	}}
	_, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, func(s *analyticsSettings) {
		s.answerTimeout, s.streamMessages = time.Second, 100_000
	})
	event := func() *livekit.AnalyticsEvent {
		// Large enough to exceed the buffers of gRPC and the system.
		return &livekit.AnalyticsEvent{Error: strings.Repeat("x", 4096)}
	}
	var longest time.Duration
	for range 4000 {
		at := time.Now()
		service.SendEvent(context.Background(), event())
		longest = max(longest, time.Since(at))
	}
	require.Less(t, longest, 500*time.Millisecond)
	require.Equal(t, 4000, waiting(service.events))
	// The sender abandons streams and opens new ones.
	opened := func() int {
		receiver.mu.Lock()
		defer receiver.mu.Unlock()
		return len(receiver.streams)
	}
	eventually(t, func() bool { return opened() > 1 }, "opened again")
	close(hangs)
	eventually(t, func() bool { return waiting(service.events) == 0 }, "acknowledged")
}

func TestAnalyticsContinuesAfterARestartOfTheReceiver(t *testing.T) {
	receiver := &receiver{}
	server, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, func(s *analyticsSettings) { s.interval = 300 * time.Millisecond })
	ids := send(service, 5)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 5 }, "acknowledged")
	ids = append(ids, send(service, 5)...)
	eventually(t, func() bool { return len(receiver.seen()) == 2 }, "in flight")
	server.Stop()
	ids = append(ids, send(service, 5)...)
	receiver.listen(t, address)
	ids = append(ids, send(service, 5)...)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 20 }, "acknowledged")
	require.Equal(t, ids, receiver.acknowledged())
}

func TestAnalyticsDropsTheOneMessageThatIsRefused(t *testing.T) {
	var refused string
	var mu sync.Mutex
	receiver := &receiver{onEvent: func(_ int, event *livekit.AnalyticsEvent) error {
		mu.Lock()
		defer mu.Unlock()
		if event.Error == "unreadable" {
			refused = event.Id
			return status.Error(codes.InvalidArgument, "unreadable")
		}
		return nil
	}}
	before := droppedEvents(t, dropRefused)
	_, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, nil)
	ids := send(service, 7)
	wrong := &livekit.AnalyticsEvent{Error: "unreadable"}
	service.SendEvent(context.Background(), wrong)
	ids = append(ids, send(service, 7)...)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 14 }, "acknowledged")
	require.Equal(t, ids, receiver.acknowledged())
	require.Equal(t, wrong.Id, refused)
	eventually(t, func() bool { return droppedEvents(t, dropRefused) == before+1 }, "counted")
}

func TestAnalyticsSendsAMessageAsItWasAtTheCall(t *testing.T) {
	address := unusedAddress(t)
	service := start(t, address, nil)
	stat := &livekit.AnalyticsStat{RoomName: "standup", AnalyticsKey: ""}
	service.SendStats(context.Background(), []*livekit.AnalyticsStat{stat})
	stat.RoomName = "changed"
	rooms := &livekit.AnalyticsNodeRooms{Rooms: []*livekit.AnalyticsRoom{{Name: "standup"}}}
	service.SendNodeRoomStates(context.Background(), rooms)
	rooms.Rooms[0].Name = "changed"
	service.SendNodeRoomStates(context.Background(), rooms)
	receiver := &receiver{}
	receiver.listen(t, address)
	eventually(t, func() bool { return waiting(service.stats)+waiting(service.nodeRooms) == 0 }, "acknowledged")
	require.Equal(t, "standup", receiver.stats[0].Stats[0].RoomName)
	require.Equal(t, "ND_1", receiver.stats[0].Stats[0].Node)
	require.True(t, strings.HasPrefix(receiver.stats[0].Stats[0].Id, "AS_"))
	require.Equal(t, "standup", receiver.rooms[0].Rooms[0].Name)
	require.Equal(t, "changed", receiver.rooms[1].Rooms[0].Name)
	require.Equal(t, uint64(1), receiver.rooms[0].SequenceNumber)
	require.Equal(t, uint64(2), receiver.rooms[1].SequenceNumber)
}

func TestAnalyticsDropsWhatHasNoEncoding(t *testing.T) {
	before := droppedEvents(t, dropInvalid)
	service := start(t, unusedAddress(t), nil)
	service.SendEvent(context.Background(), &livekit.AnalyticsEvent{Error: "\xff"})
	require.Equal(t, 1, droppedEvents(t, dropInvalid)-before)
	require.Equal(t, 0, waiting(service.events))
}

func TestAnalyticsSignsATokenForEachStream(t *testing.T) {
	receiver := &receiver{}
	_, address := receiver.listen(t, "127.0.0.1:0")
	service := start(t, address, func(s *analyticsSettings) { s.streamMessages = 1 })
	send(service, 2)
	eventually(t, func() bool { return len(receiver.acknowledged()) == 2 }, "acknowledged")
	token, found := strings.CutPrefix(receiver.tokens[1], "Bearer ")
	require.True(t, found)
	// Signed with the first of the server's keys.
	parsed, err := auth.ParseAPIToken(token)
	require.NoError(t, err)
	require.Equal(t, "a", parsed.APIKey())
	claims, grants, err := parsed.Verify("of-a")
	require.NoError(t, err)
	require.Equal(t, &auth.ClaimGrants{Observability: &auth.ObservabilityGrant{Write: true}}, grants)
	require.LessOrEqual(t, time.Until(claims.ExpiresAt.Time), tokenTTL)
}

func TestAnalyticsTokenIsTheOneThatIsGiven(t *testing.T) {
	given := settingsOf(t, map[string]string{envAddr: "host:1", envToken: "a.b.c"})
	token, err := given.token()
	require.NoError(t, err)
	require.Equal(t, "a.b.c", token)
	given = settingsOf(t, map[string]string{envAddr: "host:1", envAPIKey: "key", envSecret: "of-key"})
	token, err = given.token()
	require.NoError(t, err)
	parsed, err := auth.ParseAPIToken(token)
	require.NoError(t, err)
	require.Equal(t, "key", parsed.APIKey())
	_, grants, err := parsed.Verify("of-key")
	require.NoError(t, err)
	require.True(t, grants.Observability.Write)
}

func TestAnalyticsLogsARefusalOnceAndContinues(t *testing.T) {
	warnings, infos := logged("not accepted"), logged("accepted again")
	var mu sync.Mutex
	tries, isOpen := 0, false
	guard := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		mu.Lock()
		isRefused := !isOpen && info.FullMethod == rpc.AnalyticsRecorderService_IngestEvents_FullMethodName
		if isRefused {
			tries++
		}
		mu.Unlock()
		if isRefused {
			return status.Error(codes.Unauthenticated, "who are you?")
		}
		return handler(srv, stream)
	}
	receiver := &receiver{}
	_, address := receiver.listen(t, "127.0.0.1:0", grpc.StreamInterceptor(guard))
	service := start(t, address, nil)
	ids := send(service, 3)
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return tries > 5
	}, "tried again")
	require.Equal(t, warnings+1, logged("not accepted"))
	mu.Lock()
	isOpen = true
	mu.Unlock()
	eventually(t, func() bool { return slices.Equal(ids, receiver.acknowledged()) }, "acknowledged")
	eventually(t, func() bool { return logged("accepted again") == infos+1 }, "logged")
	require.Equal(t, warnings+1, logged("not accepted"))
}

func TestAnalyticsLogsWrongSettingsAndSendsNothing(t *testing.T) {
	for name, environment := range map[string]map[string]string{
		"no port":          {envAddr: "otel"},
		"no host":          {envAddr: ":9291"},
		"a path":           {envAddr: "http://otel:9291/v1"},
		"another scheme":   {envAddr: "ftp://otel:9291"},
		"no such file":     {envAddr: "https://otel:9291", envCA: "none.pem"},
		"TLS on http":      {envAddr: "otel:9291", envCA: "none.pem"},
		"half a pair":      {envAddr: "https://otel:9291", envCert: "none.pem"},
		"half a key":       {envAddr: "otel:9291", envAPIKey: "key"},
		"token and key":    {envAddr: "otel:9291", envToken: "a", envAPIKey: "key", envSecret: "of-key"},
		"no token":         {envAddr: "otel:9291", envToken: "a\nb"},
		"no number":        {envAddr: "otel:9291", envMessages: "many"},
		"nothing buffered": {envAddr: "otel:9291", envBytes: "0"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range environment {
				t.Setenv(key, value)
			}
			_, err := readAnalyticsSettings(os.Getenv, nil)
			require.Error(t, err)
			for key := range environment {
				if strings.Contains(err.Error(), key) {
					require.NotContains(t, err.Error(), "of-key")
					before := logged("can't be used")
					sendsNothing(t)
					require.Equal(t, before+1, logged("can't be used"))
					return
				}
			}
			require.Fail(t, "the error does not name the wrong setting", err.Error())
		})
	}
}

func sendsNothing(t *testing.T) {
	node, err := routing.NewLocalNode(nil)
	require.NoError(t, err)
	service := NewAnalyticsService(&config.Config{}, node)
	event := &livekit.AnalyticsEvent{}
	service.SendEvent(context.Background(), event)
	require.Empty(t, event.Id)
	service.SendStats(context.Background(), []*livekit.AnalyticsStat{{}})
	service.SendNodeRoomStates(context.Background(), &livekit.AnalyticsNodeRooms{})
	require.NotNil(t, service.RoomProjectReporter(context.Background()))
}

func TestAnalyticsWithoutAnAddressSendsNothing(t *testing.T) {
	t.Setenv(envAddr, "")
	sendsNothing(t)
}

func TestAnalyticsSpeaksTLSWithACertificateOfItsOwn(t *testing.T) {
	ca, caKey := certificate(t, "authority", nil, nil)
	pair, pairKey := certificate(t, "127.0.0.1", ca, caKey)
	folder := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := x509.MarshalECPrivateKey(pairKey)
	require.NoError(t, err)
	caPath := file("ca.pem", "CERTIFICATE", ca.Raw)
	certPath, keyPath := file("cert.pem", "CERTIFICATE", pair.Raw), file("key.pem", "EC PRIVATE KEY", key)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	receiver := &receiver{}
	_, address := receiver.listen(t, "127.0.0.1:0", grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{pair.Raw}, PrivateKey: pairKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})))
	tls := settingsOf(t, map[string]string{
		envAddr: "https://" + address, envCA: caPath, envCert: certPath, envKey: keyPath,
	})
	service := start(t, address, func(s *analyticsSettings) { s.transport = tls.transport })
	ids := send(service, 2)
	eventually(t, func() bool { return slices.Equal(ids, receiver.acknowledged()) }, "acknowledged")
}

func certificate(t *testing.T, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(crand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	made, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return made, key
}

func BenchmarkAnalyticsSendEvent(b *testing.B) {
	settings := &analyticsSettings{maxMessages: 1 << 40, maxBytes: 1 << 40}
	service := &analyticsService{nodeID: "ND_1", events: newAnalyticsLane(settings, "bench")}
	event := &livekit.AnalyticsEvent{
		Type: livekit.AnalyticsEventType_PARTICIPANT_ACTIVE,
		Room: &livekit.Room{Sid: "RM_XHuZ4ggjTArt", Name: "standup"},
		Participant: &livekit.ParticipantInfo{
			Sid: "PA_iwMdxzZgvScj", Identity: "ann", Name: "Ann", Metadata: fmt.Sprintf("%0256d", 1),
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		service.SendEvent(context.Background(), event)
	}
}
