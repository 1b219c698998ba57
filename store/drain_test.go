package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// How messages wait on the topics of TestDrain. Nothing happens within half a
// second of the moment when one has waited for too long.
const drainTTL = 59*time.Second + 500*time.Millisecond

var drainSubs = []relay.Subscription{
	{Filter: "t/#", QoS: 2, Drain: &relay.Drain{Rank: 4, TTL: drainTTL}},
	{Filter: "t/ever", QoS: 1, Drain: &relay.Drain{Rank: 3}},
	{Filter: "t/last/+", QoS: 2, Drain: &relay.Drain{Rank: 1, Latest: true}},
	{Filter: "t/never", QoS: 2, Drain: &relay.Drain{Rank: 2, Never: true}},
}

// drained is a message in the model.
type drained struct {
	n     int
	topic string
	qos   byte
	due   time.Time // when it has waited too long; zero: never
	last  bool      // not sent if there is a newer one
	id    uint16    // when it has been sent
	half  bool      // PUBREC has been sent
	fresh bool      // sent on this connection
}

// drainModel is the plain model of one session that is drained: a list.
type drainModel struct {
	queue, flying []*drained
	window        int // 0 while the client is away
	lost          int
}

// pump is what the client must get now.
func (m *drainModel) pump() (want []*drained) {
	if m.window == 0 {
		return nil
	}
	sent := 0
	for _, d := range m.flying {
		if d.fresh {
			sent++
		}
	}
	for _, d := range m.flying {
		if sent < m.window && !d.fresh {
			d.fresh = true
			sent++
			want = append(want, d)
		}
	}
	for len(m.queue) > 0 && sent < m.window {
		d := m.queue[0]
		m.queue = m.queue[1:]
		if m.gone(d) {
			m.lost++
			continue
		}
		d.fresh = true
		sent++
		m.flying = append(m.flying, d)
		want = append(want, d)
	}
	return want
}

// gone reports whether d, which waits no more, is not to be sent.
func (m *drainModel) gone(d *drained) bool {
	newer := func(o *drained) bool { return o.topic == d.topic }
	return !d.due.IsZero() && time.Now().After(d.due) || d.last && slices.ContainsFunc(m.queue, newer)
}

// drainRun is a broker beside the model.
type drainRun struct {
	*world
	model      drainModel
	sub        *client
	pub, other *client
	published  int
	before     uint64 // drops, when the process began
	lost       uint64 // drops of the processes before
	trouble    string
}

func (r *drainRun) wrong(format string, args ...any) {
	if r.trouble == "" {
		r.trouble = fmt.Sprintf(format, args...) + "\nafter\n  " + strings.Join(r.script, "\n  ")
	}
}

func (r *drainRun) publish(topic string, qos byte) {
	r.published++
	n := r.published
	r.note("%v publish %d on %s at QoS %d", r.now(), n, topic, qos)
	r.pub.publish(topic, strconv.Itoa(n), qos, uint16(n))
	if qos == 2 {
		r.pub.ack(wire.PUBREL, uint16(n))
	}
	d := &drained{n: n, topic: topic, qos: qos}
	switch topic {
	case "t/never":
		return
	case "t/ever":
	case "t/last/1", "t/last/2":
		d.last = true
	default:
		d.due = time.Now().Add(drainTTL)
	}
	r.model.queue = append(r.model.queue, d)
}

func (r *drainRun) now() time.Duration { return r.store.Clock().Round(time.Millisecond) }

