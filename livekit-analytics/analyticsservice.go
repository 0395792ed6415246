// Replaces the file of the same name in LiveKit's server (pkg/telemetry), by `go build -overlay`. It sends the
// analytics to livekit-otel, on streams that livekit-otel acknowledges. See README.md.

package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	"github.com/livekit/protocol/observability/roomobs"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils/guid"

	"github.com/livekit/livekit-server/pkg/config"
	"github.com/livekit/livekit-server/pkg/routing"
)

// AnalyticsService receives what the telemetry service sends. No method waits for livekit-otel.
type AnalyticsService interface {
	SendStats(ctx context.Context, stats []*livekit.AnalyticsStat)
	SendEvent(ctx context.Context, event *livekit.AnalyticsEvent)
	SendNodeRoomStates(ctx context.Context, nodeRooms *livekit.AnalyticsNodeRooms)
	RoomProjectReporter(ctx context.Context) roomobs.ProjectReporter
}

var _ AnalyticsService = NullAnalyticService{}

// NullAnalyticService sends nothing.
type NullAnalyticService struct{}

func (NullAnalyticService) SendStats(context.Context, []*livekit.AnalyticsStat) {}

func (NullAnalyticService) SendEvent(context.Context, *livekit.AnalyticsEvent) {}

func (NullAnalyticService) SendNodeRoomStates(context.Context, *livekit.AnalyticsNodeRooms) {}

func (NullAnalyticService) RoomProjectReporter(context.Context) roomobs.ProjectReporter { return nil }

// The environment variables that configure the address and the transport.
const (
	envAddr     = "LIVEKIT_OTEL_ADDR"
	envCA       = "LIVEKIT_OTEL_TLS_CA"
	envCert     = "LIVEKIT_OTEL_TLS_CERT"
	envKey      = "LIVEKIT_OTEL_TLS_KEY"
	envToken    = "LIVEKIT_OTEL_TOKEN"
	envAPIKey   = "LIVEKIT_OTEL_API_KEY"
	envSecret   = "LIVEKIT_OTEL_API_SECRET"
	envMessages = "LIVEKIT_OTEL_BUFFER_MESSAGES"
	envBytes    = "LIVEKIT_OTEL_BUFFER_BYTES"
)

// How long a token is valid: it is checked when its stream opens, right after it was signed.
const tokenTTL = time.Minute

// The shortest time between two log records about dropped messages.
const dropLogInterval = 30 * time.Second

var errNoAnswer = status.Error(codes.DeadlineExceeded, "no answer in time")

type analyticsSettings struct {
	target      string
	transport   credentials.TransportCredentials
	token       func() (string, error)
	maxMessages int
	maxBytes    int
	// A stream is ended `interval` after its first message, after streamMessages messages, or after `idle`
	// without any.
	interval       time.Duration
	streamMessages int
	idle           time.Duration
	// How long the receiver may take to open a stream, and to answer its end.
	answerTimeout time.Duration
	// The first and the longest pause between attempts.
	minPause, maxPause time.Duration
}

// Returns nil if no address is set. The error lists every wrong setting.
func readAnalyticsSettings(getenv func(string) string, keys map[string]string) (*analyticsSettings, error) {
	addr := getenv(envAddr)
	if addr == "" {
		return nil, nil
	}
	s := &analyticsSettings{
		interval: time.Second, streamMessages: 512, idle: 30 * time.Second,
		answerTimeout: 10 * time.Second,
		minPause:      100 * time.Millisecond, maxPause: 5 * time.Second,
	}
	var wrong [4]error
	wrong[0] = s.readTransport(addr, getenv)
	s.token, wrong[1] = tokenSource(getenv, keys)
	s.maxMessages, wrong[2] = positive(getenv, envMessages, 100_000)
	s.maxBytes, wrong[3] = positive(getenv, envBytes, 32<<20)
	return s, errors.Join(wrong[:]...)
}

