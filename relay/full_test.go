package relay_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func (s *store) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// filling starts a relay with the given policy. It is to be used in a synctest
// bubble.
func filling(t *testing.T, policy relay.Policy, change func(*relay.Config)) (*broker, *store) {
	s := &store{}
	b := openBroker(t, func(c *relay.Config) {
		c.WhenFull = policy
		if change != nil {
			change(c)
		}
	}, s)
	t.Cleanup(b.Close)
	return b, s
}

func TestFullStoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := filling(t, relay.Refuse, nil)
		sub, brief, pub := b.connect("sub", kept), b.connect("brief"), b.connect("pub")
		sub.sub(2, "t")
		brief.sub(2, "brief")
		s.setFull(true)
		quota := wire.QuotaExceeded.String()
		pub.pub(1, "t=1")
		pub.pub(2, "t=2")
		pub.wants("PUBACK #1 "+quota, "PUBREC #2 "+quota)
		pub.pub(0, "t=0") // QoS 0 is not stored
		sub.wants("PUBLISH q0 t=0")
		pub.pub(1, "brief=3") // nor is what ends with a connection
		pub.wants("PUBACK #3")
		brief.wants("PUBLISH q1 #2 brief=3")
		pub.publish(message{topic: "r", payload: "x", retain: true, qos: 1})
		pub.publish(message{topic: "r", retain: true, qos: 1}) // makes room, if anything
		pub.wants("PUBACK #4 "+quota, "PUBACK #5 "+wire.NoMatchingSubscribers.String())
		s.setFull(false)
		pub.publish(message{topic: "t", payload: "4", qos: 2, id: 2}) // the exchange had ended
		pub.wants("PUBREC #2")
		sub.wants("PUBLISH q2 #2 t=4")
		if n := b.Totals().Refused; n != 3 {
			t.Errorf("%d refused; want 3", n)
		}
		b.drops("no_subscribers 1")
	})
}

// A 3.x client has no answer that says no: it is held back.
func TestFullStoreHoldsBack(t *testing.T) {
	start := func(t *testing.T, qos byte) (b *broker, s *store, sub, pub *client, ended chan error) {
		b, s = filling(t, relay.Refuse, func(c *relay.Config) { c.RefuseWait = 10 * time.Second })
		sub, pub = b.connect("sub", kept), b.connect("pub", v3)
		sub.sub(2, "t")
		s.setFull(true)
		ended = make(chan error, 1)
		go func() { ended <- pub.feed(pub.frame(message{topic: "t", payload: "1", qos: qos})) }()
		return
	}
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("until there is room, QoS %d", qos), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s, sub, pub, ended := start(t, qos)
				time.Sleep(9 * time.Second)
				select {
				case err := <-ended:
					t.Fatalf("not held back: %v", err)
				default:
				}
				pub.wants()
				s.setFull(false)
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				pub.port.Flush()
				pub.wants([]string{"PUBACK #1", "PUBREC #1"}[qos-1])
				sub.wants(fmt.Sprintf("PUBLISH q%d #2 t=1", qos))
			})
		})
		t.Run(fmt.Sprintf("not for ever, QoS %d", qos), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s, sub, pub, ended := start(t, qos)
				began := time.Now()
				var refused *wire.Error
				if err := <-ended; !errors.As(err, &refused) || refused.Reason != wire.QuotaExceeded {
					t.Fatalf("ended with %v", err)
				}
				if d := time.Since(began); d < 10*time.Second || d > 11*time.Second {
					t.Errorf("held back for %v", d)
				}
				pub.end()
				pub.wants()
				s.setFull(false)
				pub = b.connect("pub", v3)
				pub.publish(message{topic: "t", payload: "1", qos: qos, id: 1, dup: true}) // it has not been received
				sub.wants(fmt.Sprintf("PUBLISH q%d #2 t=1", qos))
			})
		})
	}
	t.Run("not beyond its connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, _, _, pub, ended := start(t, 1)
			began := time.Now()
			pub.link.close()
			if err := <-ended; err == nil {
				t.Error("accepted")
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("waited %v for one who is gone", d)
			}
		})
	})
}

func TestFullStoreDrops(t *testing.T) {
	for _, c := range []struct {
		name    string
		policy  relay.Policy
		waiting int
		want    string
		drops   []string
	}{
		{"drop oldest gives two for one", relay.DropOldest, 5, "2 3 4 x", []string{"queue_full 2"}},
		{"drop oldest has only one", relay.DropOldest, 1, "0", []string{"store_full 1"}},
		{"drop newest", relay.DropNewest, 5, "0 1 2 3 4", []string{"store_full 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s := filling(t, c.policy, nil)
				sub, pub := b.connect("sub", kept), b.connect("pub")
				sub.sub(1, "t")
				sub.end()
				pub.pub(1, numbered("t", 0, c.waiting)...)
				pub.take()
				s.setFull(true)
				pub.publish(message{topic: "t", payload: "x", qos: 1, id: 77})
				pub.wants("PUBACK #77")
				if got := payloads(b.connect("sub", kept).drained()); got != c.want {
					t.Errorf("got %s; want %s", got, c.want)
				}
				b.drops(c.drops...)
				b.empty()
			})
		})
	}
}

// A session that may lose nothing refuses for itself alone.
func TestStuffedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := filling(t, relay.Refuse, func(c *relay.Config) { c.MaxQueued = 3 })
		sub, other, pub := b.connect("sub", kept), b.connect("other", kept), b.connect("pub")
		sub.sub(1, "t")
		other.sub(1, "u")
		sub.end()
		pub.pub(1, "t=0", "t=1", "t=2", "t=3", "u=4")
		pub.wants("PUBACK #1", "PUBACK #2", "PUBACK #3", "PUBACK #4 "+wire.QuotaExceeded.String(), "PUBACK #5")
		other.wants("PUBLISH q1 #2 u=4")
		sub = b.connect("sub", kept)
		if got := payloads(sub.drained()); got != "0 1 2" {
			t.Errorf("got %s", got)
		}
		pub.pub(1, "t=5")
		pub.wants("PUBACK #6")
		sub.wants("PUBLISH q1 #5 t=5")
		sub.disconnect()
		pub.pub(1, "t=6", "t=7", "t=8", "t=9")
		b.Discard("sub") // with it goes its veto
		pub.pub(1, "t=9")
		got := pub.take()
		if last := got[len(got)-1]; last.reason != wire.NoMatchingSubscribers {
			t.Errorf("after its end: %v", last)
		}
		b.drops("discarded 4", "no_subscribers 1")
	})
}

// The store may tell of a failure while the client goes on sending.
func TestStoreFailsWhileMessagesCome(t *testing.T) {
	b, s := newStored(t)
	sub, pub := b.connect("sub", kept), b.connect("pub", kept)
	sub.sub(2, "t")
	s.hold = true
	pub.publish(message{topic: "t", payload: "x", qos: 2, id: 9})
	told := make(chan struct{})
	go func() { s.release(errors.New("disk on fire")); close(told) }()
	for i := range 100 {
		pub.publish(message{topic: "t", payload: fmt.Sprint(i), qos: 1, id: uint16(100 + i)})
	}
	<-told
	if pub.link.kicks == 0 {
		t.Error("the publisher was not kicked")
	}
}
