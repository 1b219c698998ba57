package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func (s *store) setRoom(room relay.Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = room
}

// filling starts a relay with the given policy. It is to be used in a synctest
// bubble.
func filling(t *testing.T, policy relay.Policy, change func(*relay.Config)) (*broker, *store) {
	s := &store{}
	b := openBroker(t, func(c *relay.Config) {
		c.Queue.WhenFull = policy
		if change != nil {
			change(c)
		}
	}, s)
	t.Cleanup(b.finish)
	return b, s
}

func TestFullStoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := filling(t, relay.Refuse, nil)
		sub, brief, pub := b.connect("sub", kept), b.connect("brief"), b.connect("pub")
		sub.sub(2, "t")
		brief.sub(2, "brief")
		s.setRoom(relay.Full)
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
		s.setRoom(relay.Ample)
		pub.publish(message{topic: "t", payload: "4", qos: 2, id: 2}) // the exchange had ended
		pub.wants("PUBREC #2")
		sub.wants("PUBLISH q2 #2 t=4")
		if n := b.Totals().Refused; n != 3 {
			t.Errorf("%d refused; want 3", n)
		}
		b.drops("no_subscribers 1")
	})
}

// A 3.x client has no answer that says no: its messages are held back.
func TestFullStoreHoldsBack(t *testing.T) {
	for _, room := range []relay.Room{relay.Full, relay.Broken} {
		start := func(t *testing.T) (b *broker, s *store, sub, pub *client) {
			b, s = filling(t, relay.Refuse, func(c *relay.Config) { c.RefuseWait = 10 * time.Second })
			sub, pub = b.connect("sub", kept), b.connect("pub", v3)
			sub.sub(2, "t")
			s.setRoom(room)
			pub.pub(1, "t=1")
			pub.pub(2, "t=2", "t=3")
			pub.pub(0, "u=0")
			pub.pub(1, "u=4") // stays behind those before it
			return
		}
		t.Run(fmt.Sprintf("until there is room/%d", room), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s, sub, pub := start(t)
				pass(9 * time.Second)
				pub.publish(message{topic: "t", payload: "2", qos: 2, id: 2, dup: true}) // nobody has said that it came
				pub.wants()
				sub.wants()
				s.setRoom(relay.Ample)
				pass(time.Second)
				pub.wants("PUBACK #1", "PUBREC #2", "PUBREC #3", "PUBACK #4", "PUBREC #2")
				acked := sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2", "PUBLISH q2 #4 t=3")
				pub.pub(1, "t=5")
				pub.wants("PUBACK #5")
				acked = append(acked, sub.wants("PUBLISH q1 #5 t=5")...)
				sub.acknowledges(acked)
				sub.acknowledges(sub.take())
				b.empty()
			})
		})
		t.Run(fmt.Sprintf("not for ever/%d", room), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s, sub, pub := start(t)
				pass(9900 * time.Millisecond)
				if n, _ := pub.link.kickedBy(); n > 0 {
					t.Error("kicked too soon")
				}
				pass(200 * time.Millisecond)
				if n, why := pub.link.kickedBy(); n != 1 || why != "store_full" {
					t.Errorf("kicked %d times: %q", n, why)
				}
				s.setRoom(relay.Ample)
				pub.feed(pub.frame(message{topic: "t", payload: "late", qos: 1})) // before it hears of its end
				pub.end()
				pub.wants()
				if n := b.Totals().Refused; n != 4 {
					t.Errorf("%d refused", n)
				}
				pub = b.connect("pub", v3)
				pub.publish(message{topic: "t", payload: "1", qos: 1, id: 1, dup: true}, message{topic: "t", payload: "2", qos: 2, id: 2, dup: true})
				pub.wants("PUBACK #1", "PUBREC #2")
				sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2")
			})
		})
		t.Run(fmt.Sprintf("not beyond its connection/%d", room), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s, sub, pub := start(t)
				pub.end()
				s.setRoom(relay.Ample)
				pass(time.Minute)
				sub.wants()
				pub.wants()
				if n := b.Totals(); n.QueuedB != 0 || n.Refused != 0 {
					t.Errorf("%d bytes queued, %d refused", n.QueuedB, n.Refused)
				}
			})
		})
	}
}

// The client's own queue may be what is full: it must be able to empty it.
func TestHeldBackByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := filling(t, relay.Refuse, func(c *relay.Config) { c.Queue.MaxQueued, c.MaxInflight = 3, 1 })
		c := b.connect("c", kept, v3)
		c.sub(1, "t")
		c.pub(1, numbered("t", 0, 30)...)
		var got []packet
		for range 60 {
			pass(100 * time.Millisecond)
			got = append(got, c.acknowledges(c.take())...)
		}
		if want := payloads(got); want != strings.TrimSpace(strings.ReplaceAll(strings.Join(numbered("", 0, 30), " "), "=", "")) {
			t.Errorf("got %s", want)
		}
		if n, why := c.link.kickedBy(); n > 0 {
			t.Errorf("kicked: %s", why)
		}
	})
}