func positive(getenv func(string) string, name string, otherwise int) (int, error) {
	text := getenv(name)
	if text == "" {
		return otherwise, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%s must be a whole number above 0", name)
}

func (s *analyticsSettings) readTransport(addr string, getenv func(string) string) error {
	host, isTLS := strings.CutPrefix(addr, "https://")
	host = strings.TrimSuffix(strings.TrimPrefix(host, "http://"), "/")
	if name, port, err := net.SplitHostPort(host); err != nil || name == "" || port == "" ||
		strings.ContainsAny(host, "/@? ") {
		return fmt.Errorf("%s must be host:port, http://host:port or https://host:port", envAddr)
	}
	s.target = "dns:///" + host
	if isTLS {
		config, err := tlsConfig(getenv(envCA), getenv(envCert), getenv(envKey))
		if err == nil {
			s.transport = credentials.NewTLS(config)
		}
		return err
	}
	for _, name := range []string{envCA, envCert, envKey} {
		if getenv(name) != "" {
			return fmt.Errorf("%s needs an address with https:// in %s", name, envAddr)
		}
	}
	s.transport = insecure.NewCredentials()
	return nil
}

// Trusts the system's authorities unless `ca` names a file of others.
func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", envCA, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in %s", envCA, ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, fmt.Errorf("%s and %s need each other", envCert, envKey)
	}
	if cert != "" {
		// Read for each connection, so that it can be replaced while the server runs.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
		if _, err := config.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", envCert, envKey, err)
		}
	}
	return config, nil
}

// Returns the configured token, or signs a new one at each call: with the configured key, or with the first of
// the server's own keys by name.
func tokenSource(getenv func(string) string, keys map[string]string) (func() (string, error), error) {
	token, key, secret := getenv(envToken), getenv(envAPIKey), getenv(envSecret)
	if (key == "") != (secret == "") {
		return nil, fmt.Errorf("%s and %s need each other", envAPIKey, envSecret)
	}
	if token != "" {
		if key != "" {
			return nil, fmt.Errorf("%s and %s exclude each other", envToken, envAPIKey)
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("%s has characters that no header may have", envToken)
		}
		return func() (string, error) { return token, nil }, nil
	}
	if key == "" {
		for each := range keys {
			if key == "" || each < key {
				key, secret = each, keys[each]
			}
		}
	}
	if key == "" || secret == "" {
		return func() (string, error) { return "", nil }, nil
	}
	return func() (string, error) {
		// This grant marks a server's token: the keys sign participants' tokens too, which livekit-otel refuses.
		grant := &auth.ObservabilityGrant{Write: true}
		return auth.NewAccessToken(key, secret).SetObservabilityGrant(grant).SetValidFor(tokenTTL).ToJWT()
	}, nil
}

type analyticsService struct {
	nodeID                   string
	sequenceNumber           atomic.Uint64
	stats, events, nodeRooms *analyticsLane
}

// NewAnalyticsService returns a service that sends to the address in the environment. Without an address, or with
// settings that can't be used, it sends nothing, like LiveKit's own.
func NewAnalyticsService(conf *config.Config, currentNode routing.LocalNode) AnalyticsService {
	var keys map[string]string
	if conf != nil {
		keys = conf.Keys
	}
	settings, err := readAnalyticsSettings(os.Getenv, keys)
	var service *analyticsService
	if err == nil {
		service, err = startAnalytics(context.Background(), settings, string(currentNode.NodeID()))
	}
	if err != nil {
		logger.Errorw("livekit-otel: no analytics are sent, the settings can't be used", err)
		return &analyticsService{}
	}
	return service
}

