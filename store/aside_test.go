package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// asideWay is one of two sessions beside its model.
type asideWay struct {
	id    string
	model drainModel
	c     *client // nil while nobody is connected
}

// asideRun is a broker with a session and an Aside of it.
type asideRun struct {
	*world
	whole, live asideWay
	pub, other  *client
	room        int  // messages that may wait aside
	on          bool // there is an Aside
	full        bool
	published   int
	pid         uint16
	got         map[int]int // how often each message was sent for the first time
	trouble     string
}

func (r *asideRun) wrong(format string, args ...any) {
	if r.trouble == "" {
		r.trouble = fmt.Sprintf(format, args...) + "\nafter\n  " + strings.Join(r.script, "\n  ")
	}
}

func (r *asideRun) ways() []*asideWay { return []*asideWay{&r.whole, &r.live} }

func (w *asideWay) terms() relay.Connect {
	return relay.Connect{ClientID: w.id, Version: wire.V5, Expiry: 0xFFFFFFFF, Standing: true, Owner: "$bridge"}
}

// configure does what a reload or a start does: nobody is connected meanwhile.
func (r *asideRun) configure(on bool) {
	r.note("aside %v", on)
	for _, w := range r.ways() {
		r.lose(w)
	}
	var list []relay.Wanted
	for _, w := range r.ways() {
		port, err := r.relay.Open(w.terms())
		if err != nil {
			r.wrong("open: %v", err)
			return
		}
		defer port.End(relay.End{})
		list = append(list, relay.Wanted{Port: port})
	}
	list[0].Subs = []relay.Subscription{{Filter: "t/#", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2},
		{Filter: relay.StandingPrefix + "own", QoS: 1, RetainHandling: 2}}
	if on {
		list[0].Aside = &relay.Aside{Port: list[1].Port, Messages: r.room, Bytes: 1 << 20}
	}
	granted, err := r.relay.Resubscribe(list)
	if err != nil {
		r.wrong("resubscribe: %v", err)
		return
	}
	for i := range list {
		list[i].Port.SendRetained(granted[i])
		list[i].Port.Flush()
	}
	r.on, r.full = on, false
}

func (r *asideRun) connect(w *asideWay, window int) {
	if w.c != nil {
		return
	}
	r.note("%s connects, window %d", w.id, window)
	c := w.terms()
	c.ReceiveMaximum = uint16(window)
	w.c = r.client(c)
	w.model.window = window
}

func (r *asideRun) lose(w *asideWay) {
	if w.c == nil {
		return
	}
	r.note("%s is away", w.id)
	w.c.leave()
	w.away()
}

func (w *asideWay) away() {
	w.c, w.model.window = nil, 0
	for _, d := range w.model.flying {
		d.fresh = false
	}
}

// route is by which way the next message must go.
func (r *asideRun) route(topic string, retain bool) *asideWay {
	v := &r.live
	if !r.on || v.c == nil || retain || strings.HasPrefix(topic, relay.StandingPrefix) {
		return &r.whole
	}
	sent := 0
	for _, d := range v.model.flying {
		if d.fresh {
			sent++
		}
	}
	waits := max(0, len(v.model.queue)-(v.model.window-sent)) // the rest goes at once
	r.full = waits > 0 && (r.full || waits >= r.room)
	if r.full {
		return &r.whole
	}
	return v
}

// publish publishes a batch that is handed on as one.
func (r *asideRun) publish(topic string, n int, qos byte, retain bool) {
	var frames [][]byte
	for range n {
		r.published++
		r.pid++
		r.note("publish %d on %s at QoS %d, retain %v", r.published, topic, qos, retain)
		frames = append(frames, wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: qos, Retain: retain, Topic: []byte(topic), Payload: []byte(strconv.Itoa(r.published))}, r.pid))
		to := r.route(topic, retain)
		to.model.queue = append(to.model.queue, &drained{n: r.published, topic: topic, qos: qos})
	}
	r.pub.send(frames...)
	if qos == 2 {
		r.pub.ack(wire.PUBREL, r.pid)
	}
}

// own publishes what the program says to itself.
func (r *asideRun) own() {
	r.published++
	topic := relay.StandingPrefix + "own"
	r.note("publish %d on %s", r.published, topic)
	r.whole.model.queue = append(r.whole.model.queue, &drained{n: r.published, topic: topic, qos: 1})
	if err := r.relay.Publish(relay.Outgoing{Topic: topic, Payload: []byte(strconv.Itoa(r.published)), QoS: 1}, nil); err != nil {
		r.wrong("%v", err)
	}
}