// What is held back is bounded: beyond, the client is not read.
func TestHeldBackIsBounded(t *testing.T) {
	for _, freed := range []bool{true, false} {
		t.Run(fmt.Sprintf("room returns %t", freed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s := filling(t, relay.Refuse, func(c *relay.Config) { c.RefuseWait = 10 * time.Second })
				sub, pub := b.connect("sub", kept), b.connect("pub", v3)
				sub.sub(1, "t")
				s.setRoom(relay.Full)
				const n = 100
				read := make(chan int, n)
				go func() {
					defer close(read)
					for i := range n {
						if pub.feed(pub.frame(message{topic: "t", payload: strings.Repeat("x", 2000), qos: 1})) != nil {
							return
						}
						read <- i
					}
					pub.port.Flush()
				}()
				pass(5 * time.Second)
				if got := len(read); got < 20 || got > 40 {
					t.Errorf("read %d messages of 2000 bytes", got)
				}
				if got := b.Totals().QueuedB; got > 70<<10 {
					t.Errorf("%d bytes held back", got)
				}
				if freed {
					s.setRoom(relay.Ample)
				}
				for range read {
				}
				pass(time.Second)
				kicks, _ := pub.link.kickedBy()
				if got := len(pub.take()); freed && got != n || !freed && (got != 0 || kicks != 1) {
					t.Errorf("%d acknowledged, kicked %d times", got, kicks)
				}
			})
		})
	}
}

// While nothing can be stored nothing is promised, whatever the policy.
func TestBrokenStoreRefuses(t *testing.T) {
	for _, policy := range []relay.Policy{relay.Refuse, relay.DropOldest, relay.DropNewest} {
		synctest.Test(t, func(t *testing.T) {
			b, s := filling(t, policy, nil)
			sub, brief, pub, own := b.connect("sub", kept), b.connect("brief"), b.connect("pub"), b.connect("own", kept)
			sub.sub(2, "t")
			brief.sub(2, "brief")
			s.setRoom(relay.Broken)
			quota := wire.QuotaExceeded.String()
			pub.pub(1, "t=1")
			pub.publish(message{topic: "r", retain: true, qos: 1}) // nor can a deletion be stored
			pub.wants("PUBACK #1 "+quota, "PUBACK #2 "+quota)
			pub.pub(1, "brief=3")
			pub.pub(2, "brief=4")
			pub.wants("PUBACK #3", "PUBREC #4")
			own.pub(1, "brief=5")
			own.pub(2, "brief=6") // its identifier would have to be stored
			own.wants("PUBACK #1", "PUBREC #2 "+quota)
			brief.wants("PUBLISH q1 #2 brief=3", "PUBLISH q2 #3 brief=4", "PUBLISH q1 #4 brief=5")
			sub.wants()
			s.setRoom(relay.Ample)
			pub.pub(1, "t=7")
			sub.wants("PUBLISH q1 #2 t=7")
		})
	}
}

// Classes of sessions have rules of their own.
func TestQueueFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := map[string]*relay.QueueRules{
			"dash":  {MaxQueued: 2, MaxQueuedBytes: 1 << 20, WhenFull: relay.DropOldest},
			"log":   {MaxQueued: 3, MaxQueuedBytes: 1 << 20, WhenFull: relay.DropNewest},
			"alarm": {MaxQueued: 4, MaxQueuedBytes: 1 << 20, WhenFull: relay.Refuse},
			"":      {MaxQueued: 100, MaxQueuedBytes: 1 << 20},
		}
		b, s := filling(t, relay.Refuse, func(c *relay.Config) {
			c.QueueFor = func(id, user string) *relay.QueueRules { return rules[user] }
		})
		user := func(name string) option { return func(c *relay.Connect) { c.Username = name } }
		for u := range rules {
			c := b.connect("c-"+u, kept, user(u))
			c.sub(1, "t")
			c.end()
		}
		pub := b.connect("pub")
		pub.pub(1, numbered("t", 0, 4)...)
		pub.wants("PUBACK #1", "PUBACK #2", "PUBACK #3", "PUBACK #4")
		pub.pub(1, "t=4")
		pub.wants("PUBACK #5 " + wire.QuotaExceeded.String())
		s.setRoom(relay.Full)
		b.Discard("c-alarm") // of the others none insists
		pub.pub(1, "t=5")
		pub.wants("PUBACK #6")
		for u, want := range map[string]string{"dash": "5", "log": "0 1 2", "": "2 3 5"} {
			if got := payloads(b.connect("c-"+u, kept, user(u)).drained()); got != want {
				t.Errorf("%q got %s; want %s", u, got, want)
			}
		}
		b.drops("discarded 4", "queue_full 7", "store_full 1")
	})
}

// A shared subscription does not pick a member whose queue is full while there
// is another, and refuses when there is none.
func TestSharedWithStuffedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := filling(t, relay.Refuse, func(c *relay.Config) { c.Queue.MaxQueued = 3 })
		for _, id := range []string{"a", "b"} {
			c := b.connect(id, kept)
			c.sub(1, "$share/g/t")
			c.end()
		}
		pub := b.connect("pub")
		pub.pub(1, numbered("t", 0, 6)...)
		a := b.connect("a", kept)
		if n := len(a.drained()); n != 3 {
			t.Errorf("a has %d", n)
		}
		a.disconnect()
		pub.take()
		pub.pub(1, numbered("t", 6, 10)...)
		pub.wants("PUBACK #7", "PUBACK #8", "PUBACK #9", "PUBACK #10 "+wire.QuotaExceeded.String())
		if got := payloads(b.connect("a", kept).drained()); got != "6 7 8" {
			t.Errorf("a got %s", got)
		}
		b.drops()
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
				s.setRoom(relay.Full)
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
		b, _ := filling(t, relay.Refuse, func(c *relay.Config) { c.Queue.MaxQueued = 3 })
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
