package bridge

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// inBoth runs f for MQTT 5 and 3.1.1.
func inBoth(t *testing.T, f func(*testing.T, wire.Version)) {
	for _, v := range []wire.Version{wire.V5, wire.V311} {
		synctest.Test(t, func(t *testing.T) { f(t, v) })
	}
}

func withCanary(c *Config) { c.Canary = Canary{Every: 5 * time.Minute, Topic: "gw/canary"} }

// An uplink is up when a canary was answered; canaries go in silence only.
func TestCanary(t *testing.T) {
	inBoth(t, func(t *testing.T, v wire.Version) {
		r := newRig(t, func(c *Config) { withCanary(c); c.Version = v })
		r.latency = 100 * time.Millisecond
		r.up.Start()
		defer r.stop()
		if st := r.after(300 * time.Millisecond); st.State != Connecting || r.canaries() != 1 {
			t.Errorf("it is %s after %d canaries, and none was answered", st.State, r.canaries())
		}
		st := r.after(time.Second)
		if st.State != Up || st.LastTrip.Took != 200*time.Millisecond || st.Canaries != 1 {
			t.Errorf("got %+v", st)
		}
		for range 60 {
			r.publish("t", "x", 1)
			if st = r.after(time.Minute); time.Since(st.LastTrip.At) > time.Minute {
				t.Fatalf("a message has made no round trip: %+v", st)
			}
		}
		if st.Canaries != 1 || st.Acked != 60 || st.Sent != 60 {
			t.Errorf("%d canaries in an hour with messages; %d of %d acknowledged", st.Canaries, st.Acked, st.Sent)
		}
		if st = r.after(time.Hour); st.Canaries < 11 || st.Canaries > 13 || st.State != Up || r.topic[5] != "gw/canary" {
			t.Errorf("%d canaries in an hour of silence, to %v: %+v", st.Canaries, r.topic, st)
		}
		if st.Acked != 60 || st.Sent != 60 || st.Queued+st.InFlight+st.Dead != 0 || st.Connects != 1 {
			t.Errorf("canaries are counted as messages: %+v", st)
		}
	})
}

// A canary takes no place that the far side has not: it may allow one message.
func TestCanaryKeepsToTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCanary)
		r.connack.ReceiveMaximum = 1
		open, most := 0, 0
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH {
				open++
				most = max(most, open)
				time.AfterFunc(900*time.Millisecond, func() { r.locked(func() { open-- }) })
			}
			return nil, true
		}
		r.latency = 500 * time.Millisecond
		r.up.Start()
		defer r.stop()
		for range 20 {
			r.publish("t", "x", 1)
			r.publish("t", "x", 2)
			r.after(6 * time.Minute)
		}
		if st := r.up.Status(); most != 1 || st.Canaries < 15 || st.Queued+st.InFlight != 0 {
			t.Errorf("%d messages at once, %+v", most, st)
		}
	})
}

// A far side that lets one in and swallows what is published is not up, however
// well it answers PINGREQ.
func TestCanarySwallowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCanary)
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH {
				return []byte{}, true
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		for range 100 {
			if st := r.after(10 * time.Second); st.State == Up {
				t.Fatalf("it is up: %+v", st)
			}
		}
		st := r.up.Status()
		if !strings.Contains(st.LastError, "has not answered about a message") && !strings.Contains(st.Why, "no answer") || st.Connects < 3 {
			t.Errorf("got %+v", st)
		}
	})
}

// A refusal is an answer. It is said, and is nobody's dead letter.
func TestCanaryRefused(t *testing.T) {
	for _, reason := range []wire.Reason{wire.NotAuthorized, wire.QuotaExceeded} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, withCanary)
			r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
				if f.Type == wire.PUBLISH {
					if p, _ := wire.DecodePublish(f, wire.V5); string(p.Topic) == "gw/canary" {
						return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, reason), true
					}
				}
				return nil, true
			}
			r.up.Start()
			defer r.stop()
			st := r.after(time.Second)
			if st.State != Up || st.LastTrip.At.IsZero() || !strings.Contains(st.CanaryNote, reason.String()) {
				t.Errorf("got %+v", st)
			}
			r.publish("t", "0", 1)
			if st = r.after(20 * time.Minute); st.State != Up || st.Refused+st.Dropped != 0 || st.Dead != 0 || st.Connects != 1 || r.once() != "0" {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// A far side that hangs up at canaries has its way: there are none for an hour,
// and messages pass.
func TestCanaryHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCanary)
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PUBLISH {
				p, _ := wire.DecodePublish(f, wire.V5)
				return nil, string(p.Topic) != "gw/canary"
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		st := r.after(time.Minute)
		if st.State != Up || st.Connects != 4 || !strings.Contains(st.CanaryNote, "canary.topic") {
			t.Errorf("got %+v", st)
		}
		r.publish("t", "0", 1)
		if st = r.after(50 * time.Minute); st.State != Up || st.Connects != 4 || st.Queued+st.InFlight+st.Dead != 0 || r.once() != "0" {
			t.Errorf("got %+v", st)
		}
	})
}

// When the far side goes away, which only a canary can show, it is noticed.
func TestCanaryNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCanary)
		deaf := false
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if deaf && f.Type == wire.PUBLISH {
				return []byte{}, true
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		if st := r.after(time.Minute); st.State != Up {
			t.Fatalf("got %+v", st)
		}
		r.locked(func() { deaf = true })
		if st := r.after(6 * time.Minute); st.State == Up {
			t.Errorf("got %+v", st)
		}
		r.locked(func() { deaf = false })
		if st := r.after(5 * time.Minute); st.State != Up || st.CanaryNote != "" {
			t.Errorf("got %+v", st)
		}
	})
}
