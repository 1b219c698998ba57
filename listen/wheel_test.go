package listen

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/wire"
)

// sign is a packet of one of the clients, some time after the one before.
type sign struct {
	pause  time.Duration
	client int
	stirs  bool // more than a PINGREQ
}

// TestKeepAliveModel has clients of all keep alives show signs of life or none,
// with rests in between, and holds each end against when it had to be.
func TestKeepAliveModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keepAlives := rapid.SliceOfN(rapid.SampledFrom([]uint16{1, 2, 5, 60, 300, 600, 3600}), 1, 6).Draw(rt, "keep alives")
		signs := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) sign {
			most := rapid.SampledFrom([]int{100, 2500, 60_000, 400_000}).Draw(rt, "most")
			return sign{
				pause:  time.Duration(rapid.IntRange(0, most).Draw(rt, "ms")) * time.Millisecond,
				client: rapid.IntRange(0, len(keepAlives)-1).Draw(rt, "client"),
				stirs:  rapid.Bool().Draw(rt, "stirs"),
			}
		}), 0, 60).Draw(rt, "signs")
		var wrong error
		synctest.Test(t, func(t *testing.T) { wrong = keepAlive(newRig(t, Options{}, &fakeServer{}), keepAlives, signs) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// keepAlive says which client was ended at a time when it had not to be.
func keepAlive(r *rig, keepAlives []uint16, signs []sign) error {
	ends := make([]time.Time, len(keepAlives))
	last := make([]time.Time, len(keepAlives))
	var clients []*client
	var all sync.WaitGroup
	for i, k := range keepAlives {
		con := v311(fmt.Sprint("c", i))
		con.KeepAlive = k
		c := r.pipe().connect(con)
		last[i] = time.Now()
		clients = append(clients, c)
		all.Go(func() {
			c.rest()
			ends[i] = time.Now()
		})
	}
	for _, s := range signs {
		time.Sleep(s.pause)
		synctest.Wait()
		if !ends[s.client].IsZero() {
			continue
		}
		last[s.client] = time.Now()
		packet := pingreq
		if s.stirs {
			packet = publish(wire.V311, 0, 0, nil)
		}
		if _, err := clients[s.client].Write(packet); err != nil {
			return fmt.Errorf("client %d has ended unnoticed: %w", s.client, err)
		}
		synctest.Wait()
	}
	all.Wait()
	for i, k := range keepAlives {
		silent, limit := ends[i].Sub(last[i]), time.Duration(k)*time.Second*3/2
		if silent < limit || silent > limit+3*tick {
			return fmt.Errorf("client %d, keep alive %d s, was ended after %v of silence", i, k, silent)
		}
	}
	r.gate.wheel.wait()
	return nil
}

// TestWheelRests counts how often 100 clients that only show that they are there
// have the wheel turn.
func TestWheelRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := rest.New()
		r := newRig(t, Options{Rest: shared}, &fakeServer{})
		var clients []*client
		for i := range 100 {
			con := v311(fmt.Sprint("c", i))
			con.KeepAlive = 600
			clients = append(clients, r.pipe().connect(con))
		}
		time.Sleep(5 * time.Second)
		before := shared.Wakes()
		for i := range 1000 { // one in 6 s, each client one in 10 minutes: 100 minutes
			c := clients[i%len(clients)]
			c.send(pingreq)
			c.frame()
			time.Sleep(6 * time.Second)
		}
		// A client has at least a third of its 15 minutes left, so the first of all is
		// due at most every five minutes.
		if n := shared.Wakes() - before; n > 20+2 {
			t.Errorf("%d wake-ups in 100 minutes of pings", n)
		}
		for _, c := range clients {
			c.send(disconnect)
			r.end()
		}
		r.gate.wheel.wait()
	})
}

// askOften has the tick moved on.
func askOften(w *wheel) {
	for range 2 * manyAsk {
		w.tick()
	}
}

// TestWheelSpells: the tick is moved on while many ask for it, and only then.
func TestWheelSpells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := rest.New()
		r := newRig(t, Options{Rest: shared}, &fakeServer{})
		con := v311("c")
		con.KeepAlive = 600
		c := r.pipe().connect(con)
		talk := func(pause time.Duration) uint64 {
			before := shared.Wakes()
			for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(pause) {
				c.send(publish(wire.V311, 0, 0, nil))
				synctest.Wait()
			}
			return shared.Wakes() - before
		}
		if n := talk(20 * time.Millisecond); n > 1 {
			t.Errorf("50 messages a second have woken it %d times in a minute", n)
		}
		if n := talk(200 * time.Microsecond); n < 280 {
			t.Errorf("5000 messages a second have moved the tick on %d times in a minute", n)
		}
		time.Sleep(spellLasts * tick)
		if n := talk(20 * time.Millisecond); n > 1 {
			t.Errorf("afterwards 50 a second have woken it %d times in a minute", n)
		}
		c.send(disconnect)
		r.end()
		r.gate.wheel.wait()
	})
}

// stalled is a wheel that a test turns by hand.
func stalled(conns ...*Conn) *wheel {
	w := newWheel(rest.New())
	w.running, w.job = true, w.rest.Job(0)
	for _, c := range conns {
		c.alive.conn = c
		w.add(&c.alive, 1500*time.Millisecond)
	}
	w.next = w.elapsed()
	w.advance()
	time.Sleep(tick)
	askOften(w)
	w.advance() // so what was heard at first was not heard in the last tick
	return w
}

// TestWheelStall lets the process stand still: who was heard while nobody moved the
// tick on, or could have been but for that, is alive.
func TestWheelStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard, late, silent := new(Conn), new(Conn), new(Conn)
		w := stalled(heard, late, silent)
		if w.now.Load() == 0 {
			t.Fatal("many have asked, and nobody moves the tick on")
		}
		stamp := func(c *Conn) { c.lastSeen.Store(w.tick()) }
		time.Sleep(10 * time.Second)
		stamp(heard) // by a tick that is 50 too old
		if out, _ := w.advance(); len(out) > 0 {
			t.Errorf("%d were ended by the first look after a stall", len(out))
		}
		stamp(late) // its packet has waited
		time.Sleep(tick)
		if out, _ := w.advance(); !slices.Equal(out, []*Conn{silent}) {
			t.Errorf("ended %v, want the silent one", out)
		}
		time.Sleep(1100 * time.Millisecond)
		if out, _ := w.advance(); len(out) > 0 {
			t.Errorf("%d were ended 1.3 s after they had been heard", len(out))
		}
		for begin := time.Now(); w.count > 0; {
			if time.Since(begin) > 2*time.Second {
				t.Fatal("those who are silent now are not ended")
			}
			time.Sleep(tick)
			w.advance()
		}
	})
}

// TestWheelStallsAgain: a machine that stands still again and again ends those who
// are gone nevertheless.
func TestWheelStallsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := stalled(new(Conn))
		for range 2 {
			time.Sleep(10 * time.Second)
			if out, more := w.advance(); len(out) == 1 && !more {
				return
			}
		}
		t.Error("not ended by the second look")
	})
}

// TestIsPing: only a whole PINGREQ and nothing else lets the process rest.
func TestIsPing(t *testing.T) {
	if !isPing(pingreq) {
		t.Error("a PINGREQ is not")
	}
	for _, in := range [][]byte{nil, pingreq[:1], append(slices.Clone(pingreq), pingreq...), disconnect, {0xc1, 0}, {0xc0, 1}} {
		if isPing(in) {
			t.Errorf("%x is", in)
		}
	}
}
