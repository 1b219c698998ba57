package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// matchPrefix stands in for MQTT matching: "a/#" matches all that starts "a/".
func matchPrefix(filter, topic string) bool {
	if prefix, ok := strings.CutSuffix(filter, "#"); ok {
		return strings.HasPrefix(topic, prefix)
	}
	return filter == topic
}

// numbered returns an event whose ID tells its place in a series.
func numbered(source string, i int) events.Event {
	return events.Event{ID: fmt.Sprint(i), Type: events.Message, Source: source, Data: events.MessageData{ClientID: source, Topic: "a/b"}}
}

// closeBus closes b, which must be able to drain.
func closeBus(t testing.TB, b *events.Bus) {
	t.Helper()
	if err := b.Close(t.Context()); err != nil {
		t.Fatalf("close bus: %v", err)
	}
}

func TestWants(t *testing.T) {
	type want struct {
		message, connection, drop, custom, other bool
	}
	for name, c := range map[string]struct {
		filters []events.Filter
		want    want
	}{
		"nobody listens":         {nil, want{}},
		"one type":               {[]events.Filter{{Types: []events.Type{events.Message}}}, want{message: true}},
		"two listeners":          {[]events.Filter{{Types: []events.Type{events.Message}}, {Types: []events.Type{events.Connection}}}, want{message: true, connection: true}},
		"no types means all":     {[]events.Filter{{}}, want{true, true, true, true, true}},
		"star means all":         {[]events.Filter{{Types: []events.Type{events.Drop, events.Any}}}, want{true, true, true, true, true}},
		"a custom type":          {[]events.Filter{{Types: []events.Type{"users.created"}}}, want{custom: true}},
		"a topic leaves two":     {[]events.Filter{{Topic: "a/#"}}, want{message: true, drop: true}},
		"a topic and its type":   {[]events.Filter{{Topic: "a/#", Types: []events.Type{events.Message}}}, want{message: true}},
		"a topic without a type": {[]events.Filter{{Topic: "a/#", Types: []events.Type{events.Connection}}}, want{}},
	} {
		t.Run(name, func(t *testing.T) {
			b := events.NewBus(nil, matchPrefix)
			defer closeBus(t, b)
			var subs []*events.Sub
			for _, f := range c.filters {
				subs = append(subs, b.Subscribe("test", f, 1, func(events.Event) {}))
			}
			asks := func() want {
				return want{b.Wants(events.Message), b.Wants(events.Connection), b.Wants(events.Drop),
					b.Wants("users.created"), b.Wants("users.deleted")}
			}
			if got := asks(); got != c.want {
				t.Errorf("wants %+v, want %+v", got, c.want)
			}
			for _, s := range subs {
				s.Close()
			}
			if got := asks(); got != (want{}) {
				t.Errorf("wants %+v after the last listener has gone", got)
			}
		})
	}
}

// topicOf panics for events without a topic: those must not get here.
func topicOf(e *events.Event) string {
	if d, ok := e.Data.(events.DropData); ok {
		return d.Topic
	}
	return e.Data.(events.MessageData).Topic
}