// look compares what has come with what the model says.
func (r *drainRun) look() {
	r.settle()
	want := r.model.pump()
	var got, expected []string
	if r.sub != nil {
		for rest := r.sub.link.take(); len(rest) > 0; {
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
				got = append(got, fmt.Sprintf("%s %s", p.Topic, p.Payload))
				for _, d := range want {
					if strconv.Itoa(d.n) == string(p.Payload) {
						d.id = p.PacketID
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
	}
	for _, d := range want {
		if d.half {
			expected = append(expected, fmt.Sprintf("PUBREL %d", d.n))
		} else {
			expected = append(expected, fmt.Sprintf("%s %d", d.topic, d.n))
		}
	}
	if !slices.Equal(got, expected) {
		r.wrong("%v: got %q, want %q", r.now(), got, expected)
	}
}

func (r *drainRun) connect(window int) {
	if r.sub != nil {
		return
	}
	r.note("%v connect, window %d", r.now(), window)
	c := kept("sub", 0xFFFFFFFF)
	c.ReceiveMaximum = uint16(window)
	r.sub = r.client(c)
	r.model.window = window
}

func (r *drainRun) disconnect() {
	if r.sub == nil {
		return
	}
	r.note("%v disconnect", r.now())
	r.sub.leave()
	r.away()
}

func (r *drainRun) away() {
	r.sub, r.model.window = nil, 0
	for _, d := range r.model.flying {
		d.fresh = false
	}
}

// ack acknowledges the first message in flight, at QoS 2 in one step or in two.
func (r *drainRun) ack(half bool) {
	if r.sub == nil || len(r.model.flying) == 0 || !r.model.flying[0].fresh {
		return
	}
	d := r.model.flying[0]
	r.note("%v ack %d, half %v", r.now(), d.n, half)
	if d.qos == 1 {
		r.sub.ack(wire.PUBACK, d.id)
	} else {
		if !d.half {
			r.sub.ack(wire.PUBREC, d.id)
			r.sub.link.take() // PUBREL
			d.half = true
			if half {
				return
			}
		}
		r.sub.ack(wire.PUBCOMP, d.id)
	}
	r.model.flying = r.model.flying[1:]
}

func (r *drainRun) restart(kill bool) {
	r.note("%v restart, killed %v", r.now(), kill)
	if kill {
		r.other.publish("other", "x", 1, 1) // all before is stable, and the clock with it
	}
	r.lost += r.dropped() - r.before // a count that is not stored yet is lost with the process
	disk := r.disk
	if kill {
		disk = r.disk.Kill()
	}
	r.stop()
	r.disk = disk
	r.away()
	r.start()
	r.before = r.dropped()
	r.begin()
}

func (r *drainRun) dropped() uint64 {
	drops := r.relay.Drops()
	return drops[relay.DropExpired.String()] + drops[relay.DropSuperseded.String()]
}

// begin connects all but the session that is looked at.
func (r *drainRun) begin() {
	r.other = r.client(kept("other", 0xFFFFFFFF))
	r.other.subscribe(relay.Subscription{Filter: "other", QoS: 1})
	r.pub = r.client(kept("pub", 0xFFFFFFFF))
}

func (r *drainRun) step(op byte) {
	topics := []string{"t/a", "t/last/1", "t/ever", "t/last/2", "t/never", "t/last/1", "t/last/2", "t/b"}
	switch op % 16 {
	case 0, 1, 2, 3, 4, 5:
		for i := range 1 + int(op/16)%5 {
			r.publish(topics[(int(op/16)+i*int(op%16))%8], 1+op/16%2)
			r.look()
		}
	case 6, 7:
		pass([]time.Duration{time.Second, 7 * time.Second, 30 * time.Second, 61 * time.Second}[op/16%4])
	case 8:
		r.connect(1 + int(op/16)%5)
	case 9:
		r.disconnect()
	case 10, 11, 12:
		for range 1 + int(op/16)%4 {
			r.ack(op&1 == 1)
			r.look()
		}
	case 13:
		r.note("%v checkpoint", r.now())
		if err := r.store.Journal().Checkpoint(func() error { r.relay.Snapshot(); return nil }); err != nil {
			r.wrong("checkpoint: %v", err)
		}
	default:
		r.restart(op%16 == 15)
	}
	r.look()
	r.balanced()
}

// What is drained with a time to live, as the latest of its topic, or not at all, comes as a plain list says,
// whatever connection, broker or block on disk comes between.
func TestDrain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spill := rapid.SampledFrom([]int64{1 << 20, 900, 4000}).Draw(rt, "spill")
		ops := rapid.SliceOfN(rapid.Byte(), 1, 120).Draw(rt, "ops")
		var trouble string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, func(c *relay.Config, o *store.Options) {
				c.SpillBytes, o.SegmentSize = spill, 16<<10
			})
			r := &drainRun{world: w}
			w.start()
			r.begin()
			sub := r.client(kept("sub", 0xFFFFFFFF))
			sub.subscribe(drainSubs...)
			sub.leave()
			for _, op := range ops {
				if r.trouble == "" {
					r.step(op)
				}
			}
			r.connect(5)
			for r.look(); r.trouble == "" && len(r.model.queue)+len(r.model.flying) > 0; r.look() {
				r.ack(false)
			}
			if lost := r.lost + r.dropped() - r.before; r.trouble == "" && int(lost) != r.model.lost {
				r.wrong("%v were dropped; want %d", lost, r.model.lost)
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
