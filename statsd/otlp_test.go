package statsd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"pgregory.net/rapid"
)

func newExporter(t tb, s *otlpServer, o statsd.OTLPOptions, read func() statsd.Snapshot) *statsd.Exporter {
	t.Helper()
	if o.Endpoint == "" {
		o.Endpoint = "https://collector.test"
	}
	if o.Interval == 0 {
		o.Interval = time.Minute
	}
	if o.Transport == nil {
		o.Transport = s.transport
	}
	e, err := statsd.NewExporter(o, read)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return e
}

// A collector that makes Prometheus metrics of a report has, to the last sample,
// what Prometheus itself has scraped: names, labels and values.
func TestOTLPIsWhatPrometheusScrapes(t *testing.T) {
	own, _ := scrape(t, start(t, newFakeBackend(), statsd.Options{}, nil))
	want := make(map[string]string)
	for _, line := range own {
		if !strings.HasPrefix(line, "#") {
			i := strings.LastIndexByte(line, ' ')
			want[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	s := &otlpServer{}
	e := newExporter(t, s, statsd.OTLPOptions{Gzip: true, Resource: map[string]string{"service.name": "edgebroker", "site": "\xff"}}, exampleSnapshot)
	e.Export(t.Context())
	_, got := s.state(t)
	if len(got) != 1 || e.Stats() != (statsd.OTLPStats{Reports: 1}) {
		t.Fatalf("%d reports, %+v", len(got), e.Stats())
	}
	for name, p := range got[0].series {
		name = strings.ReplaceAll(name, runtime.Version(), "GOVERSION")
		if text := number(p.value); want[name] != text {
			t.Errorf("%s is %s by OTLP, %q by Prometheus", name, text, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not told by OTLP", name)
	}
	if r := got[0].resource; len(r) != 2 || r["service.name"] != "edgebroker" || r["site"] != "\uFFFD" {
		t.Errorf("resource %q", r)
	}
	if h := s.headers[0]; h.Get("Content-Encoding") != "gzip" || h.Get("User-Agent") != "edgebroker" {
		t.Errorf("headers %v", h)
	}
}

// Whoever makes Prometheus names of ours adds the unit, unless it is a word of the
// name already, and _total: the names stay what they are.
func TestOTLPUnits(t *testing.T) {
	body, err := statsd.OTLPReporter(nil)(exampleSnapshot(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := readOTLP(body)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{"s": "seconds", "By": "bytes", "": ""}
	for name, unit := range c.units {
		word, known := words[unit]
		parts := strings.Split(name, "_")
		if !known || word != "" && !slices.Contains(parts, word) || slices.Contains(parts, "total") {
			t.Errorf("%s in %q gets another name in Prometheus", name, unit)
		}
		for u, word := range words {
			if word != "" && slices.Contains(parts, word) && unit != u {
				t.Errorf("%s says its unit, but not to OpenTelemetry", name)
			}
		}
	}
}

// What comes from elsewhere cannot keep a report from being encoded.
func TestOTLPAwkward(t *testing.T) {
	s := (&awkward{fakeBackend: newFakeBackend()}).Snapshot()
	s.Uptime = math.NaN()
	s.Sinks = []statsd.EventSink{{Name: "\xff\x00"}}
	s.Storage.SyncTimes = nil
	body, err := statsd.OTLPReporter(map[string]string{"\xff": "\xff"})(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := readOTLP(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := c.series["edgebroker_uptime_seconds"]; there || c.series[`edgebroker_messages_dropped_total{reason="other"}`].value != 20 {
		t.Errorf("%v", c.series)
	}
}

// Whoever adds up what counters of reports say gets what has been counted, though
// uplinks begin anew; and no report speaks of a time that an earlier one has
// spoken of by another start, though reports get lost.
func TestOTLPAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encode := statsd.OTLPReporter(nil)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s := statsd.Snapshot{StartedAt: now.Add(-time.Hour), Bridges: []statsd.Bridge{{Name: "cloud"}}}
		const bridge, total = `edgebroker_bridge_acked_total{bridge="cloud"}`, `edgebroker_publish_received_total{qos="1"}`
		last, sum, lossy, truth := make(map[string]otlpPoint), make(map[string]float64), false, 0.0
		for range rapid.IntRange(1, 20).Draw(t, "reports") {
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "later")))
			s.Received.QoS1 += rapid.Uint64Range(0, 5).Draw(t, "received")
			before := s.Bridges[0].Acked
			if before > 0 && rapid.Bool().Draw(t, "anew") {
				s.Bridges[0].Acked = rapid.Uint64Range(0, before-1).Draw(t, "acked anew")
				truth += float64(s.Bridges[0].Acked)
			} else {
				s.Bridges[0].Acked += rapid.Uint64Range(0, 5).Draw(t, "acked")
				truth += float64(s.Bridges[0].Acked - before)
			}
			body, err := encode(s, now)
			if err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 4).Draw(t, "lost") == 0 {
				lossy = true
				continue
			}
			lossy = false
			c, err := readOTLP(body)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{bridge, total} {
				p, ok := c.series[name]
				was, seen := last[name]
				switch {
				case !ok || !p.time.Equal(now):
					t.Fatalf("%s is missing, or of another time: %+v", name, p)
				case !seen:
				case p.start.Equal(was.start):
					if p.value < was.value {
						t.Fatalf("%s falls from %v to %v without a new start", name, was.value, p.value)
					}
				case p.start.Before(was.time):
					t.Fatalf("%s starts at %v, within what ended at %v", name, p.start, was.time)
				}
				if sum[name] += p.value; seen && p.start.Equal(was.start) {
					sum[name] -= was.value
				}
				last[name] = p
			}
			if c.series[total].start != s.StartedAt.Local() {
				t.Fatalf("%s starts at %v", total, c.series[total].start)
			}
		}
		if sum[total] != float64(s.Received.QoS1) && !lossy {
			t.Fatalf("%s adds up to %v, want %d", total, sum[total], s.Received.QoS1)
		}
		if sum[bridge] > truth { // lost reports can hide what was counted before a new start
			t.Fatalf("%s adds up to %v, %v have been", bridge, sum[bridge], truth)
		}
	})
}

// The start stays what it was, whatever the clock is set to, unless that would put
// it into the future.
func TestOTLPClock(t *testing.T) {
	encode := statsd.OTLPReporter(nil)
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, tt := range []struct{ now, startedAt, want time.Time }{
		{began.Add(time.Hour), began, began},
		{began.Add(2 * time.Hour), began.Add(time.Millisecond), began},                                   // the clock drifts
		{began.AddDate(10, 0, 0), began.AddDate(10, 0, 0).Add(-3 * time.Hour), began},                    // set forward
		{began.Add(-time.Hour), began.Add(-5 * time.Hour), began.Add(-5 * time.Hour)},                    // set back behind the start
		{began.Add(-30 * time.Minute), began.Add(-5*time.Hour + time.Second), began.Add(-5 * time.Hour)}, // goes on
		{time.Unix(1, 0), time.Unix(100, 0), time.Unix(1, 0)},                                            // before everything
	} {
		body, err := encode(statsd.Snapshot{StartedAt: tt.startedAt, Bridges: []statsd.Bridge{{Name: "b", Acked: uint64(10 - i)}}}, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := readOTLP(body)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := c.series["edgebroker_sent_packets_total"]; !got.start.Equal(tt.want) || !got.time.Equal(tt.now) {
			t.Errorf("step %d: from %v to %v, want from %v", i, got.start, got.time, tt.want)
		}
	}
}

// runExporter runs e in a bubble and returns what ends it.
func runExporter(t *testing.T, e *statsd.Exporter) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// sinceStart are times of requests.
func sinceStart(began time.Time, at []time.Time) []time.Duration {
	var out []time.Duration
	for _, a := range at {
		out = append(out, a.Sub(began))
	}
	return out
}

func TestOTLPRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &otlpServer{answer: func(int, http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }} // it takes its time
		var received atomic.Uint64
		e := newExporter(t, s, statsd.OTLPOptions{}, func() statsd.Snapshot {
			return statsd.Snapshot{StartedAt: began.Add(-time.Second), Received: statsd.Traffic{QoS2: received.Load()}}
		})
		stop := runExporter(t, e)
		for i := range 4 {
			synctest.Wait()
			at, got := s.state(t)
			if len(at) != i+1 || len(got) != i || at[i].Sub(began) != time.Duration(i)*time.Minute {
				t.Fatalf("%d requests, %d taken, %v", len(at), len(got), sinceStart(began, at))
			}
			received.Add(1)
			time.Sleep(time.Minute)
		}
		time.Sleep(10 * time.Second)
		received.Add(3)
		stopped := time.Now()
		stop()
		_, got := s.state(t)
		if took := time.Since(stopped); took != time.Second {
			t.Errorf("the last report took %v", took)
		}
		if n := got[len(got)-1].series[`edgebroker_publish_received_total{qos="2"}`].value; n != 7 || len(got) != 6 || e.Stats().Reports != 6 {
			t.Errorf("%v in the last of %d reports", n, len(got))
		}
	})
}

