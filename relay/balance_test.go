package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// account writes what is not 0 of one account: "in: a 1; out: b 1".
func (b *broker) account(name string) string {
	b.Helper()
	for _, a := range b.Balance() {
		if a.Name != name {
			continue
		}
		side := func(fs []relay.Figure) string {
			var s []string
			for _, f := range fs {
				if f.Count != 0 {
					s = append(s, fmt.Sprint(f.Name, " ", f.Count))
				}
			}
			slices.Sort(s)
			return strings.Join(s, ", ")
		}
		return side(a.In) + " = " + side(a.Out)
	}
	b.Fatalf("there is no account %q", name)
	return ""
}

func (b *broker) accounts(name, want string) {
	b.Helper()
	if got := b.account(name); got != want {
		b.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
	b.balanced()
}

const (
	qos0   = "received at QoS 0"
	qos1   = "received at QoS 1"
	qos2   = "received at QoS 2"
	house  = "published by the broker"
	copies = "copies at QoS 0"
	kepts  = "copies at QoS 1 and 2"
)

func TestBalanceOfNothing(t *testing.T) {
	b := newBroker(t, nil)
	for _, a := range b.Balance() {
		if len(a.In) == 0 || len(a.Out) == 0 || a.Difference() != 0 {
			t.Errorf("an empty relay has %+v", a)
		}
	}
}

func TestBalanceOfReceived(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxTopicLevels, c.ReceiveMaximum = 3, 1 })
	p := b.connect("p")
	b.connect("s").sub(2, "t/#")
	p.pub(0, "t/1=a", "x=nobody")
	p.pub(1, "t/1=a", "a/b/c/d=too deep")
	p.publish(message{topic: "t/1", qos: 2, id: 7}, message{topic: "t/1", qos: 2, id: 7, dup: true})
	b.accounts(qos0, "publishes 2 = accepted 1, accepted, nobody had subscribed 1")
	b.accounts(qos1, "publishes 2 = accepted 1, refused 1")
	b.accounts(qos2, "publishes 2 = accepted 1, received before 1")
	if r := p.rejected(p.frame(message{topic: "t/1", qos: 2, id: 8})); r != wire.ReceiveMaximumExceeded {
		t.Fatalf("rejected with %v", r)
	}
	b.accounts(qos2, "publishes 3 = accepted 1, received before 1, too many at once, disconnected 1")
	p.end()
	b.accounts(qos2, "publishes 3 = accepted 1, received before 1, too many at once, disconnected 1")
}

// TestBalanceOfABrokenBatch: what came in one batch with a packet that ends the
// connection is delivered, and accounted for before the connection has ended.
func TestBalanceOfABrokenBatch(t *testing.T) {
	b := newBroker(t, nil)
	p, s := b.connect("p"), b.connect("s")
	s.sub(1, "#")
	if err := p.feed(p.frame(message{topic: "a"}), p.frame(message{topic: "a", qos: 1}), p.frame(message{alias: 500, topic: "a"})); err == nil {
		t.Fatal("the alias is accepted")
	}
	b.accounts(qos0, "publishes 1 = accepted 1")
	b.accounts(kepts, "of messages as they came 1 = in flight 1")
	p.end()
	b.accounts(kepts, "of messages as they came 1 = in flight 1")
}

func TestBalanceOfHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, st := filling(t, relay.Refuse, func(c *relay.Config) { c.RefuseWait = time.Second })
		sub := b.connect("sub", kept)
		sub.sub(1, "t")
		st.setRoom(relay.Full)
		waits, leaves, five := b.connect("waits", v3), b.connect("leaves", v3), b.connect("five")
		waits.pub(1, "t=1", "t=2")
		leaves.pub(1, "t=3")
		five.pub(1, "t=4")
		b.accounts(qos1, "publishes 4 = held back 3, refused 1")
		leaves.end()
		b.accounts(qos1, "publishes 4 = held back 2, held back until the connection ended 1, refused 1")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		b.accounts(qos1, "publishes 4 = held back until the connection ended 1, refused 3")
		late := b.connect("late", v3)
		late.pub(1, "t=5")
		st.setRoom(relay.Ample)
		time.Sleep(time.Second)
		synctest.Wait()
		b.accounts(qos1, "publishes 5 = accepted 1, held back until the connection ended 1, refused 3")
	})
}