func TestFilter(t *testing.T) {
	all := []events.Event{
		{ID: "conn1", Type: events.Connection, Source: "dev1", Data: events.ConnectionData{ClientID: "dev1"}},
		{ID: "conn2", Type: events.Connection, Source: "dev2", Data: events.ConnectionData{ClientID: "dev2"}},
		{ID: "msg1", Type: events.Message, Source: "dev1", Data: events.MessageData{ClientID: "dev1", Topic: "a/b"}},
		{ID: "msg2", Type: events.Message, Source: "dev2", Data: events.MessageData{ClientID: "dev2", Topic: "c/d"}},
		{ID: "drop", Type: events.Drop, Source: "edgebroker", Data: events.DropData{ClientID: "dev1", Topic: "a/c"}},
		{ID: "refusal", Type: events.Refusal, Source: "dev1", Data: events.RefusalData{ClientID: "dev1", Topic: "a/x"}},
		{ID: "custom", Type: "users.created", Source: "dev1"},
		{ID: "other", Type: "users.deleted", Source: "dev2"},
	}
	for name, c := range map[string]struct {
		filter events.Filter
		want   string
	}{
		"everything":           {events.Filter{}, "conn1 conn2 msg1 msg2 drop refusal custom other"},
		"types":                {events.Filter{Types: []events.Type{events.Connection, "users.created"}}, "conn1 conn2 custom"},
		"client":               {events.Filter{Client: "dev1"}, "conn1 msg1 drop refusal custom"},
		"client and type":      {events.Filter{Client: "dev2", Types: []events.Type{events.Message}}, "msg2"},
		"topic":                {events.Filter{Topic: "a/#"}, "msg1 drop"},
		"keep":                 {events.Filter{Keep: func(e *events.Event) bool { return e.ID < "d" }}, "conn1 conn2 custom"},
		"keep comes last":      {events.Filter{Topic: "a/#", Keep: func(e *events.Event) bool { return topicOf(e) != "a/c" }}, "msg1"},
		"topic, client, types": {events.Filter{Topic: "a/#", Client: "dev1", Types: []events.Type{events.Drop}}, "drop"},
	} {
		t.Run(name, func(t *testing.T) {
			b := events.NewBus(nil, matchPrefix)
			var got []string
			b.Subscribe("test", c.filter, 100, func(e events.Event) { got = append(got, e.ID) })
			for _, e := range all {
				b.Publish(e)
			}
			closeBus(t, b)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

// Many publishers, many listeners: each listener sees every event once, and
// those of one publisher in order.
func TestOrder(t *testing.T) {
	const publishers, listeners, each = 4, 3, 2000
	b := events.NewBus(nil, matchPrefix)
	seen := make([]map[string]int, listeners)
	for l := range listeners {
		seen[l] = make(map[string]int)
		b.Subscribe("test", events.Filter{}, publishers*each, func(e events.Event) {
			if want := fmt.Sprint(seen[l][e.Source]); e.ID != want {
				t.Errorf("listener %d: event %s of %s, want %s", l, e.ID, e.Source, want)
			}
			seen[l][e.Source]++
		})
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				b.Publish(numbered(fmt.Sprint("dev", p), i))
			}
		})
	}
	wg.Wait()
	closeBus(t, b)
	for l := range listeners {
		for p := range publishers {
			if n := seen[l][fmt.Sprint("dev", p)]; n != each {
				t.Errorf("listener %d saw %d events of publisher %d, want %d", l, n, p, each)
			}
		}
	}
	if b.Dropped() != 0 || b.Published() != publishers*each {
		t.Errorf("dropped %d, published %d, want 0 and %d", b.Dropped(), b.Published(), publishers*each)
	}
}

// A stalled listener loses exactly what does not fit, keeps the oldest, and
// costs the others nothing.
func TestStalledHandler(t *testing.T) {
	const queue, total = 10, 500
	b := events.NewBus(nil, matchPrefix)
	entered, release := make(chan struct{}), make(chan struct{})
	var stalledGot, healthyGot []string
	first := true
	stalled := b.Subscribe("stalled", events.Filter{}, queue, func(e events.Event) {
		if first {
			first = false
			close(entered)
			<-release
		}
		stalledGot = append(stalledGot, e.ID)
	})
	healthy := b.Subscribe("healthy", events.Filter{}, total, func(e events.Event) { healthyGot = append(healthyGot, e.ID) })

	b.Publish(numbered("dev", 0))
	<-entered // the handler holds event 0; the queue is empty
	for i := 1; i < total; i++ {
		b.Publish(numbered("dev", i))
	}
	if got, want := stalled.Dropped(), uint64(total-1-queue); got != want {
		t.Errorf("stalled listener dropped %d, want %d", got, want)
	}
	if got := healthy.Dropped(); got != 0 {
		t.Errorf("healthy listener dropped %d", got)
	}
	if b.Dropped() != stalled.Dropped() {
		t.Errorf("bus counts %d drops, want %d", b.Dropped(), stalled.Dropped())
	}
	if s := b.Stats()[0]; s.Name != "stalled" || s.Queued != queue || s.Capacity != queue || s.Delivered != 1 || s.Dropped != total-1-queue {
		t.Errorf("stats %+v", s)
	}
	close(release)
	closeBus(t, b)
	if want := "[0 1 2 3 4 5 6 7 8 9 10]"; fmt.Sprint(stalledGot) != want {
		t.Errorf("stalled listener got %v, want the oldest: %s", stalledGot, want)
	}
	if len(healthyGot) != total {
		t.Errorf("healthy listener got %d events, want %d", len(healthyGot), total)
	}
}

// Large payloads fill a queue long before its places are taken. One that is
// larger than the queue still gets through.
func TestQueueIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		release := make(chan struct{})
		var got []int
		s := b.Subscribe("slow", events.Filter{}, 1000, func(e events.Event) {
			<-release
			got = append(got, len(e.Data.(events.MessageData).Payload))
		})
		publish := func(size, times int) {
			for range times {
				b.Publish(events.New(events.Message, "c", events.MessageData{Topic: "a", Payload: make([]byte, size)}))
				synctest.Wait()
			}
		}
		publish(0, 1) // keeps the handler busy
		publish(1<<20, 10)
		if n := s.Dropped(); n != 7 {
			t.Errorf("of 10 events of 1 MiB %d were dropped; want 7", n)
		}
		publish(1000, 1)
		if n := s.Dropped(); n != 7 {
			t.Error("a small event found no room")
		}
		close(release)
		synctest.Wait()
		publish(16<<20, 1)
		publish(1<<20, 3)
		closeBus(t, b)
		want := []int{0, 1 << 20, 1 << 20, 1 << 20, 1000, 16 << 20, 1 << 20, 1 << 20, 1 << 20}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got payloads of %v; want %v", got, want)
		}
	})
}