func startAnalytics(ctx context.Context, s *analyticsSettings, nodeID string) (*analyticsService, error) {
	if s == nil {
		return &analyticsService{}, nil
	}
	connection, err := grpc.NewClient(s.target,
		grpc.WithTransportCredentials(s.transport),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: s.minPause, Multiplier: 2, Jitter: 0.2, MaxDelay: s.maxPause,
			},
			MinConnectTimeout: s.answerTimeout,
		}),
		// Detects a peer that is gone without closing the connection.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	registerAnalyticsMetrics()
	service := &analyticsService{nodeID: nodeID}
	for _, start := range []struct {
		lane         **analyticsLane
		name, method string
	}{
		{&service.stats, "stats", rpc.AnalyticsRecorderService_IngestStats_FullMethodName},
		{&service.events, "events", rpc.AnalyticsRecorderService_IngestEvents_FullMethodName},
		{&service.nodeRooms, "node_rooms", rpc.AnalyticsRecorderService_IngestNodeRoomStates_FullMethodName},
	} {
		lane := newAnalyticsLane(s, start.name)
		*start.lane = lane
		sender := &analyticsSender{analyticsLane: lane, connection: connection, method: start.method}
		go sender.run(ctx)
	}
	logger.Infow("livekit-otel: analytics are sent", "to", s.target)
	return service, nil
}

func (a *analyticsService) SendStats(_ context.Context, stats []*livekit.AnalyticsStat) {
	if a.stats == nil {
		return
	}
	for _, stat := range stats {
		stat.Id = guid.New("AS_")
		stat.Node = a.nodeID
	}
	a.stats.send(&livekit.AnalyticsStats{Stats: stats})
}

func (a *analyticsService) SendEvent(_ context.Context, event *livekit.AnalyticsEvent) {
	if a.events == nil {
		return
	}
	event.Id = guid.New("AE_")
	event.NodeId = a.nodeID
	a.events.send(&livekit.AnalyticsEvents{Events: []*livekit.AnalyticsEvent{event}})
}

func (a *analyticsService) SendNodeRoomStates(_ context.Context, nodeRooms *livekit.AnalyticsNodeRooms) {
	if a.nodeRooms == nil {
		return
	}
	nodeRooms.NodeId = a.nodeID
	nodeRooms.SequenceNumber = a.sequenceNumber.Add(1)
	nodeRooms.Timestamp = timestamppb.Now()
	a.nodeRooms.send(nodeRooms)
}

func (a *analyticsService) RoomProjectReporter(context.Context) roomobs.ProjectReporter {
	return roomobs.NewNoopProjectReporter()
}

var (
	analyticsDropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livekit_otel_analytics_dropped_total",
		Help: "Analytics messages that livekit-otel will not get, by stream and reason.",
	}, []string{"stream", "reason"})
	analyticsAcknowledged = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livekit_otel_analytics_acknowledged_total",
		Help: "Analytics messages that livekit-otel has acknowledged, by stream.",
	}, []string{"stream"})
	analyticsWaiting = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "livekit_otel_analytics_waiting",
		Help: "Analytics messages that livekit-otel has not acknowledged yet, by stream.",
	}, []string{"stream"})
)

func registerAnalyticsMetrics() {
	for _, metric := range []prometheus.Collector{analyticsDropped, analyticsAcknowledged, analyticsWaiting} {
		var registered prometheus.AlreadyRegisteredError
		if err := prometheus.Register(metric); err != nil && !errors.As(err, &registered) {
			logger.Warnw("livekit-otel: a metric can't be registered", err)
		}
	}
}

// Why a message is dropped.
const (
	dropFull    = "full"
	dropRefused = "refused"
	dropInvalid = "invalid"
)

// Holds the encoded messages of one kind, from the call until they are acknowledged.
type analyticsLane struct {
	*analyticsSettings
	name         string
	changed      chan struct{}
	acknowledged prometheus.Counter
	waiting      prometheus.Gauge

	mu sync.Mutex
	// The oldest first.
	queue [][]byte
	bytes int
	// How many were dropped since the last log record about it, and when that was.
	dropped  int
	loggedAt time.Time
}