func TestBalanceOfTheBroker(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxTopicLevels = 2 })
	s := b.connect("s")
	s.sub(0, "wills", "own", "$SYS/#")
	b.connect("a", lastWill(wire.Will{Topic: "wills", QoS: 1})).end()
	b.connect("b", lastWill(wire.Will{Topic: "wills/too/deep", QoS: 2})).end()
	if err := b.Publish(relay.Outgoing{Topic: "own"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(relay.Outgoing{Topic: "nobody", QoS: 2}, nil); err != nil {
		t.Fatal(err)
	}
	b.accounts(house, "at QoS 0 1, at QoS 1 1, at QoS 2 2 = accepted 2, accepted, nobody had subscribed 1, refused 1")
	b.accounts(copies, "of messages as they came 2 = sent 2")
	b.Tell([]relay.Own{{Topic: "$SYS/x", Payload: []byte("1"), Retain: true}})
	b.accounts(copies, "of messages as they came 3 = sent 3")
	b.connect("late").sub(0, "$SYS/#")
	b.accounts(copies, "of messages as they came 3, of retained messages 1 = sent 4")
}

func TestBalanceOfCopies(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued = 2 })
	p, away := b.connect("p"), b.connect("away", kept, receiveMaximum(1))
	away.sub(2, "t/#")
	p.pub(2, "t/1=1")
	b.accounts(kepts, "of messages as they came 1 = in flight 1")
	b.accounts(copies, " = ")
	away.send(away.ack(wire.PUBREC, 2, 0))
	b.accounts(kepts, "of messages as they came 1 = acknowledged 1")
	away.send(away.ack(wire.PUBCOMP, 2, 0))
	b.accounts(kepts, "of messages as they came 1 = acknowledged 1")
	p.pub(1, "t/1=2", "t/1=3")
	away.end()
	p.pub(0, "t/1=lost")
	p.pub(1, "t/1=4", "t/1=5")
	b.accounts(kepts, "of messages as they came 5 = acknowledged 1, dropped: queue_full 1, in flight 1, queued 2")
	b.accounts(copies, "of messages as they came 1 = dropped: qos0_msg 1")
	away = b.connect("away", kept) // what is sent again is no other copy
	away.take()
	b.accounts(kepts, "of messages as they came 5 = acknowledged 1, dropped: queue_full 1, in flight 3")
	away.send(away.ack(wire.PUBACK, 3, wire.QuotaExceeded))
	b.accounts(kepts, "of messages as they came 5 = acknowledged 1, dropped: queue_full 1, dropped: refused_by_client 1, in flight 2")
	b.connect("away", clean)
	b.accounts(kepts, "of messages as they came 5 = acknowledged 1, dropped: discarded 2, dropped: queue_full 1, dropped: refused_by_client 1")
}

func TestBalanceOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		p, s := b.connect("p"), b.connect("s", expiry(60))
		s.sub(1, "t")
		s.end()
		p.publish(message{topic: "t", qos: 1, expiry: 1}, message{topic: "t", qos: 1})
		time.Sleep(2 * time.Second)
		s = b.connect("s", expiry(60))
		b.accounts(kepts, "of messages as they came 2 = dropped: expired 1, in flight 1")
		s.end()
		time.Sleep(time.Hour)
		synctest.Wait()
		b.accounts(kepts, "of messages as they came 2 = dropped: discarded 1, dropped: expired 1")
	})
}

func TestBalanceOfGroups(t *testing.T) {
	b := newBroker(t, nil)
	p, one := b.connect("p"), b.connect("one", receiveMaximum(1))
	one.sub(1, "$share/g/t")
	p.pub(1, "t=1", "t=2")
	two := b.connect("two")
	two.sub(0, "$share/g/t")
	one.disconnect() // hands on what waited and what was not acknowledged, at QoS 0 now
	b.accounts(kepts, "of messages as they came 2 = passed on to another member of the group 2")
	b.accounts(copies, "passed on by other members of a group 2 = sent 2")
	two.disconnect()
	p.pub(1, "t=3")
	b.accounts(qos1, "publishes 3 = accepted 2, accepted, nobody had subscribed 1")
}

// TestBalanceAfterARestart: what the store brings is accounted for, and what an
// earlier process has dropped is not.
func TestBalanceAfterARestart(t *testing.T) {
	b, _ := newStored(t)
	m := relay.Stored("t", []byte("x"), nil, "p", 1, false, 0, relay.Sync, 1)
	b.Restore(relay.Recovered{LastSession: 1, Drops: map[string]uint64{"expired": 7}, Sessions: []*relay.SessionState{{
		ID: 1, Terms: relay.Terms{ClientID: "s", Expiry: 60}, NextSeq: 5, Sent: 3,
		Front: []relay.Entry{{Seq: 2, HalfAcked: true, QoS: 2}, {Seq: 3, QoS: 1, Body: 1, Message: m}, {Seq: 4, QoS: 1, Body: 1, Message: m}},
		Tail:  []relay.Entry{{Seq: 5, QoS: 1, Body: 1, Message: m}},
	}}})
	if n := b.Totals().Dropped["expired"]; n != 7 {
		t.Errorf("%d drops are remembered; want 7", n)
	}
	b.accounts(kepts, "recovered from the store 3 = in flight 1, queued 2")
	b.connect("s", clean)
	b.accounts(kepts, "recovered from the store 3 = dropped: discarded 3")
}

// TestBalanceUnderLoad reads the books while everything moves.
func TestBalanceUnderLoad(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) {
		c.Queue.MaxQueued, c.MaxOutbound, c.MaxTopicLevels = 20, 4<<10, 2
	})
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	b.connect("away", kept).sub(2, "t/#")
	slow := b.connect("slow", expiry(60))
	slow.sub(1, "#")
	slow.link.stall(0)
	var work, read sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		work.Go(func() {
			for k := range rounds {
				p := b.connect(fmt.Sprint("p", i), lastWill(wire.Will{Topic: "t/w", QoS: 1}), version([]wire.Version{wire.V5, wire.V311}[k%2]))
				p.sub(byte(k%3), "$share/g/t/#", fmt.Sprint("t/", (i+k)%4))
				for j := range 6 {
					p.publish(message{topic: fmt.Sprint("t/", j%4), qos: byte(j % 3), expiry: []uint32{0, 1}[j%2*int(p.v/5)]},
						message{topic: "too/many/levels", qos: byte(j % 3)}, message{topic: "nobody", qos: 0})
				}
				p.settle()
				p.end()
			}
		})
	}
	read.Go(func() {
		for {
			b.balanced()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	work.Wait()
	close(done)
	read.Wait()
	if got := b.account(kepts); !strings.Contains(got, "queue_full") || !strings.Contains(got, "passed on") {
		t.Errorf("the load was too tame: %s", got)
	}
	if got := b.account(copies); !strings.Contains(got, "slow_consumer") {
		t.Errorf("the load was too tame: %s", got)
	}
}
