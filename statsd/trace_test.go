package statsd_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/wire"
)

func ping(t *testing.T, tap *trace.Tap) {
	t.Helper()
	f, _, err := wire.Scan(wire.AppendPing(nil, wire.PINGREQ), 0)
	if err != nil {
		t.Fatal(err)
	}
	tap.Received(f)
}

func TestTraceRefusals(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	for target, part := range map[string]string{
		"/v1/trace":                           "neither a client nor a topic",
		"/v1/trace?client=":                   "client id to trace is empty",
		"/v1/trace?topic=a/%23/b":             "topic filter",
		"/v1/trace?address=x":                 "neither an IP address nor a prefix",
		"/v1/trace?client=a&type=PUBLISHED":   "is no packet type",
		"/v1/trace?client=a&payload=many":     "not a number of bytes",
		"/v1/trace?client=a&payload=-1":       "not between 0 and",
		"/v1/trace?client=a&payload=99999999": "not between 0 and",
	} {
		if status, _, body := r.ask(t, "GET", target, nil); status != 400 || !strings.Contains(body, part) || !strings.Contains(body, `"hint"`) {
			t.Errorf("%s: %d %s, want %q", target, status, body, part)
		}
	}
}

// TestTraceStream reads a trace to which packets come, asks for more of them than
// there may be, and sees that each ends with its reader.
func TestTraceStream(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	q := trace.Query{Clients: []string{"a b&c", "d"}, Topics: []string{"x/#"}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Types: []wire.Type{wire.PUBACK, wire.PINGRESP}, Payload: 12}
	client := statsd.Dial(r.path)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ready, over := make(chan struct{}), make(chan error, 1)
	entries := make(chan trace.Entry, 16)
	go func() {
		over <- client.Trace(ctx, q, func() { close(ready) }, func(e trace.Entry) error { entries <- e; return nil })
	}()
	<-ready
	first := <-r.backend.traces
	if e := <-entries; e.What != trace.Began || e.Note != q.String() {
		t.Fatalf("first comes %+v: the query has not arrived as it was", e)
	}

	second, err := http.NewRequestWithContext(t.Context(), "GET", "http://edgebroker/v1/trace?client=second", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), second)
	if err != nil || answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/jsonl" {
		t.Fatalf("%v, %v", answer, err)
	}
	<-r.backend.traces
	err = client.Trace(t.Context(), q, nil, func(trace.Entry) error { return nil })
	if refused := (*statsd.APIError)(nil); !errors.As(err, &refused) || refused.Status != 503 || refused.Hint == "" {
		t.Fatalf("a third trace: %v", err)
	}
	_ = conn.Close()
	waitFor(t, "the end of the second trace", func() bool { return r.backend.tracer.Running() == 1 })

	tap := first.Join(trace.Party{Client: "d", Address: netip.MustParseAddr("10.1.2.3"), Version: wire.V5, Remote: "10.1.2.3:4"})
	if tap == nil {
		t.Fatal("the client is not followed")
	}
	f, _, err := wire.Scan(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("x/y")}, 1), 0)
	if err != nil {
		t.Fatal(err)
	}
	tap.Received(f) // is not of the types
	tap.Sent(wire.AppendAck(nil, wire.PUBACK, wire.V5, 1, 0), nil, 0)
	for _, want := range []string{trace.Connection, trace.PacketSeen} {
		select {
		case e := <-entries:
			if e.What != want || e.Packet != nil && (e.Packet.Type != "PUBACK" || e.Packet.Answers.Type != "PUBLISH") {
				t.Errorf("got %+v, want %s", e, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("waited in vain for %s", want)
		}
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("end: %v", err)
	}
	waitFor(t, "the end of the first trace", func() bool { return r.backend.tracer.Running() == 0 })
}

// TestTraceReaderThatStalls reads nothing while more is traced than any buffer
// holds: whoever is traced goes on, and the reader is told how much it missed.
func TestTraceReaderThatStalls(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/trace?client=c HTTP/1.1\r\nHost: edgebroker\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	tr := <-r.backend.traces
	tap := tr.Join(trace.Party{Client: "c", Version: wire.V5})
	const n = 50_000
	for range n {
		ping(t, tap)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil) // a line may be in two chunks
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<20)
	shown := 0
	for in.Scan() {
		switch line := in.Text(); {
		case strings.Contains(line, `"what":"packet"`):
			shown++
		case strings.Contains(line, `"what":"missed"`):
			if shown == 0 || shown >= n {
				t.Errorf("%d shown before %s", shown, line)
			}
			return
		}
	}
	t.Fatalf("%d of %d packets shown, and no word of a loss: %v", shown, n, in.Err())
}
