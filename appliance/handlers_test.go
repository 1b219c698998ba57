package appliance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// subscribe returns a channel of the events of a type.
func subscribe(b *appliance.Broker, eventType string) <-chan events.Event {
	ch := make(chan events.Event, 1000)
	b.On(eventType, func(e events.Event) { ch <- e })
	return ch
}

// next waits for an event.
func next(t testing.TB, ch <-chan events.Event) events.Event {
	t.Helper()
	select {
	case e := <-ch:
		return e
	case <-time.After(brokertest.Patience):
		t.Fatal("waited in vain for an event")
		panic("unreachable")
	}
}

func TestOn(t *testing.T) {
	b := start(t, config(t))
	connections, everything := subscribe(b, "connection"), subscribe(b, "*")
	c := brokertest.Dial(t, b.Addr("tcp"), wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "c", KeepAlive: 30,
		HasUsername: true, Username: "ann"})
	e := next(t, connections)
	d := e.Data.(events.ConnectionData)
	if e.Type != "connection" || e.Source != "c" || e.ID == "" || time.Since(e.Time) > time.Minute ||
		d.ClientID != "c" || d.Username != "ann" || d.Remote != c.Conn().LocalAddr().String() || d.Listener != "tcp" ||
		d.Protocol != "5" || d.KeepAlive != 30 || !d.CleanStart || d.SessionPresent || d.SessionExpiry != 0 {
		t.Errorf("connection event %+v", e)
	}
	c.Subscribe(1, "$share/g/t")
	c.PublishID(wire.Out{QoS: 1, Topic: []byte("nowhere"), Payload: []byte("x")}, 1)
	c.ExpectAck(wire.PUBACK, 1)
	c.PublishOut(wire.Out{QoS: 1, Topic: []byte("$SYS/x")})
	c.Unsubscribe("$share/g/t")
	c.Disconnect()
	for _, want := range []events.Type{"connection", "subscription", "message", "drop", "refusal", "unsubscription", "disconnection"} {
		if e := next(t, everything); e.Type != want {
			t.Fatalf("got %+v instead of %s", e, want)
		}
	}
	if len(connections) != 0 {
		t.Error("a handler got events of another type")
	}
}

func TestUnsubscribe(t *testing.T) {
	b := start(t, config(t))
	var calls atomic.Int64
	stop := b.On("message", func(events.Event) { calls.Add(1) })
	other := subscribe(b, "message")
	publish := func() {
		t.Helper()
		if err := b.Publish(t.Context(), appliance.Message{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		next(t, other)
	}
	publish()
	brokertest.WaitFor(t, "the first event", func() bool { return calls.Load() == 1 })
	stop()
	publish()
	stop()
	publish()
	if calls.Load() != 1 {
		t.Errorf("%d calls, the last ones after unsubscribing", calls.Load())
	}

	once := make(chan struct{})
	var self func()
	ready := make(chan struct{})
	self = b.On("message", func(events.Event) { <-ready; self(); close(once) }) // a second call would panic
	close(ready)
	publish()
	<-once
	publish()
	if n := b.Stats().Events.Listeners; n != 1 {
		t.Errorf("%d listeners, want 1", n)
	}
}

func TestOnTopic(t *testing.T) {
	b := start(t, config(t))
	if _, err := b.OnTopic("a#", func(events.Event) {}); err == nil {
		t.Error("an invalid filter was accepted")
	}
	got := make(chan string, 10)
	stop, err := b.OnTopic("plant/+/temp", func(e events.Event) { got <- e.Data.(events.MessageData).Topic })
	if err != nil {
		t.Fatal(err)
	}
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, "c"))
	for _, topic := range []string{"plant/1/humidity", "plant/1/temp", "plant/1/2/temp", "plant/2/temp"} {
		c.Publish(topic, "20", 1, false)
	}
	for _, want := range []string{"plant/1/temp", "plant/2/temp"} {
		if topic := <-got; topic != want {
			t.Errorf("got %s, want %s", topic, want)
		}
	}
	stop()
	c.Publish("plant/3/temp", "20", 1, false)
	if len(got) != 0 {
		t.Errorf("got %s after unsubscribing", <-got)
	}
}

