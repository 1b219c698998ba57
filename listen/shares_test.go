package listen

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// large is a PUBLISH of about n bytes.
func large(n int) []byte { return publish(wire.V5, 0, 0, make([]byte, n)) }

// sharing is a rig in a bubble whose connections share limit bytes for input.
func sharing(t *testing.T, limit int64) *rig {
	return newRig(t, Options{Limits: Limits{MaxInputBytes: limit, MaxPacketSize: 1 << 20}}, &fakeServer{})
}

// over ends what the rig has left and sees that nothing is held any more.
func (r *rig) over() {
	r.Helper()
	for _, c := range r.gate.Conns() {
		c.Kick(wire.ServerShuttingDown, EndServerShutdown)
	}
	synctest.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	g := r.gate
	if n := len(g.Conns()); n > 0 || g.input.used != 0 || len(g.input.holders)+len(g.input.waiting) > 0 || g.input.favourite != nil || g.input.timer != nil {
		r.Errorf("%d connections, and of the input %+v is left", n, &g.input)
	}
	if g.outbound.Load() != 0 || g.connects.Load() != 0 || g.strange.Len() != 0 || g.unauthBytes.Load() != 0 {
		r.Errorf("%d bytes outbound, %d of CONNECTs, %d strangers are left", g.outbound.Load(), g.connects.Load(), g.strange.Len())
	}
}

// messages is how many message frames have been received.
func (r *rig) messages() (n int) {
	for _, l := range r.log.all() {
		if bytes.HasPrefix([]byte(l), []byte("message")) {
			n++
		}
	}
	return n
}

// part writes b in the background: nobody may be reading.
func (c *client) part(b []byte) { go func() { _, _ = c.Write(b) }() }

func TestInputWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 200_000
		r := sharing(t, 300_000)
		frame := large(size)
		var clients []*client
		for range 20 {
			c := r.pipe().connect(v5(""))
			c.part(frame[:size-1])
			clients = append(clients, c)
			synctest.Wait()
		}
		if used := r.gate.input.total(); used > 300_000+size+100 {
			t.Errorf("%d bytes are held for parts of packets", used)
		}
		small := r.pipe().connect(v5("small"))
		small.send(publish(wire.V5, 0, 0, []byte("hello")), pingreq)
		if f := small.frame(); f.Type != wire.PINGRESP || r.messages() != 1 {
			t.Errorf("a client with small packets got %v, %d messages were received", f.Type, r.messages())
		}
		for _, c := range clients { // those who wait send their ends, too, as soon as they are read
			c.part(frame[size-1:])
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := r.messages(); n != 21 {
			t.Errorf("%d of 21 packets have arrived", n)
		}
		if used := r.gate.input.total(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
		r.over()
	})
}

// Who holds memory that others wait for, and does not go on, is disconnected.
func TestInputTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 200_000
		r := sharing(t, 300_000)
		frame := large(size)
		var stuck []*client
		for range 3 {
			c := r.pipe().connect(v5(""))
			c.part(frame[:size-1])
			stuck = append(stuck, c)
			synctest.Wait()
		}
		first := make(chan wire.Reason)
		go func() { first <- stuck[0].disconnected() }()
		good := r.pipe().connect(v5("good"))
		good.part(append(bytes.Clone(frame), pingreq...))
		began := time.Now()
		if f := good.frame(); f.Type != wire.PINGRESP {
			t.Errorf("got %v", f.Type)
		}
		if d := time.Since(began); d > 3*(frameTime+2*shareTick) {
			t.Errorf("the good client waited for %v", d)
		}
		if got := <-first; got != wire.QuotaExceeded {
			t.Errorf("the first one was told %v", got)
		}
		if n := r.gate.Totals().Evicted; n == 0 || n > 3 {
			t.Errorf("%d were ended", n)
		}
		if e := r.end(); e.word != EndMemory {
			t.Errorf("it ended with %q", e.word)
		}
		r.over()
	})
}

// Where nobody waits, a slow client has all the time that it wants.
func TestInputMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sharing(t, 300_000)
		c := r.pipe().connect(v5(""))
		frame := large(200_000)
		for len(frame) > 1000 {
			c.send(frame[:1000])
			frame = frame[1000:]
			time.Sleep(time.Second)
		}
		c.send(frame, pingreq)
		if f := c.frame(); f.Type != wire.PINGRESP || r.messages() != 1 {
			t.Errorf("got %v and %d messages", f.Type, r.messages())
		}
		r.over()
	})
}

// Clients that send one large packet after the other are not taken for one that
// does not go on, even if there is always one on its way.
func TestInputStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, clients, packets = 50_000, 8, 40
		r := sharing(t, 100_000)
		frame := large(size)
		for range clients {
			c := r.pipe().connect(v5(""))
			go func() {
				stream := bytes.Repeat(frame, packets)
				for len(stream) > 0 {
					n := min(len(stream), 7001)
					if _, err := c.Write(stream[:n]); err != nil {
						return
					}
					stream = stream[n:]
					time.Sleep(200 * time.Millisecond)
				}
			}()
		}
		for range 600 {
			time.Sleep(time.Second)
			synctest.Wait()
			if used := r.gate.input.total(); used > 100_000+2*size {
				t.Fatalf("%d bytes are held", used)
			}
		}
		if n := r.messages(); n != clients*packets || r.gate.Totals().Evicted != 0 {
			t.Errorf("%d of %d packets have arrived, %d clients were ended", n, clients*packets, r.gate.Totals().Evicted)
		}
		r.over()
	})
}

// Whatever clients send, stop sending or take back, all is accounted for, and
// those that complete their packets get them through.
func TestInputProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Int64Range(5_000, 200_000).Draw(rt, "limit")
		type plan struct {
			sizes []int
			stop  int // bytes before the end at which it stops, 0: it does not
			leave bool
		}
		var plans []plan
		for range rapid.IntRange(1, 12).Draw(rt, "clients") {
			plans = append(plans, plan{
				rapid.SliceOfN(rapid.IntRange(10, 90_000), 1, 5).Draw(rt, "sizes"),
				rapid.SampledFrom([]int{0, 0, 1, 3000}).Draw(rt, "stop"),
				rapid.Bool().Draw(rt, "leave")})
		}
		synctest.Test(t, func(t *testing.T) {
			r := sharing(t, limit)
			want := 0
			for _, p := range plans {
				c := r.pipe().connect(v5(""))
				var b []byte
				for _, n := range p.sizes {
					b = append(b, large(n)...)
				}
				if p.stop == 0 {
					want += len(p.sizes)
				} else {
					b = b[:max(0, len(b)-p.stop)]
				}
				go func() {
					_, _ = c.Write(b)
					if p.leave && p.stop > 0 {
						c.Close()
					}
				}()
			}
			for range 80 {
				synctest.Wait()
				if used := r.gate.input.total(); used > limit+200_000 {
					t.Fatalf("%d bytes are held, the limit is %d", used, limit)
				}
				time.Sleep(time.Second)
			}
			if n := r.messages(); n < want {
				t.Errorf("%d packets have arrived, %d were sent whole by those who went on", n, want)
			}
			r.over()
		})
	})
}
