package statsd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// message returns a message event whose ID is its number.
func message(i int, topic, payload string) events.Event {
	return events.Event{ID: fmt.Sprint(i), Type: events.Message, Source: "dev1", Data: events.MessageData{ClientID: "dev1", Topic: topic, Payload: []byte(payload)}}
}

// tail collects an event stream in the background. Receive from got, and from
// end once the stream is over.
func (r *running) tail(ctx context.Context, t *testing.T, f events.Filter) (got chan events.Event, end chan error) {
	t.Helper()
	got, end = make(chan events.Event, 10000), make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		end <- r.control.Events(ctx, f, func() { close(ready) }, func(e events.Event) error {
			got <- e
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-end:
		t.Fatalf("the stream did not begin: %v", err)
	}
	return got, end
}

// next returns the next event, which must come without a heartbeat's help.
func next(t *testing.T, from chan events.Event) events.Event {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event in a minute")
		return events.Event{}
	}
}

func TestEventStream(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, time.Hour) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all, allEnd := r.tail(ctx, t, events.Filter{})
	some, someEnd := r.tail(t.Context(), t, events.Filter{Types: []events.Type{events.Message, events.Drop}, Client: "dev1", Topic: "a/#"})

	r.backend.bus.Publish(events.Event{ID: "c", Type: events.Connection, Source: "dev1", Data: events.ConnectionData{ClientID: "dev1", KeepAlive: 60}})
	for i := range 500 {
		r.backend.bus.Publish(message(i, fmt.Sprintf("%c/x", 'a'+rune(i%2)), "21.5"))
	}
	if e := next(t, all); e.ID != "c" || e.Data != (events.ConnectionData{ClientID: "dev1", KeepAlive: 60}) {
		t.Errorf("first event %+v", e)
	}
	for i := range 500 {
		if e := next(t, all); e.ID != fmt.Sprint(i) || string(e.Data.(events.MessageData).Payload) != "21.5" {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	for i := 0; i < 500; i += 2 {
		if e := next(t, some); e.ID != fmt.Sprint(i) {
			t.Fatalf("filtered event %d is %+v", i, e)
		}
	}

	cancel()
	if err := <-allEnd; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled stream ended with %v", err)
	}
	waitFor(t, "the server ends the stream whose client left", func() bool { return r.backend.listeners() == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-someEnd; err != nil {
		t.Errorf("stream that the server closed ended with %v, want a clean end", err)
	}
	if len(all)+len(some) != 0 {
		t.Errorf("%d surplus events", len(all)+len(some))
	}
}

func TestEventStreamChecksTheTopic(t *testing.T) {
	bad := errors.New(`"#" must be last`)
	r := start(t, newFakeBackend(), statsd.Options{CheckFilter: func(f string) error {
		if f == "#/a" {
			return bad
		}
		return nil
	}}, nil)
	err := r.control.Events(t.Context(), events.Filter{Topic: "#/a"}, nil, func(events.Event) error { return nil })
	e, ok := errors.AsType[*statsd.APIError](err)
	if !ok || e.Status != 400 || e.Message != "topic is not a valid topic filter: "+bad.Error() || e.Hint == "" {
		t.Errorf("error %#v", err)
	}
	if n := r.backend.listeners(); n != 0 {
		t.Errorf("%d listeners after a refusal", n)
	}
}

// The function's own error ends the stream and comes back as it is.
func TestEventStreamEndsWithTheCallersError(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	enough := errors.New("enough")
	err := r.control.Events(t.Context(), events.Filter{}, func() { r.backend.bus.Publish(message(0, "a", "")) }, func(events.Event) error { return enough })
	if err != enough {
		t.Errorf("error %v", err)
	}
	waitFor(t, "the subscription is gone", func() bool { return r.backend.listeners() == 0 })
}

// dialStream opens a stream by hand, to read it slowly or not at all.
func dialStream(t *testing.T, path, target string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: edgebroker\r\n\r\n", target)
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return conn, in
		}
	}
}

// A reader that pauses loses events; the stream itself says how many.
func TestEventStreamTellsWhatWasMissed(t *testing.T) {
	const total = 4000
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, 20*time.Millisecond) })
	pause := make(chan struct{})
	seen, missed := 0, 0
	ready, end := make(chan struct{}), make(chan error, 1)
	done := errors.New("done")
	go func() {
		end <- r.control.Events(t.Context(), events.Filter{}, func() { close(ready) }, func(e events.Event) error {
			<-pause
			if d, ok := e.Data.(events.SystemData); ok && d.What == events.SystemEventsMissed {
				var n int
				if _, err := fmt.Sscanf(d.Detail, "%d events were lost", &n); err != nil {
					return fmt.Errorf("detail %q: %w", d.Detail, err)
				}
				missed += n
			} else {
				seen++
			}
			if seen+missed == total {
				return done
			}
			return nil
		})
	}()
	<-ready
	payload := strings.Repeat("x", 1000)
	for i := range total {
		r.backend.bus.Publish(message(i, "a", payload))
	}
	if r.backend.bus.Dropped() == 0 {
		t.Fatal("nothing was dropped: the test does not test")
	}
	dropped := int(r.backend.bus.Dropped())
	close(pause)
	if err := <-end; err != done {
		t.Fatal(err)
	}
	if missed != dropped || seen != total-dropped {
		t.Errorf("saw %d and was told of %d missed, want %d and %d", seen, missed, total-dropped, dropped)
	}
}