// look compares what has come by both ways with what the model says.
func (r *asideRun) look() {
	r.settle()
	for _, w := range r.ways() {
		want := w.model.pump()
		var got, expected []string
		for _, d := range want {
			if d.half {
				expected = append(expected, fmt.Sprintf("PUBREL %d", d.n))
			} else {
				expected = append(expected, strconv.Itoa(d.n))
			}
		}
		if w.c == nil {
			continue
		}
		for rest := w.c.link.take(); len(rest) > 0; {
			f, n, err := wire.Scan(rest, 0)
			if err != nil {
				r.wrong("%v", err)
				return
			}
			rest = rest[n:]
			switch f.Type {
			case wire.PUBLISH:
				p, err := wire.DecodeDelivery(f, wire.V5)
				if err != nil {
					r.wrong("%v", err)
					return
				}
				got = append(got, string(p.Payload))
				for _, d := range want {
					if strconv.Itoa(d.n) == string(p.Payload) {
						d.id = p.PacketID
						if !p.Dup {
							r.got[d.n]++
						}
					}
				}
			case wire.PUBREL:
				id, _, _ := wire.DecodeAck(f, wire.V5)
				for _, d := range want {
					if d.half && d.id == id {
						got = append(got, fmt.Sprintf("PUBREL %d", d.n))
					}
				}
			}
		}
		if !slices.Equal(got, expected) {
			r.wrong("%s got %q, want %q", w.id, got, expected)
		}
	}
}

// ack acknowledges the first message in flight, at QoS 2 in one step or in two.
func (r *asideRun) ack(w *asideWay, half bool) {
	if w.c == nil || len(w.model.flying) == 0 || !w.model.flying[0].fresh {
		return
	}
	d := w.model.flying[0]
	r.note("%s acks %d, half %v", w.id, d.n, half)
	if d.qos == 1 {
		w.c.ack(wire.PUBACK, d.id)
	} else {
		if !d.half {
			w.c.ack(wire.PUBREC, d.id)
			w.c.link.take() // PUBREL
			d.half = true
			if half {
				return
			}
		}
		w.c.ack(wire.PUBCOMP, d.id)
	}
	w.model.flying = w.model.flying[1:]
}

func (r *asideRun) restart(kill bool) {
	r.note("restart, killed %v", kill)
	if kill {
		r.other.publish("other", "x", 1, 1) // all before is stable
		r.settle()
	}
	disk := r.disk
	if kill {
		disk = r.disk.Kill()
	}
	r.stop()
	r.disk = disk
	for _, w := range r.ways() {
		w.away()
	}
	r.start()
	on := r.on
	r.begin()
	r.configure(on)
}

// begin connects those who publish.
func (r *asideRun) begin() {
	r.other = r.client(kept("other", 0xFFFFFFFF))
	r.other.subscribe(relay.Subscription{Filter: "other", QoS: 1})
	r.pub = r.client(kept("pub", 0xFFFFFFFF))
	r.pid = 0
}

func (r *asideRun) step(op byte) {
	w, arg := r.ways()[op/16%2], int(op/32)
	switch op % 16 {
	case 0, 1, 2:
		r.publish([]string{"t/a", "t/b"}[op/16%2], 1+arg, 1, false)
	case 3, 4:
		r.publish("t/a", 1, 2, false)
	case 5:
		r.publish("t/r", 1, 1+op/16%2, true)
	case 6:
		r.own()
	case 7, 8:
		r.connect(w, 1+arg)
	case 9:
		r.lose(w)
	case 10, 11, 12:
		for range 1 + arg {
			r.ack(w, op&1 == 1)
			r.look()
		}
	case 13:
		r.note("checkpoint")
		if err := r.store.Journal().Checkpoint(func() error { r.relay.Snapshot(); return nil }); err != nil {
			r.wrong("checkpoint: %v", err)
		}
	case 14:
		r.configure(op/16%2 == 0)
	default:
		r.restart(op/16%2 == 0)
	}
	r.look()
	r.balanced()
}

// With an Aside each message is in one of two sessions, in the order in which it
// came there: aside as long as somebody is connected there and little waits, and
// else in the session that has subscribed, whatever connection, reload or broker
// comes between. None is lost, and none comes twice.
func TestAside(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spill := rapid.SampledFrom([]int64{1 << 20, 2100, 6400}).Draw(rt, "spill")
		room := rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "room")
		ops := rapid.SliceOfN(rapid.Byte(), 30, 120).Draw(rt, "ops")
		var trouble string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, func(c *relay.Config, o *store.Options) {
				c.SpillBytes, o.SegmentSize = spill, 16<<10
			})
			r := &asideRun{world: w, room: room, got: make(map[int]int), whole: asideWay{id: "$bridge/up"}, live: asideWay{id: "$bridge/up/live"}}
			w.start()
			r.begin()
			r.configure(true)
			for _, op := range ops {
				if r.trouble == "" {
					r.step(op)
				}
			}
			for _, w := range r.ways() {
				r.connect(w, 5)
				for r.look(); r.trouble == "" && len(w.model.queue)+len(w.model.flying) > 0; r.look() {
					r.ack(w, false)
				}
			}
			for n := 1; n <= r.published; n++ {
				if r.got[n] != 1 {
					r.wrong("%d was sent for the first time %d times", n, r.got[n])
				}
			}
			r.balanced()
			w.stop()
			trouble = r.trouble
		})
		if trouble != "" {
			rt.Fatalf("%s", trouble)
		}
	})
}