// A collector that does not answer is left after its time, is never asked twice at
// once, and keeps nobody from stopping.
func TestOTLPHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &otlpServer{answer: func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		e := newExporter(t, s, statsd.OTLPOptions{Interval: time.Second}, exampleSnapshot)
		stop := runExporter(t, e)
		time.Sleep(5 * time.Second)
		if e.Stats() != (statsd.OTLPStats{}) {
			t.Errorf("%+v before its time", e.Stats())
		}
		time.Sleep(6 * time.Second)
		if e.Stats() != (statsd.OTLPStats{Failed: 1}) {
			t.Errorf("%+v after its time", e.Stats())
		}
		stopped := time.Now()
		stop()
		if took := time.Since(stopped); took != statsd.OTLPFarewell {
			t.Errorf("stopping took %v", took)
		}
		if at, got := s.state(t); len(at) != 3 || len(got) != 0 {
			t.Errorf("requests after %v, %d taken", sinceStart(began, at), len(got))
		}
	})
}

// What can pass is tried again soon and ever less often, or when the collector
// wants it; what cannot, at the next interval.
func TestOTLPRetries(t *testing.T) {
	status := func(code int, header ...string) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n <= 5 {
				if len(header) > 0 {
					w.Header().Set("Retry-After", header[0])
				}
				w.Header().Set("Location", "https://elsewhere.test/v1/metrics")
				w.WriteHeader(code)
			}
		}
	}
	const s, m = time.Second, time.Minute
	for _, tt := range []struct {
		name   string
		answer func(int, http.ResponseWriter, *http.Request)
		dial   error
		most   []time.Duration // of the waits after the first five requests; half of it is the least
		exact  bool
	}{
		{name: "nobody", dial: errors.New("connection refused"), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "429", answer: status(429), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "502", answer: status(502), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "503", answer: status(503), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "504", answer: status(504), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "503 with Retry-After", answer: status(503, "90"), most: []time.Duration{90 * s, 90 * s, 90 * s, 90 * s, 90 * s}, exact: true},
		{name: "429 with a date that has passed", answer: status(429, "Sat, 01 Jan 2000 00:00:00 GMT"), most: []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s}},
		{name: "400 with Retry-After", answer: status(400, "1"), most: []time.Duration{m, m, m, m, m}, exact: true},
		{name: "401", answer: status(401), most: []time.Duration{m, m, m, m, m}, exact: true},
		{name: "500", answer: status(500), most: []time.Duration{m, m, m, m, m}, exact: true},
		{name: "307", answer: status(307), most: []time.Duration{m, m, m, m, m}, exact: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				server := &otlpServer{answer: tt.answer, dial: func(n int) error {
					if n <= 5 {
						return tt.dial
					}
					return nil
				}}
				var log brokertest.Log
				e := newExporter(t, server, statsd.OTLPOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, exampleSnapshot)
				stop := runExporter(t, e)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				at, got := server.state(t)
				for i, most := range tt.most {
					wait := at[i+1].Sub(at[i])
					if wait > most || wait < most/2 || tt.exact && wait != most {
						t.Errorf("wait %d is %v, want at most %v: %v", i+1, wait, most, sinceStart(began, at))
					}
				}
				if at[6].Sub(at[5]) != time.Minute || len(got) != len(at)-5 {
					t.Errorf("afterwards %v, of which %d were taken", sinceStart(began, at[5:]), len(got))
				}
				if st := e.Stats(); st.Failed != 5 || st.Reports != uint64(len(got)) {
					t.Errorf("%+v", st)
				}
				stop()
				if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "again") {
					t.Errorf("the log:\n%s", text)
				}
				if want := 1 + map[bool]int{true: 5}[tt.dial != nil]; server.made != want {
					t.Errorf("%d transports made, want %d", server.made, want)
				}
			})
		})
	}
}