// A reader that reads nothing is cut off.
func TestEventStreamCutsOffAStalledReader(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(30*time.Millisecond, time.Second) })
	dialStream(t, r.path, "/v1/events")
	waitFor(t, "the stream begins", func() bool { return r.backend.listeners() == 1 })
	payload := strings.Repeat("x", 10000)
	waitFor(t, "the stream ends", func() bool {
		for i := range 100 {
			r.backend.bus.Publish(message(i, "a", payload))
		}
		return r.backend.listeners() == 0
	})
}

// tight is a write timeout that tests wait out, yet long enough for a busy
// machine to write in.
const tight = 150 * time.Millisecond

// A stream that is busy outlives the write timeout.
func TestBusyStream(t *testing.T) {
	const write = tight
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(write, time.Hour) })
	got, _ := r.tail(t.Context(), t, events.Filter{})
	for i := range 3 {
		r.backend.bus.Publish(message(i, "a", ""))
		if e := next(t, got); e.ID != fmt.Sprint(i) {
			t.Fatalf("event %+v", e)
		}
		pass(2 * write)
	}
}

// pass lets the real time go by that a deadline of the kernel's needs to pass:
// there is nothing to wait for, since nothing may happen.
func pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// A client that does not take its answer is cut off.
func TestAnswerToAStalledReader(t *testing.T) {
	var clients []statsd.Client
	for i := range 5000 {
		clients = append(clients, statsd.Client{ID: fmt.Sprint(i)})
	}
	r := start(t, newFakeBackend(clients...), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(3*time.Second, time.Hour) })
	dialStream(t, r.path, "/v1/clients") // reads one buffer of more than a megabyte
	if !strings.Contains(stacks(), "statsd.WriteJSON") {
		t.Fatal("the answer is not stuck: the test does not test")
	}
	waitFor(t, "the answer is given up", func() bool { return !strings.Contains(stacks(), "statsd.WriteJSON") })
}

// Idle streams get blank lines, outlive the write timeout between them, and
// still end with the chunk that marks a clean end.
func TestIdleStream(t *testing.T) {
	for _, target := range []string{"/v1/events", "/v1/stats/stream?interval=1h"} {
		t.Run(target, func(t *testing.T) {
			const write = tight
			r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(write, 2*write) })
			_, in := dialStream(t, r.path, target)
			for range 3 {
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					if line == "1\r\n" { // a chunk of one byte
						break
					}
				}
				if line, err := in.ReadString('\n'); line != "\n" || err != nil {
					t.Fatalf("heartbeat %q, %v", line, err)
				}
			}
			pass(2 * write) // the deadline of the heartbeat passes
			stopped := make(chan error, 1)
			go func() { stopped <- r.stop() }()
			rest, err := io.ReadAll(in)
			if err != nil || !strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
				t.Errorf("stream ended with %q, %v", rest, err)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// The write deadline of one request must not hit the next on the connection.
func TestConnectionOutlivesTheWriteTimeout(t *testing.T) {
	const write = tight
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(write, time.Second) })
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, target := range []string{"/v1/stats", "/nowhere", "/v1/version"} {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: edgebroker\r\n\r\n", target)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		pass(2 * write) // the deadline of this request passes
	}
}

func TestStatsStream(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	n, enough := 0, errors.New("enough")
	begun := time.Now()
	err := r.control.StatsStream(t.Context(), 100*time.Millisecond, func(s statsd.Snapshot) error {
		if s.MessageCount != exampleSnapshot().MessageCount {
			t.Errorf("snapshot %+v", s)
		}
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if err != enough {
		t.Error(err)
	}
	if d := time.Since(begun); d < 150*time.Millisecond {
		t.Errorf("three snapshots in %v, want them 100 ms apart", d)
	}
	end := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		end <- r.control.StatsStream(t.Context(), time.Hour, func(statsd.Snapshot) error { close(first); return nil })
	}()
	<-first
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-end; err != nil {
		t.Errorf("stream ended with %v, want a clean end", err)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range statsd.MaxStreams {
		r.tail(ctx, t, events.Filter{})
	}
	err := r.control.Events(t.Context(), events.Filter{}, nil, func(events.Event) error { return nil })
	if e, ok := errors.AsType[*statsd.APIError](err); !ok || e.Status != 503 || e.Hint == "" {
		t.Errorf("one too many: %v", err)
	}
	if _, err := r.control.Stats(t.Context()); err != nil {
		t.Errorf("plain requests suffer: %v", err)
	}
	cancel()
	waitFor(t, "the streams end", func() bool { return r.backend.listeners() == 0 })
	waitFor(t, "a new stream may begin", func() bool {
		enough := errors.New("enough")
		return r.control.StatsStream(t.Context(), time.Second, func(statsd.Snapshot) error { return enough }) == enough
	})
}

// After Close nothing of a busy server is left running.
func TestNoGoroutineIsLeft(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	var ends []chan error
	for range 5 {
		_, end := r.tail(t.Context(), t, events.Filter{})
		ends = append(ends, end)
	}
	idle, err := net.Dial("unix", r.path) // connected, says nothing
	if err != nil {
		t.Fatal(err)
	}
	stalled, _ := dialStream(t, r.path, "/v1/stats/stream?interval=100ms")
	if !strings.Contains(stacks(), "streamEvents") {
		t.Fatal("no stream shows in the stacks: the test does not test")
	}
	idle.Close()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
	stalled.Close()
	waitFor(t, "goroutines end", func() bool {
		s := stacks()
		return !strings.Contains(s, "statsd.(*Server)") && !strings.Contains(s, "events.(*Sub)") && !strings.Contains(s, "http.(*conn).serve")
	})
}

func stacks() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
