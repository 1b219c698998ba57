package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// rights is an Access that a test changes. What is not named is allowed.
type rights struct {
	name   string
	denied atomic.Pointer[string] // topics as words: p:topic to publish, r:topic to receive
}

func allowedBut(name, denied string) *rights {
	r := &rights{name: name}
	r.deny(denied)
	return r
}

func (r *rights) deny(words string) { r.denied.Store(&words) }
func (r *rights) has(word string) bool {
	return !strings.Contains(" "+*r.denied.Load()+" ", " "+word+" ")
}
func (r *rights) CanPublish(topic string) bool { return r.has("p:" + topic) }
func (r *rights) CanReceive(topic string) bool { return r.has("r:" + topic) }

func (r *rights) Same(other relay.Access) bool {
	o, ok := other.(*rights)
	return ok && o.name == r.name
}

// A subscription may be wider than what its client may be sent.
func TestReceivesWhatItMay(t *testing.T) {
	for qos := range byte(3) {
		b := newBroker(t, nil)
		pub := b.connect("pub")
		pub.publish(message{topic: "kept/secret", payload: "x", retain: true}, message{topic: "kept/open", payload: "y", retain: true})
		sub, all := b.connect("sub", access(allowedBut("sub", "r:secret r:kept/secret"))), b.connect("all")
		sub.sub(qos, "#")
		all.sub(qos, "#")
		pub.pub(qos, "secret=1", "open=2", "secret=3")
		if got := payloads(sub.settle()); got != "y 2" {
			t.Errorf("QoS %d: got %s", qos, got)
		}
		if got := len(all.settle()); got != 5 {
			t.Errorf("QoS %d: another got %d", qos, got)
		}
		b.drops("no_subscribers 2") // of the retained ones
	}
}

// Rights that change count at once: for topics that are known to the
// connections, for what is published and for what is sent.
func TestAccessChanges(t *testing.T) {
	b := newBroker(t, nil)
	in, out := allowedBut("in", ""), allowedBut("out", "")
	sub, pub := b.connect("sub", access(in)), b.connect("pub", access(out))
	sub.sub(0, "t")
	pub.pub(0, "t=1")
	sub.wants("PUBLISH q0 t=1")
	in.deny("r:t")
	b.AccessChanged()
	pub.pub(0, "t=2")
	sub.wants()
	in.deny("")
	out.deny("p:t")
	b.AccessChanged()
	pub.pub(1, "t=3")
	pub.wants("PUBACK #1 " + wire.NotAuthorized.String())
	sub.wants()
	out.deny("")
	b.AccessChanged()
	pub.pub(0, "t=4")
	sub.wants("PUBLISH q0 t=4")
}

// What waits was let in under earlier rights, and is looked at again: whether
// they changed while the client was away or was slow, in memory or in chunks.
func TestQueuedAndThenDenied(t *testing.T) {
	for _, how := range []string{"by the broker", "by another identity", "slow"} {
		for _, n := range []int{20, 200} {
			t.Run(fmt.Sprintf("%s, %d", how, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, s := spilling(t, nil)
					r := allowedBut("r", "")
					sub, pub := b.connect("sub", kept, access(r)), b.connect("pub")
					sub.sub(1, "#")
					if how == "slow" {
						sub.link.grant(0)
					} else {
						sub.end()
					}
					for i := range n {
						pub.pub(1, fmt.Sprintf("a=%d", i), fmt.Sprintf("b=%d", i))
					}
					pub.take()
					switch how {
					case "by the broker":
						r.deny("r:b")
						b.AccessChanged()
						sub = b.connect("sub", kept, access(r))
					case "by another identity":
						sub = b.connect("sub", kept, access(allowedBut("other", "r:b")))
					case "slow":
						synctest.Wait()
						sub.take() // what had gone out
						r.deny("r:b")
						b.AccessChanged()
						sub.end()
						sub = b.connect("sub", kept, access(r))
					}
					got := sub.drained()
					if want := counted(0, n); payloads(got) != want || strings.Contains(fmt.Sprint(got), "b=") {
						t.Errorf("got %s; want %s, all on a", payloads(got), want)
					}
					pub.pub(1, "a=last", "b=last")
					if got := sub.drained(); payloads(got) != "last" {
						t.Errorf("then got %v", got)
					}
					b.drops(fmt.Sprintf("not_authorized %d", n), "no_subscribers 1") // of the last for b
					b.empty()
					b.Stored(b.Snapshot())
					s.nothingHeld(t)
				})
			})
		}
	}
}