// Whatever an event refers to counts: clients choose their identifiers, topics and
// filters, and a program the data of its own types.
func TestQueueCountsWhatEventsReferTo(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, e := range map[string]events.Event{
		"source":         events.New(events.Slow, long, events.SlowData{}),
		"connection":     events.New(events.Connection, "c", events.ConnectionData{Username: long}),
		"disconnection":  events.New(events.Disconnection, "c", events.DisconnectionData{Error: long}),
		"message":        events.New(events.Message, "c", events.MessageData{Topic: long}),
		"subscription":   events.New(events.Subscription, "c", events.SubscriptionData{Filter: long}),
		"unsubscription": events.New(events.Unsubscription, "c", events.UnsubscriptionData{Filter: long}),
		"drop":           events.New(events.Drop, "c", events.DropData{Topic: long}),
		"refusal":        events.New(events.Refusal, "c", events.RefusalData{Topic: long}),
		"bridge":         events.New(events.Bridge, events.Source, events.BridgeData{Why: long}),
		"system":         events.New(events.System, events.Source, events.SystemData{Detail: long}),
		"custom":         events.New("users.created", "c", json.RawMessage(long)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := events.NewBus(nil, matchPrefix)
				release := make(chan struct{})
				s := b.Subscribe("slow", events.Filter{}, 1000, func(events.Event) { <-release })
				b.Publish(events.New(events.System, events.Source, nil)) // keeps the handler busy
				synctest.Wait()
				for range 10 {
					b.Publish(e)
				}
				if n := s.Dropped(); n != 7 {
					t.Errorf("of 10 events of 1 MiB %d were dropped; want 7", n)
				}
				close(release)
				closeBus(t, b)
			})
		})
	}
}

