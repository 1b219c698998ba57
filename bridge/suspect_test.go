package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// hangsUpAt is a far side that ends the connection at a topic, with DISCONNECT or
// without.
func hangsUpAt(v wire.Version, topic string, bye bool) func(int, wire.Frame) ([]byte, bool) {
	return func(_ int, f wire.Frame) ([]byte, bool) {
		if f.Type == wire.PUBLISH {
			if p, _ := wire.DecodePublish(f, v); string(p.Topic) == topic {
				if bye {
					return wire.AppendDisconnect(nil, wire.V5, wire.NotAuthorized, ""), true
				}
				return nil, false
			}
		}
		return nil, true
	}
}

// A far side that hangs up at one topic gets everything else, in order; what it
// hangs up at becomes dead letters with the reason, and can be replayed.
func TestFarSideHangsUpAtTopic(t *testing.T) {
	for _, tt := range []struct {
		latency time.Duration
		qos     byte
		window  uint16
		bye     bool
		v       wire.Version
	}{{50 * time.Millisecond, 1, 20, false, wire.V5}, {600 * time.Millisecond, 2, 3, false, wire.V5}, {0, 1, 0, true, wire.V5}, {200 * time.Millisecond, 2, 1, true, wire.V5},
		{100 * time.Millisecond, 1, 0, false, wire.V311}, {100 * time.Millisecond, 2, 0, false, wire.V311}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Version = tt.v })
			r.latency, r.connack.ReceiveMaximum = tt.latency, tt.window
			r.answer = hangsUpAt(tt.v, "bad", tt.bye)
			var want []string
			for i := range 60 {
				if i%15 == 7 {
					r.publish("bad", fmt.Sprint("bad ", i), tt.qos)
					continue
				}
				want = append(want, fmt.Sprint(i))
				r.publish("good", fmt.Sprint(i), tt.qos)
			}
			r.up.Start()
			defer r.stop()
			st := r.after(30 * time.Minute)
			if got := r.once(); got != strings.Join(want, " ") {
				t.Errorf("%+v: got %s", tt, got)
			}
			if st.Dead != 4 || st.Queued+st.InFlight != 0 || st.Refused != 4 || st.State != Up {
				t.Errorf("%+v: got %+v", tt, st)
			}
			list, _, err := r.up.DeadLetters()
			if err != nil || len(list) != 4 || list[0].Topic != "bad" || list[0].Why != endsAtIt || list[3].Why != endsAtTopic {
				t.Errorf("%+v: got %+v, %v", tt, list, err)
			}
			connects := st.Connects
			// Nothing more is tried at that topic, which costs the line nothing.
			r.publish("bad", "bad 60", tt.qos)
			if st = r.after(time.Minute); st.Connects != connects || st.Dead != 5 {
				t.Errorf("%+v: got %+v", tt, st)
			}
			r.locked(func() { r.answer = nil }) // it has been mended there
			if n, err := r.up.Replay(); n != 5 || err != nil {
				t.Errorf("%+v: %d replayed, %v", tt, n, err)
			}
			if st = r.after(time.Minute); st.Dead != 0 || st.Queued+st.InFlight != 0 || !strings.HasSuffix(r.once(), "bad 7 bad 22 bad 37 bad 52 bad 60") {
				t.Errorf("%+v: %+v, got %s", tt, st, r.once())
			}
			t.Logf("%+v: %d connections", tt, connects)
		})
	}
}

// A topic that was not allowed for a while is not given up for ever.
func TestProbationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.answer = hangsUpAt(wire.V5, "bad", false)
		r.publish("bad", "0", 1)
		r.publish("bad", "1", 1)
		r.up.Start()
		defer r.stop()
		if st := r.after(10 * time.Minute); st.Dead != 2 {
			t.Fatalf("got %+v", st)
		}
		r.locked(func() { r.answer = nil })
		r.after(probation)
		r.publish("bad", "2", 1)
		if st := r.after(time.Minute); st.Dead != 2 || r.once() != "2" {
			t.Errorf("got %+v, %s", st, r.once())
		}
	})
}

