package bridge

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// A line, or a far side, that is slow and gets on is not given up: the time for
// an answer counts from when a message is the next to be answered.
func TestSlowFarSide(t *testing.T) {
	inBoth(t, func(t *testing.T, v wire.Version) {
		r := newRig(t, func(c *Config) { c.Version = v })
		r.connack.ReceiveMaximum = 50
		free := time.Now()
		r.delay = func(f wire.Frame) time.Duration {
			if f.Type != wire.PUBLISH {
				return 0
			}
			if free.Before(time.Now()) {
				free = time.Now()
			}
			free = free.Add(5 * time.Second)
			return time.Until(free)
		}
		for i := range 100 {
			r.publish("t", fmt.Sprint(i), 1)
		}
		r.up.Start()
		defer r.stop()
		st := r.after(9 * time.Minute)
		if st.Connects != 1 || st.Queued+st.InFlight != 0 || r.once() != upTo(100) || st.State != Up {
			t.Errorf("got %+v", st)
		}
	})
}

// A message that is swallowed is noticed, also while those behind it are answered.
func TestSwallowedAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		swallowed := false
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH && !swallowed {
				swallowed = true
				return []byte{}, true
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		for i := range 60 {
			r.publish("t", fmt.Sprint(i), 1)
			r.after(time.Second)
		}
		if st := r.after(time.Minute); st.Connects != 2 || st.Queued+st.InFlight != 0 || st.Acked != 60 {
			t.Errorf("got %+v", st)
		}
	})
}

// What a connection that does not read has not taken is not waited for as if it
// had: writing has a time of its own.
func TestUnwrittenIsNotUnanswered(t *testing.T) {
	up := passing(Config{Rules: Rules{{Direction: Out, Filter: "#", QoS: 2}}})
	o := newOutbox(up, accepts{maxQoS: 2})
	o.flewLocked(1, nil, 0)
	if age, n := o.oldest(); age != 0 || n != 1 {
		t.Errorf("%d messages, the oldest for %v", n, age)
	}
	o.buf = []byte("x")
	b, _, _ := o.next()
	if age, _ := o.oldest(); age != 0 {
		t.Errorf("it is being written and unanswered for %v", age)
	}
	o.flewLocked(2, nil, 0)
	o.written(b)
	if o.flying[1].at == 0 || o.flying[2].at != 0 {
		t.Errorf("written: %v", o.flying)
	}
	if f := o.acked(frame{kind: wire.PUBACK, id: 1}); len(f) != 1 {
		t.Errorf("got %v", f)
	}
	if age, n := o.oldest(); age != 0 || n != 1 {
		t.Errorf("%d messages, the oldest for %v", n, age)
	}
}

// A far side that has gone without a word is noticed within two keep alives.
func TestHalfOpen(t *testing.T) {
	inBoth(t, func(t *testing.T, v wire.Version) {
		r := newRig(t, func(c *Config) { c.Version = v })
		gone := false
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if gone {
				return []byte{}, true
			}
			return nil, true
		}
		r.latency = 200 * time.Millisecond
		r.up.Start()
		defer r.stop()
		if st := r.after(time.Hour); st.State != Up || st.Connects != 1 {
			t.Errorf("got %+v", st)
		}
		r.locked(func() { gone = true })
		for range 62 {
			if st := r.after(time.Second); st.State != Up {
				if st.Why != errSilence.Error() {
					t.Errorf("got %+v", st)
				}
				return
			}
		}
		t.Error("it is still up")
	})
}
