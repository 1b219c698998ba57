package appliance_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// otlpCollector takes reports over TLS from those who show a certificate of its
// authority and a header.
type otlpCollector struct {
	header string
	secure *tls.Config

	mu     sync.Mutex // guards what follows
	n      int
	last   *metricspb.ResourceMetrics
	starts map[uint64]bool // of all counters
	bad    []string
}

func (c *otlpCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refuse := func(status int, why string) {
		c.bad = append(c.bad, why)
		w.WriteHeader(status)
	}
	if r.URL.Path != "/v1/metrics" || r.Header.Get("Authorization") != c.header || len(r.TLS.PeerCertificates) == 0 {
		refuse(http.StatusUnauthorized, "request of a stranger to "+r.URL.Path)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	body, err := io.ReadAll(z)
	var data metricspb.MetricsData
	if err = errors.Join(err, proto.Unmarshal(body, &data)); err != nil || len(data.ResourceMetrics) != 1 {
		refuse(http.StatusBadRequest, "unreadable report")
		return
	}
	c.n++
	c.last = data.ResourceMetrics[0]
	for _, m := range c.last.ScopeMetrics[0].Metrics {
		for _, p := range m.GetSum().GetDataPoints() {
			c.starts[p.StartTimeUnixNano] = true
		}
	}
}

// serve serves at address until stop is called.
func (c *otlpCollector) serve(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: c, TLSConfig: c.secure, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan error)
	go func() { done <- s.ServeTLS(l, "", "") }()
	return l.Addr().String(), sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil { // an answer that has begun is given
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func (c *otlpCollector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// sum is what the last report says of a counter, all its series together.
func (c *otlpCollector) sum(name string) (sum float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.last.GetScopeMetrics()[0].GetMetrics() {
		for _, p := range m.GetSum().GetDataPoints() {
			if m.Name == name {
				sum += p.GetAsDouble()
			}
		}
	}
	return sum
}

// A collector behind TLS with an authority of its own, that asks for a certificate
// and a header, may be away, and come back: by the time the broker has stopped it
// has been told exactly what the broker has counted. Nothing secret is logged.
func TestOTLP(t *testing.T) {
	const secret = "Bearer tr0ub4dor"
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority, err := certs.CreateAuthority(at("ca"), "plant")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.IssueClient(certs.Request{Name: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(server.Write(at("s.crt"), at("s.key"), true), client.Write(at("c.crt"), at("c.key"), true), os.WriteFile(at("token"), []byte(secret+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(at("s.crt"), at("s.key"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(authority.CertificateFile())
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(pem)
	c := &otlpCollector{header: secret, starts: make(map[uint64]bool),
		secure: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert}}
	address, away := c.serve(t, "127.0.0.1:0")
	defer func() { away() }()

	cfg := config(t)
	cfg.Sys.Node = "line1"
	cfg.OTLP = appliance.OTLPConfig{Endpoint: "https://" + address, Interval: time.Second, Compression: appliance.CompressionGzip,
		CA: authority.CertificateFile(), Certificate: at("c.crt"), PrivateKey: at("c.key"),
		Headers:    map[string]appliance.SecretRef{"authorization": appliance.SecretRef("file:" + at("token"))},
		Attributes: map[string]string{"service.namespace": "plant", "host.name": "gw"}}
	var log brokertest.Log
	b := start(t, cfg, appliance.WithVersion("1.2.3"), appliance.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	brokertest.WaitFor(t, "a report", func() bool { return c.count() > 0 })
	m := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
	m.Subscribe(1, "t")
	m.Publish("t", "12345", 1, false)
	away()
	m.Publish("t", "12345", 1, false)
	brokertest.WaitFor(t, "a report that fails", func() bool { return b.Stats().OTLP.Failed > 0 })
	_, away = c.serve(t, address)
	before := c.count()
	brokertest.WaitFor(t, "reports to the collector that has come back", func() bool { return c.count() > before })
	m.Publish("t", "1", 0, false)
	m.Disconnect()
	brokertest.WaitFor(t, "the client to be gone", func() bool { return b.Stats().ClientCount == 0 })
	stop(t, b)

	s := b.Stats()
	for name, want := range map[string]uint64{
		"edgebroker_publish_received": s.Received.Messages, "edgebroker_publish_received_bytes": s.Received.PayloadBytes,
		"edgebroker_received_bytes": s.Received.Bytes, "edgebroker_sent_packets": s.Sent.Packets, "edgebroker_sockets_opened": s.Connections.Opened,
		"edgebroker_otlp_reports": s.OTLP.Reports - 1, "edgebroker_otlp_failed_reports": s.OTLP.Failed, // the last does not know of itself
	} {
		if got := c.sum(name); want == 0 || got != float64(want) {
			t.Errorf("%s is %v, want %d", name, got, want)
		}
	}
	taken := uint64(c.count()) // one of them may have failed all the same, if its answer did not arrive
	if taken < s.OTLP.Reports || taken > s.OTLP.Reports+s.OTLP.Failed || s.OTLP.Failed == 0 || s.Received.Messages != 3 || len(c.starts) != 1 || len(c.bad) > 0 {
		t.Errorf("%d reports, %+v, %d start times, %q", taken, s.OTLP, len(c.starts), c.bad)
	}
	told := make(map[string]string)
	for _, a := range c.last.Resource.Attributes {
		told[a.Key] = a.Value.GetStringValue()
	}
	for key, want := range map[string]string{"service.name": "edgebroker", "service.version": "1.2.3", "service.instance.id": "line1", "service.namespace": "plant", "host.name": "gw"} {
		if told[key] != want {
			t.Errorf("%s is %q, want %q", key, told[key], want)
		}
	}
	if text := log.String(); strings.Contains(text, "tr0ub4dor") || strings.Count(text, "takes no reports") != 1 || !strings.Contains(text, "takes reports again") {
		t.Errorf("the log:\n%s", text)
	}
}

// A collector that takes connections and says nothing holds up neither clients nor
// the end; nor does one whose certificates and secrets are missing.
func TestOTLPToNobody(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, change := range map[string]func(*appliance.OTLPConfig){
		"silence":      func(c *appliance.OTLPConfig) { c.Endpoint = "http://" + silent.Addr().String() },
		"no authority": func(c *appliance.OTLPConfig) { c.Endpoint, c.CA = "https://127.0.0.1:1", "/nonexistent/ca.pem" },
		"no secret": func(c *appliance.OTLPConfig) {
			c.Headers = map[string]appliance.SecretRef{"X-Key": "env:EDGEBROKER_NONE"}
		},
		"nobody at all":  func(*appliance.OTLPConfig) {},
		"no credentials": func(c *appliance.OTLPConfig) { c.Endpoint, c.CA = "https://127.0.0.1:1", "credential:ca" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.OTLP.Endpoint = "http://127.0.0.1:1"
			change(&cfg.OTLP)
			b := start(t, cfg)
			c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
			c.Publish("t", "1", 1, false)
			ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
			defer cancel()
			if err := b.Stop(ctx); err != nil {
				t.Error(err)
			}
			if st := b.Stats().OTLP; st.Reports != 0 || st.Failed == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