// lifetimes are how lines come and go.
var lifetimes = map[string]func(rnd *rand.Rand, mean time.Duration) time.Duration{
	"at random": func(rnd *rand.Rand, mean time.Duration) time.Duration {
		return time.Duration(rnd.ExpFloat64()*float64(mean)) + 1
	},
	"fixed": func(_ *rand.Rand, mean time.Duration) time.Duration { return mean },
	"evenly": func(rnd *rand.Rand, mean time.Duration) time.Duration {
		return time.Duration(rnd.Int64N(2*int64(mean))) + 1
	},
	"in bursts": func(rnd *rand.Rand, mean time.Duration) time.Duration {
		return mean/10 + time.Duration(rnd.IntN(2))*20*mean
	},
	"round trip": func(rnd *rand.Rand, mean time.Duration) time.Duration {
		return mean/4 + time.Duration(rnd.Int64N(int64(mean)/2+1))
	},
}

// However a line comes and goes, no message is taken for one that the far side
// hangs up at, and none is lost.
func TestFlappingLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for k := range lifetimes {
				if !yield(k) {
					return
				}
			}
		})).Draw(rt, "line")
		latency := time.Duration(rapid.IntRange(1, 400).Draw(rt, "ms each way")) * time.Millisecond
		mean := time.Duration(rapid.IntRange(1, 8000).Draw(rt, "ms of life")) * time.Millisecond
		qos := byte(rapid.IntRange(1, 2).Draw(rt, "qos"))
		v := rapid.SampledFrom([]wire.Version{wire.V5, wire.V311}).Draw(rt, "version")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		synctest.Test(t, func(t *testing.T) {
			r := newRig(rt, func(c *Config) { c.Version, c.Backoff.Max = v, 2*time.Second })
			r.latency = latency
			r.connack.ReceiveMaximum = 20
			r.life = func() time.Duration { return lifetimes[name](rnd, mean) }
			r.up.Start()
			defer r.stop()
			n := 0
			for range 4 {
				for range 3 {
					r.publish("t", fmt.Sprint(n), qos)
					n++
				}
				if st := r.after(20 * time.Second); st.Dead > 0 {
					rt.Fatalf("%d dead letters", st.Dead)
				}
			}
			r.locked(func() { r.life = nil })
			st := r.after(20 * time.Minute)
			if st.Dead > 0 || st.Refused > 0 || st.Queued+st.InFlight > 0 || r.once() != upTo(n) {
				rt.Fatalf("got %+v, %s", st, r.once())
			}
		})
	})
}

// A far side that takes its time before it hangs up, or does not answer at all,
// is no reason to give up what others behind it would pass by.
func TestSlowEndIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH {
				return []byte{}, true // and the uplink gives up after AckTimeout
			}
			return nil, true
		}
		r.publish("t", "0", 1)
		r.up.Start()
		defer r.stop()
		if st := r.after(3 * time.Hour); st.Dead != 0 || st.Connects < 20 {
			t.Errorf("got %+v", st)
		}
	})
}

// While one message is tried, no other goes, not even at QoS 0: that may be the
// one at which the far side hangs up.
func TestInnocentMessageIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		bad := hangsUpAt(wire.V5, "bad", false)
		blamed := 0
		r.answer = func(conn int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH {
				if p, _ := wire.DecodePublish(f, wire.V5); string(p.Topic) == "slow" && blamed < 8 {
					return []byte{}, true
				}
			}
			return bad(conn, f)
		}
		r.publish("slow", "innocent", 1)
		r.up.Start()
		defer r.stop()
		for range 200 {
			r.after(2 * time.Second)
			r.publish("bad", "x", 0)
			if r.up.Status().Connects > 12 {
				r.locked(func() { blamed = 8 })
			}
		}
		if st := r.after(10 * time.Minute); st.Dead != 0 || r.once() != "innocent" {
			t.Errorf("got %+v, %s", st, r.once())
		}
	})
}