func TestPanickingHandler(t *testing.T) {
	var out bytes.Buffer
	b := events.NewBus(slog.New(slog.NewTextHandler(&out, nil)), matchPrefix)
	var got []string
	b.Subscribe("shaky", events.Filter{}, 10, func(e events.Event) {
		got = append(got, e.ID)
		if e.ID == "1" {
			panic("boom")
		}
	})
	for i := range 3 {
		e := numbered("dev", i)
		e.Data = events.MessageData{Payload: []byte("secret")}
		b.Publish(e)
	}
	b.Publish(numbered("dev", 3))
	closeBus(t, b)
	if want := []string{"0", "1", "2", "3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v: the handler must stay attached", got, want)
	}
	for _, want := range []string{"handler=shaky", "boom", "type=message", "bus_test.go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %q: %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Errorf("log shows the payload: %s", out.String())
	}
	if n := strings.Count(out.String(), "event handler panicked"); n != 1 {
		t.Errorf("%d log lines, want 1", n)
	}
}

func TestPanicsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		b.Subscribe("shaky", events.Filter{}, 10, func(events.Event) { panic("boom") })
		for i := range 5 {
			b.Publish(numbered("dev", i))
		}
		synctest.Wait()
		if s := b.Stats()[0]; s.Panics != 5 || s.Delivered != 5 || s.Queued != 0 {
			t.Errorf("stats %+v, want 5 panics and 5 deliveries", s)
		}
		closeBus(t, b)
	})
}

func TestSubClose(t *testing.T) {
	t.Run("waits for the handler and is the last of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := events.NewBus(nil, matchPrefix)
			release := make(chan struct{})
			var calls, closed atomic.Int32
			s := b.Subscribe("slow", events.Filter{}, 10, func(events.Event) {
				calls.Add(1)
				<-release
			})
			b.Publish(numbered("dev", 0))
			b.Publish(numbered("dev", 1))
			synctest.Wait() // the handler holds the first one
			go func() {
				s.Close()
				closed.Add(1)
			}()
			synctest.Wait()
			if closed.Load() != 0 {
				t.Error("Close returned while the handler ran")
			}
			close(release)
			synctest.Wait()
			if closed.Load() != 1 || calls.Load() != 1 {
				t.Errorf("closed %d, calls %d, want 1 and 1", closed.Load(), calls.Load())
			}
			b.Publish(numbered("dev", 2))
			s.Close()
			closeBus(t, b)
			if calls.Load() != 1 {
				t.Error("the handler was called after Close")
			}
			if s.Dropped() != 0 {
				t.Errorf("dropped %d, want 0: what Close discards was not lost to a full queue", s.Dropped())
			}
		})
	})
	t.Run("from inside the handler", func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		var s *events.Sub
		ready, calls := make(chan struct{}), make(chan string, 10)
		s = b.Subscribe("once", events.Filter{}, 10, func(e events.Event) {
			<-ready
			s.Close()
			s.Close()
			calls <- e.ID
		})
		close(ready)
		b.Publish(numbered("dev", 0))
		b.Publish(numbered("dev", 1))
		if id := <-calls; id != "0" {
			t.Errorf("first event %s", id)
		}
		s.Close() // outside: waits for the goroutine
		closeBus(t, b)
		if len(calls) != 0 {
			t.Errorf("called again with %s after closing itself", <-calls)
		}
	})
	t.Run("two handlers that close each other", func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		var subs [2]*events.Sub
		var both, done sync.WaitGroup
		both.Add(2)
		done.Add(2)
		start := make(chan struct{})
		for i := range subs {
			subs[i] = b.Subscribe("mutual", events.Filter{}, 1, func(events.Event) {
				<-start
				both.Done()
				both.Wait()
				subs[1-i].Close()
				done.Done()
			})
		}
		close(start)
		b.Publish(numbered("dev", 0))
		done.Wait()
		closeBus(t, b)
	})
}