// A shared subscription picks those who may have the message.
func TestSharedAmongThoseWhoMay(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	for i := range 4 {
		denied := "r:t"
		if i == 2 {
			denied = ""
		}
		b.connect(fmt.Sprint("m", i), access(allowedBut("m", denied))).sub(1, share)
	}
	pub.pub(1, numbered("t", 0, 10)...)
	info, _, _ := b.Session("m2")
	if info.Sent.Messages() != 10 {
		t.Errorf("the one that may got %d of 10", info.Sent.Messages())
	}
}

// No other identity gets a session, not even to end it, or its will.
func TestSessionsHaveOwners(t *testing.T) {
	owner := func(name string) option { return func(c *relay.Connect) { c.Owner = name } }
	open := func(b *broker, id string, opts ...option) error {
		c := relay.Connect{ClientID: id, Version: wire.V5, Expiry: 3600}
		for _, o := range opts {
			o(&c)
		}
		p, err := b.Open(c)
		if err == nil {
			p.End(relay.End{})
		}
		return err
	}
	b := newBroker(t, nil)
	b.connect("c", kept, owner("ann")).end()
	for _, opts := range [][]option{{owner("bob")}, {}, {owner("bob"), clean}, {clean}, {owner("annn")}, {owner("an")}} {
		if err := open(b, "c", opts...); !errors.Is(err, relay.ErrNotOwner) {
			t.Errorf("let in: %v", err)
		}
	}
	if err := open(b, "c", owner("ann")); err != nil {
		t.Error(err)
	}
	if err := open(b, "nobody's"); err != nil {
		t.Error(err)
	}
	if err := open(b, "nobody's", owner("bob")); err != nil { // from before there were identities
		t.Error(err)
	}
	if err := open(b, "nobody's"); !errors.Is(err, relay.ErrNotOwner) {
		t.Errorf("let in: %v", err)
	}
}

// A session keeps its owner and its rights over a restart, and a will that
// waits is judged by them.
func TestAccessAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newStored(t)
		b := openBroker(t, func(c *relay.Config) {
			c.AccessOf = func(terms relay.Terms) relay.Access {
				return allowedBut(terms.Owner, terms.Subject)
			}
		}, s)
		defer b.Close()
		terms := func(id string) relay.Terms {
			return relay.Terms{ClientID: id, Owner: "ann", Subject: "r:secret p:secret", Expiry: 3600}
		}
		b.Restore(relay.Recovered{LastSession: 2, Sessions: []*relay.SessionState{
			{ID: 1, Terms: terms("a"), NextSeq: 1, Subs: []relay.Subscription{{Filter: "#", QoS: 1}}, WillDue: 10e9, Will: &wire.Will{Topic: "secret", QoS: 1}},
			{ID: 2, Terms: terms("b"), WillDue: 10e9, Will: &wire.Will{Topic: "open", Payload: []byte("will")}},
		}})
		pub, watch := b.connect("pub"), b.connect("watch")
		watch.sub(0, "#")
		pub.pub(1, "secret=1", "open=2")
		watch.wants("PUBLISH q0 secret=1", "PUBLISH q0 open=2")
		pass(11e9)
		watch.wants("PUBLISH q0 open=will")
		if _, err := b.Open(relay.Connect{ClientID: "a", Version: wire.V5, Expiry: 60, Owner: "bob"}); !errors.Is(err, relay.ErrNotOwner) {
			t.Errorf("let in: %v", err)
		}
		ann := b.connect("a", kept, func(c *relay.Connect) { c.Owner = "ann" })
		if got := payloads(ann.drained()); got != "2" {
			t.Errorf("got %s", got)
		}
	})
}