// While the outage lasts, the waits are no longer than the interval.
func TestOTLPOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &otlpServer{dial: func(int) error { return errors.New("no route to host") }}
		e := newExporter(t, server, statsd.OTLPOptions{}, exampleSnapshot)
		stop := runExporter(t, e)
		time.Sleep(3 * 24 * time.Hour)
		at, _ := server.state(t)
		for i := range at[1:] {
			if wait := at[i+1].Sub(at[i]); wait > time.Minute || i > 10 && wait < 30*time.Second {
				t.Fatalf("wait %d is %v", i, wait)
			}
		}
		stop()
	})
}

// A collector that has asked to be left alone is not told of the end.
func TestOTLPStopsWhileHeldOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &otlpServer{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}}
		stop := runExporter(t, newExporter(t, server, statsd.OTLPOptions{}, exampleSnapshot))
		time.Sleep(30 * time.Minute)
		stop()
		if at, _ := server.state(t); len(at) != 1 {
			t.Errorf("%d requests", len(at))
		}
	})
}

// What is secret reaches the collector, and no log, whatever it answers.
func TestOTLPHeaders(t *testing.T) {
	const secret = "tr0ub4dor"
	var log brokertest.Log
	var broken error
	server := &otlpServer{}
	e := newExporter(t, server, statsd.OTLPOptions{
		Headers: func() (http.Header, error) {
			return http.Header{"authorization": {"Bearer " + secret}, "Content-Type": {"text/plain"}}, broken
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, exampleSnapshot)
	e.Export(t.Context())
	if len(server.headers) != 1 || server.headers[0].Get("Authorization") != "Bearer "+secret {
		t.Fatalf("%v", server.headers)
	}
	server.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { answerOTLP(w, 401, status("no user has "+secret)) }
	e.Export(t.Context())
	server.answer = nil
	e.Export(t.Context())
	server.answer = func(_ int, w http.ResponseWriter, _ *http.Request) {
		answerOTLP(w, 200, partial(3, "value of "+secret))
	}
	e.Export(t.Context())
	server.dial = func(int) error {
		return &url.Error{Op: "Post", URL: "x", Err: fmt.Errorf("malformed HTTP response %q", secret)}
	}
	e.Export(t.Context())
	server.dial = nil
	e.Export(t.Context())
	broken = errors.New("file is gone")
	e.Export(t.Context())
	if text := log.String(); strings.Contains(text, secret) || strings.Count(text, "not shown") != 2 || !strings.Contains(text, "file is gone") {
		t.Errorf("the log:\n%s", text)
	}
	if st := e.Stats(); st != (statsd.OTLPStats{Reports: 4, Failed: 3, Rejected: 6}) {
		t.Errorf("%+v", st)
	}
}

// A transport that cannot be made is tried again.
func TestOTLPTransport(t *testing.T) {
	server := &otlpServer{}
	broken := errors.New("no certificate")
	e := newExporter(t, server, statsd.OTLPOptions{Transport: func() (http.RoundTripper, error) {
		if broken != nil {
			return nil, broken
		}
		return server.transport()
	}}, exampleSnapshot)
	e.Export(t.Context())
	broken = nil
	e.Export(t.Context())
	if e.Stats() != (statsd.OTLPStats{Reports: 1, Failed: 1}) {
		t.Errorf("%+v", e.Stats())
	}
}

func TestParseOTLPEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://c:4318":                    "https://c:4318/v1/metrics",
		"https://c:4318/":                   "https://c:4318/v1/metrics",
		"http://[::1]:4318":                 "http://[::1]:4318/v1/metrics",
		"https://c/v1/metrics":              "https://c/v1/metrics",
		"https://c/otlp/v1/metrics/":        "https://c/otlp/v1/metrics/",
		"http://127.0.0.1:9090/api/v1/otlp": "http://127.0.0.1:9090/api/v1/otlp/v1/metrics",
		"https://c/av1/metrics":             "https://c/av1/metrics/v1/metrics",
		"https://c/a%2Fb":                   "https://c/a%2Fb/v1/metrics",
		"":                                  "", "c:4318": "", "grpc://c": "", "https://": "", "https://:4318": "", "https:c": "", "https://u:p@c": "", "https://u@c": "",
		"https://c?k=v": "", "https://c?": "", "https://c#x": "", "https://c\n": "", "https://c:port": "",
	} {
		u, err := statsd.ParseOTLPEndpoint(endpoint)
		if (err == nil) != (want != "") || err == nil && u.String() != want {
			t.Errorf("%q: %v, %v", endpoint, u, err)
		}
	}
}
