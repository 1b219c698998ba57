package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// says lets the broker say "topic=value" words, retained.
func (b *broker) says(words ...string) {
	own := make([]relay.Own, len(words))
	for i, w := range words {
		topic, value, _ := strings.Cut(w, "=")
		own[i] = relay.Own{Topic: topic, Payload: []byte(value), Retain: true}
	}
	b.Tell(own)
}

// Who asks for it gets what the broker says of itself, now and as it changes,
// and nobody else. [MQTT-4.7.2-1]
func TestTell(t *testing.T) {
	b := newBroker(t, nil)
	if b.Heard(relay.SystemRoot) {
		t.Error("somebody listens")
	}
	b.says("$SYS/broker/uptime=1", "$SYS/broker/version=x")
	all, some, old := b.connect("all"), b.connect("some"), b.connect("old", v3)
	plain := b.connect("plain")
	plain.sub(0, "#", "+/broker/uptime", "+/#", "$SY", "$OTHER/#")
	if b.Heard(relay.SystemRoot) {
		t.Error("a wildcard listens")
	}
	all.subscribe(relay.Subscription{Filter: "$SYS/#", QoS: 2, RetainAsPublished: true, ID: 7})
	some.sub(1, "$SYS/+/uptime")
	old.sub(2, "$SYS/broker/version")
	if !b.Heard(relay.SystemRoot) {
		t.Error("nobody listens")
	}
	if got := lines(all.take()); !strings.Contains(got, "PUBLISH q0 retain $SYS/broker/uptime=1 ids[7]") || !strings.Contains(got, "PUBLISH q0 retain $SYS/broker/version=x ids[7]") {
		t.Errorf("all got %s", got)
	}
	some.wants("PUBLISH q0 retain $SYS/broker/uptime=1")
	old.wants("PUBLISH q0 retain $SYS/broker/version=x")

	b.says("$SYS/broker/uptime=2")
	b.Tell([]relay.Own{{Topic: "$SYS/brokers/n/clients/c/connected", Payload: []byte("{}")}})
	all.wants("PUBLISH q0 retain $SYS/broker/uptime=2 ids[7]", "PUBLISH q0 $SYS/brokers/n/clients/c/connected={} ids[7]")
	some.wants("PUBLISH q0 $SYS/broker/uptime=2")
	old.wants()
	plain.wants()

	late := b.connect("late")
	late.sub(0, "$SYS/brokers/#", "$SYS/broker/uptime")
	late.wants("PUBLISH q0 retain $SYS/broker/uptime=2")

	for _, c := range []*client{all, some, old, late} {
		c.disconnect()
	}
	if b.Heard(relay.SystemRoot) {
		t.Error("somebody listens still")
	}
}

// It changes none of the numbers that tell what clients do, but for what is
// sent, makes no events, and takes no room.
func TestTellCountsForNobody(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxRetained = 1; c.MaxRetainedBytes = 2000 })
	seen := make(chan events.Event, 100)
	b.bus.Subscribe("test", events.Filter{Types: []events.Type{events.Message, events.Drop}}, 100, func(e events.Event) { seen <- e })
	for i := range 100 {
		b.says(fmt.Sprintf("$SYS/broker/%d=%s", i, strings.Repeat("x", 1000)))
	}
	c := b.connect("c")
	c.sub(0, "$SYS/broker/7")
	c.take()
	b.says("$SYS/broker/7=7", "$SYS/broker/8=8")
	pub := b.connect("pub")
	pub.publish(message{topic: "t", payload: "1", retain: true, qos: 1})
	if got := lines(pub.take()); !strings.HasPrefix(got, "PUBACK #1") || strings.Contains(got, "quota") {
		t.Errorf("there is no room for a client's retained message: %s", got)
	}
	got := b.Totals()
	if got.Own.Messages() != 0 || got.Received.Messages() != 1 || got.Sent.Messages() != 2 || got.Retained != 1 {
		t.Errorf("totals %+v", got)
	}
	b.drops("no_subscribers 1") // of t
	if err := b.bus.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	close(seen)
	for e := range seen {
		if s := fmt.Sprint(e.Data); strings.Contains(s, "$SYS") {
			t.Errorf("an event %s", s)
		}
	}
}

// A client that is away finds nothing in its queue, whatever it has subscribed
// with: a queue full of old values would keep others from publishing to it.
func TestTellsNobodyWhoIsAway(t *testing.T) {
	b, s := newStored(t)
	c := b.connect("c", kept)
	c.sub(2, "$SYS/#")
	c.sub(1, "$share/g/$SYS/#")
	c.end()
	s.recorded() // what was before
	for i := range 100 {
		b.says(fmt.Sprintf("$SYS/broker/uptime=%d", i))
	}
	if got := s.recorded(); got != "" {
		t.Errorf("recorded %s", got)
	}
	b.Snapshot()
	if got := s.recorded(); strings.Contains(got, "retained $SYS") || strings.Contains(got, "uptime") {
		t.Errorf("a snapshot has recorded it: %s", got)
	}
	b.empty()
	b.drops()
	c = b.connect("c", kept)
	c.wants()
	b.says("$SYS/broker/uptime=100")
	c.wants("PUBLISH q0 $SYS/broker/uptime=100", "PUBLISH q0 $SYS/broker/uptime=100") // by either subscription
}