func newAnalyticsLane(s *analyticsSettings, name string) *analyticsLane {
	lane := &analyticsLane{
		analyticsSettings: s, name: name, changed: make(chan struct{}, 1),
		acknowledged: analyticsAcknowledged.WithLabelValues(name),
		waiting:      analyticsWaiting.WithLabelValues(name),
	}
	for _, reason := range []string{dropFull, dropRefused, dropInvalid} {
		analyticsDropped.WithLabelValues(name, reason)
	}
	return lane
}

// Encodes the message at once, so that later changes to it are not sent.
func (l *analyticsLane) send(message proto.Message) {
	encoded, err := proto.Marshal(message)
	if err != nil {
		l.drop(dropInvalid)
		return
	}
	if !l.push(encoded) {
		l.drop(dropFull)
	}
}

func (l *analyticsLane) push(message []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= l.maxMessages || l.bytes+len(message) > l.maxBytes {
		return false
	}
	l.queue = append(l.queue, message)
	l.bytes += len(message)
	l.waiting.Set(float64(len(l.queue)))
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return true
}

func (l *analyticsLane) drop(reason string) {
	analyticsDropped.WithLabelValues(l.name, reason).Inc()
	l.mu.Lock()
	l.dropped++
	l.mu.Unlock()
	l.logDropped()
}

// Logs dropped messages, at most once per dropLogInterval.
func (l *analyticsLane) logDropped() {
	l.mu.Lock()
	dropped, isDue := l.dropped, l.dropped > 0 && time.Since(l.loggedAt) >= dropLogInterval
	if isDue {
		l.dropped, l.loggedAt = 0, time.Now()
	}
	l.mu.Unlock()
	if isDue {
		logger.Warnw("livekit-otel: analytics messages are dropped", nil,
			"stream", l.name, "dropped", dropped)
	}
}

// Returns the message after the first `sent` unacknowledged ones.
func (l *analyticsLane) after(sent int) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent >= len(l.queue) {
		return nil, false
	}
	return l.queue[sent], true
}

// Removes the n oldest messages.
func (l *analyticsLane) remove(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, message := range l.queue[:n] {
		l.bytes -= len(message)
	}
	clear(l.queue[:n])
	l.queue = l.queue[n:]
	l.waiting.Set(float64(len(l.queue)))
}

// Sends a lane's messages, one stream after another. Only the Empty that answers a stream acknowledges its
// messages; without it they are sent again.
type analyticsSender struct {
	*analyticsLane
	connection *grpc.ClientConn
	method     string
	// The codes of failures that were logged since the last acknowledgement.
	failures []codes.Code
	// How many messages are still to be sent one per stream, to find the one that the receiver refuses.
	suspects int
}

func (s *analyticsSender) run(ctx context.Context) {
	pause := s.minPause
	for ctx.Err() == nil {
		most := s.streamMessages
		if s.suspects > 0 {
			most = 1
		}
		sent, err := s.stream(ctx, most)
		s.logDropped()
		switch {
		case err == nil:
			s.remove(sent)
			s.acknowledged.Add(float64(sent))
			s.suspects = max(0, s.suspects-sent)
			pause = s.minPause
			s.recovered()
		case isRefusal(err) && sent == 1:
			s.remove(1)
			s.drop(dropRefused)
			s.suspects = max(0, s.suspects-1)
		case isRefusal(err) && sent > 1:
			s.suspects = sent
		default:
			s.failed(ctx, err)
			if isHopeless(err) {
				pause = s.maxPause
			}
			s.sleep(ctx, pause)
			pause = min(2*pause, s.maxPause)
		}
	}
}