func TestOnCustomType(t *testing.T) {
	b := start(t, config(t))
	created, odd := subscribe(b, "users.created"), subscribe(b, `a<"b">`)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	for _, payload := range []string{
		`not json users.created`, `{"type":"users.created"`, `["users.created"]`, `{"type":"users.deleted","data":"users.created"}`,
		`{"type":5,"x":"users.created"}`, ``,
	} {
		c.Publish("users", payload, 1, false)
	}
	const full = `{"type":"users.created","id":"1","source":"app","timestamp":"2026-01-02T03:04:05.5+01:00","data":{"name":"Ann"}}`
	c.Publish("users", full, 1, false)
	e := next(t, created)
	if e.ID != "1" || e.Type != "users.created" || e.Source != "app" || !e.Time.Equal(time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC)) ||
		string(e.Data.(json.RawMessage)) != `{"name":"Ann"}` {
		t.Errorf("full event: %+v", e)
	}

	const bare = `{"type":"users.created","name":"Bob"}`
	c.Publish("users", bare, 0, false)
	e = next(t, created)
	if e.ID == "" || e.ID == "1" || e.Source != "c" || time.Since(e.Time) > time.Minute || string(e.Data.(json.RawMessage)) != bare {
		t.Errorf("bare event: %+v, data %s", e, e.Data)
	}

	for _, stamp := range []string{`12345`, `"yesterday"`, `null`, `{}`} {
		c.Publish("users", `{"type":"users.created","timestamp":`+stamp+`,"data":null}`, 1, false)
		if e := next(t, created); time.Since(e.Time) > time.Minute {
			t.Errorf("timestamp %s gives %v", stamp, e.Time)
		}
	}

	for _, payload := range []string{`{"type":"a<\"b\">"}`, `{"type":"\u0061\u003c\"b\">"}`} {
		c.Publish("odd", payload, 1, false)
		if e := next(t, odd); e.Type != `a<"b">` {
			t.Errorf("%s: %+v", payload, e)
		}
	}
	c.Publish("users", `{"\u0074ype":"\u0075sers.created"}`, 1, false)
	if e := next(t, created); e.Type != "users.created" {
		t.Errorf("escaped: %+v", e)
	}
}

// Custom types of any name reach their handlers, also names that JSON may
// write in several ways.
func TestOnCustomTypeNames(t *testing.T) {
	b := start(t, config(t))
	for _, name := range []string{"a<b", "a&b", "ü", "line\nbreak", `back\slash`, "connection.extra"} {
		got := subscribe(b, name)
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		plain := `"` + name + `"`
		payloads := []string{`{"type":` + string(quoted) + `}`}
		if json.Valid([]byte(plain)) && plain != string(quoted) && name != `back\slash` {
			payloads = append(payloads, `{"type":`+plain+`}`)
		}
		for _, p := range payloads {
			if err := b.Publish(t.Context(), appliance.Message{Topic: "t", Payload: []byte(p)}); err != nil {
				t.Fatal(err)
			}
			if e := next(t, got); string(e.Type) != name {
				t.Errorf("%s: got type %q", p, e.Type)
			}
		}
	}
}

// Payloads are looked at only while somebody listens to a custom type: no
// event is even made of a message otherwise.
func TestCustomTypesCostNothingUnheard(t *testing.T) {
	b := start(t, config(t))
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, "c"))
	connected := b.On("connection", func(events.Event) {})
	defer connected()
	publish := func() uint64 {
		t.Helper()
		before := b.Stats().Events.Published
		c.Publish("t", `{"type":"users.created"}`, 1, false)
		return b.Stats().Events.Published - before
	}
	if n := publish(); n != 0 {
		t.Errorf("%d events made for nobody", n)
	}
	got := make(chan events.Event, 1)
	unsubscribe := b.On("users.created", func(e events.Event) { got <- e })
	if n := publish(); n != 1 {
		t.Errorf("%d events made for a handler", n)
	}
	next(t, got)
	unsubscribe()
	if n := publish(); n != 0 {
		t.Errorf("%d events made after the handler has gone", n)
	}
}

func TestPanickingHandlerHurtsItselfOnly(t *testing.T) {
	b := start(t, config(t))
	var calls atomic.Int64
	b.On("message", func(events.Event) { calls.Add(1); panic(errors.New("handler's own fault")) })
	b.On("users.created", func(events.Event) { panic("and another") })
	healthy := subscribe(b, "message")
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	for i := range 10 {
		c.Publish("t", fmt.Sprintf(`{"type":"users.created","id":"%d"}`, i), 1, false)
		next(t, healthy)
	}
	brokertest.WaitFor(t, "the panicking handler to get every event", func() bool { return calls.Load() == 10 })
	if b.Stats().Events.Dropped != 0 {
		t.Errorf("%d events dropped", b.Stats().Events.Dropped)
	}
}

func TestStallingHandlerHurtsItselfOnly(t *testing.T) {
	const queue, n = 4, 50
	cfg := config(t)
	cfg.Events.Queue = queue
	b := start(t, cfg)
	stuck, release := make(chan struct{}, 1), make(chan struct{})
	b.On("message", func(events.Event) {
		select {
		case stuck <- struct{}{}:
		default:
		}
		<-release
	})
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	c.Publish("t", "0", 1, false)
	<-stuck
	healthy := make(chan events.Event, n)
	b.On("message", func(e events.Event) { healthy <- e })
	for i := 1; i < n; i++ {
		c.Publish("t", fmt.Sprint(i), 2, false)
		if got := string(next(t, healthy).Data.(events.MessageData).Payload); got != fmt.Sprint(i) {
			t.Fatalf("healthy handler got %s instead of %d", got, i)
		}
	}
	if got := b.Stats().Events.Dropped; got != n-1-queue {
		t.Errorf("%d events dropped, want %d", got, n-1-queue)
	}
	close(release)
}