// A shared subscription gives each value to one member that is there.
func TestTellShared(t *testing.T) {
	b := newBroker(t, nil)
	x, y := b.connect("x"), b.connect("y")
	x.sub(0, "$share/g/$SYS/broker/+")
	y.sub(0, "$share/g/$SYS/broker/+")
	for i := range 10 {
		b.says(fmt.Sprintf("$SYS/broker/uptime=%d", i))
	}
	if nx, ny := len(x.take()), len(y.take()); nx != 5 || ny != 5 {
		t.Errorf("%d and %d values, want 5 each", nx, ny)
	}
	x.end()
	y.end()
	b.says("$SYS/broker/uptime=11")
	b.drops()
}

// Nobody but the broker publishes there, and rules say who reads there.
func TestTellAccess(t *testing.T) {
	b := newBroker(t, nil)
	b.says("$SYS/a=1", "$SYS/b=1")
	a := allowedBut("a", "r:$SYS/a")
	c := b.connect("c", access(a))
	c.sub(0, "$SYS/#")
	c.wants("PUBLISH q0 retain $SYS/b=1")
	b.says("$SYS/a=2", "$SYS/b=2")
	c.wants("PUBLISH q0 $SYS/b=2")
	a.deny("r:$SYS/b")
	b.AccessChanged()
	b.says("$SYS/a=3", "$SYS/b=3")
	c.wants("PUBLISH q0 $SYS/a=3")

	c.publish(message{topic: "$SYS/a", payload: "4", qos: 1, retain: true})
	c.wants("PUBACK #1 not authorized")
	w := b.connect("w", lastWill(wire.Will{Topic: "$SYS/a", Payload: []byte("5"), Retain: true}))
	w.end()
	c.wants()
	late := b.connect("late")
	late.sub(0, "$SYS/a")
	late.wants("PUBLISH q0 retain $SYS/a=3")
}

// However a subscription and the next value meet, the client ends up with the
// last value.
func TestTellMeetsSubscribe(t *testing.T) {
	b := newBroker(t, nil)
	const values = 300
	var all sync.WaitGroup
	clients := make([]*client, 4)
	last := make([]string, len(clients))
	start := make(chan struct{})
	for i := range clients {
		clients[i] = b.connect(fmt.Sprint("c", i))
		all.Go(func() {
			<-start
			for range 20 {
				clients[i].sub(0, "$SYS/n")
				clients[i].unsub("$SYS/n")
			}
			clients[i].sub(0, "$SYS/n")
		})
	}
	all.Go(func() {
		<-start
		for n := range values {
			b.says(fmt.Sprintf("$SYS/n=%d", n))
		}
	})
	close(start)
	all.Wait()
	for i, c := range clients {
		for _, p := range c.take() {
			if p.kind == wire.PUBLISH {
				last[i] = string(p.payload)
			}
		}
		if last[i] != fmt.Sprint(values-1) {
			t.Errorf("%s has %s at last, want %d", c.id, last[i], values-1)
		}
	}
}

// Sessions that end because nobody came back are counted, and no others.
func TestExpiredSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, nil, nil)
		defer b.Close()
		for _, id := range []string{"gone", "back", "discarded"} {
			b.connect(id, expiry(60)).end()
		}
		b.connect("clean").end()
		time.Sleep(30 * time.Second)
		back := b.connect("back", expiry(60))
		b.Discard("discarded")
		time.Sleep(time.Hour)
		if got := b.Totals(); got.Expired != 1 || got.Sessions != 1 {
			t.Errorf("%d expired, %d sessions", got.Expired, got.Sessions)
		}
		back.end()
		time.Sleep(time.Hour)
		if got := b.Totals(); got.Expired != 2 || got.Sessions != 0 {
			t.Errorf("%d expired, %d sessions", got.Expired, got.Sessions)
		}
	})
}

// BenchmarkTell is one interval of $SYS: forty values that have changed.
func BenchmarkTell(b *testing.B) {
	for _, subscribers := range []int{0, 1, 10} {
		b.Run(fmt.Sprint(subscribers, "subscribers"), func(b *testing.B) {
			br := newBroker(b, nil)
			for i := range subscribers {
				br.connectTo(&sink{}, fmt.Sprint("s", i)).Subscribe([]relay.Subscription{{Filter: "$SYS/#"}}, &result{})
			}
			own := make([]relay.Own, 40)
			for i := range own {
				own[i] = relay.Own{Topic: fmt.Sprintf("$SYS/broker/load/messages/received/%dmin", i), Payload: []byte("12345"), Retain: true}
			}
			b.ReportAllocs()
			for b.Loop() {
				br.Tell(own)
			}
		})
	}
}

// connectTo opens a port on a link of the caller's.
func (b *broker) connectTo(l relay.Link, id string) *relay.Port {
	port, err := b.Open(relay.Connect{ClientID: id, Version: wire.V5, CleanStart: true})
	if err != nil {
		b.Fatalf("%v", err)
	}
	port.Attach(l)
	return port
}