func TestBusClose(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		n := 0
		b.Subscribe("test", events.Filter{}, 1000, func(events.Event) { n++ })
		for i := range 1000 {
			b.Publish(numbered("dev", i))
		}
		closeBus(t, b)
		if n != 1000 {
			t.Errorf("handler saw %d events, want 1000", n)
		}
	})
	t.Run("gives up when ctx ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := events.NewBus(nil, matchPrefix)
			release := make(chan struct{})
			calls := 0
			s := b.Subscribe("stuck", events.Filter{}, 10, func(events.Event) {
				calls++
				<-release
			})
			b.Subscribe("fine", events.Filter{}, 10, func(events.Event) {})
			b.Publish(numbered("dev", 0))
			synctest.Wait() // the handler holds the first one
			for i := 1; i <= 4; i++ {
				b.Publish(numbered("dev", i))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := b.Close(ctx)
			if !errors.Is(err, events.ErrNotDrained) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `4 dropped, still busy: ["stuck"]`) {
				t.Errorf("error %v", err)
			}
			if s.Dropped() != 4 || b.Dropped() != 4 {
				t.Errorf("dropped %d and %d, want 4", s.Dropped(), b.Dropped())
			}
			close(release)
			if err := b.Close(t.Context()); err != nil {
				t.Errorf("second close: %v", err)
			}
			if calls != 1 {
				t.Errorf("handler was called %d times, want 1", calls)
			}
		})
	})
	t.Run("from inside a handler", func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		result := make(chan error, 1)
		b.Subscribe("closer", events.Filter{}, 1, func(events.Event) { result <- b.Close(t.Context()) })
		b.Publish(numbered("dev", 0))
		if err := <-result; err != nil {
			t.Error(err)
		}
		closeBus(t, b)
	})
	t.Run("ends everything", func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		called := false
		old := b.Subscribe("old", events.Filter{}, 1, func(events.Event) { called = true })
		closeBus(t, b)
		late := b.Subscribe("late", events.Filter{}, 1, func(events.Event) { called = true })
		if b.Wants(events.Message) || b.Wants("users.created") {
			t.Error("a closed bus wants events")
		}
		b.Publish(numbered("dev", 0))
		old.Close()
		late.Close()
		closeBus(t, b)
		if called || b.Published() != 0 || len(b.Stats()) != 0 {
			t.Errorf("called %v, published %d, stats %v after Close", called, b.Published(), b.Stats())
		}
	})
}

// Every event offered to a listener is delivered or counted as dropped, whatever
// else goes on.
func TestChurn(t *testing.T) {
	const publishers, each = 4, 3000
	b := events.NewBus(nil, matchPrefix)
	var delivered atomic.Uint64
	keeper := b.Subscribe("keeper", events.Filter{}, 16, func(e events.Event) {
		if delivered.Add(1)%7 == 0 {
			panic("now and then")
		}
	})
	stop := make(chan struct{})
	var churn, pubs sync.WaitGroup
	for range 2 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := b.Subscribe("guest", events.Filter{Types: []events.Type{events.Message}}, 4, func(events.Event) {})
				b.Stats()
				s.Close()
			}
		})
	}
	for p := range publishers {
		pubs.Go(func() {
			for i := range each {
				if b.Wants(events.Message) {
					b.Publish(numbered(fmt.Sprint("dev", p), i))
				}
			}
		})
	}
	pubs.Wait()
	close(stop)
	churn.Wait()
	closeBus(t, b)
	if got := delivered.Load() + keeper.Dropped(); got != publishers*each {
		t.Errorf("delivered %d + dropped %d = %d, want %d", delivered.Load(), keeper.Dropped(), got, publishers*each)
	}
}

func TestWantsAllocatesNothing(t *testing.T) {
	b := events.NewBus(nil, matchPrefix)
	defer closeBus(t, b)
	b.Subscribe("test", events.Filter{Types: []events.Type{events.Connection}}, 1, func(events.Event) {})
	if n := testing.AllocsPerRun(100, func() { b.Wants(events.Message) }); n != 0 {
		t.Errorf("Wants allocates %v times", n)
	}
}

func BenchmarkWants(b *testing.B) {
	bus := events.NewBus(nil, matchPrefix)
	bus.Subscribe("test", events.Filter{Types: []events.Type{events.Connection}}, 1, func(events.Event) {})
	for b.Loop() {
		bus.Wants(events.Message)
	}
}