// Opens a stream, sends up to `most` messages, ends the stream, and waits for its answer.
func (s *analyticsSender) stream(ctx context.Context, most int) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(s.answerTimeout, func() { cancel(errNoAnswer) })
	defer watchdog.Stop()
	stream, err := s.open(ctx)
	if err != nil {
		return 0, why(ctx, err)
	}
	answer := make(chan error, 1)
	go func() { answer <- why(ctx, stream.RecvMsg(nil)) }()
	// The stream stays open while there is nothing to send: by it the receiver knows that analytics are connected.
	watchdog.Stop()
	sent, err := s.pass(stream, most, watchdog, answer)
	if err != nil {
		return sent, err
	}
	select {
	case early := <-answer:
		return sent, tooEarly(early)
	default:
	}
	watchdog.Reset(s.answerTimeout)
	// If this fails, the answer has the reason.
	_ = stream.CloseSend()
	return sent, <-answer
}

// Sends messages until it is time to end the stream. Fails if the receiver answers earlier.
func (s *analyticsSender) pass(
	stream grpc.ClientStream, most int, watchdog *time.Timer, answer <-chan error,
) (sent int, err error) {
	end := time.NewTimer(s.idle)
	defer end.Stop()
	for sent < most {
		message, isThere := s.after(sent)
		ready := s.changed
		if isThere {
			ready = alwaysReady
		}
		select {
		case early := <-answer:
			return sent, tooEarly(early)
		case <-end.C:
			return sent, nil
		case <-ready:
		}
		if !isThere {
			continue
		}
		if sent == 0 {
			end.Reset(s.interval)
			watchdog.Reset(s.interval + s.answerTimeout)
		}
		if stream.SendMsg(message) != nil {
			return sent, tooEarly(<-answer)
		}
		sent++
	}
	return sent, nil
}

func (s *analyticsSender) open(ctx context.Context) (grpc.ClientStream, error) {
	token, err := s.token()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, "no token can be signed")
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	kind := &grpc.StreamDesc{ClientStreams: true}
	return s.connection.NewStream(ctx, kind, s.method, grpc.ForceCodec(encodedMessage{}))
}

// Logs a failure once per code, not at each attempt.
func (s *analyticsSender) failed(ctx context.Context, err error) {
	code := status.Code(err)
	if ctx.Err() != nil || slices.Contains(s.failures, code) {
		return
	}
	s.failures = append(s.failures, code)
	logger.Warnw("livekit-otel: analytics are not accepted, trying again", err,
		"stream", s.name, "code", code.String())
}

func (s *analyticsSender) recovered() {
	if len(s.failures) > 0 {
		s.failures = nil
		logger.Infow("livekit-otel: analytics are accepted again", "stream", s.name)
	}
}

func (s *analyticsSender) sleep(ctx context.Context, pause time.Duration) {
	// Sleeps between half of the pause and all of it.
	pause = pause/2 + rand.N(pause/2+1)
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// Returns errNoAnswer if the watchdog cancelled the stream, otherwise the error itself.
func why(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return errNoAnswer
	}
	return err
}

var alwaysReady = func() chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}()

// An answer before the end of the stream does not say what was read, so it acknowledges nothing.
func tooEarly(answer error) error {
	if answer == nil {
		return status.Error(codes.Unavailable, "the receiver ended the stream")
	}
	return answer
}

// Whether the receiver refuses one of the stream's messages.
func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange:
		return true
	case codes.ResourceExhausted:
		return strings.Contains(status.Convert(err).Message(), "larger than max")
	}
	return false
}

// Whether an operator has to fix the failure's cause.
func isHopeless(err error) bool {
	code := status.Code(err)
	return code == codes.Unauthenticated || code == codes.PermissionDenied || code == codes.Unimplemented
}

// The codec of messages that are encoded already, and of an answer that is empty.
type encodedMessage struct{}

func (encodedMessage) Marshal(message any) ([]byte, error) {
	encoded, ok := message.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not an encoded message", message)
	}
	return encoded, nil
}

func (encodedMessage) Unmarshal([]byte, any) error { return nil }

func (encodedMessage) Name() string { return "proto" }
