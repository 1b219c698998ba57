package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// client is a bare MQTT 5 client for one connection.
type client struct {
	w    *world
	id   string
	port *relay.Port
	link *pipe
}

func (w *world) client(c relay.Connect) *client {
	w.t.Helper()
	c.Version = wire.V5
	k := &client{w: w, id: c.ClientID, link: &pipe{}}
	k.port, _ = w.relay.Open(c)
	k.port.Attach(k.link)
	k.port.Flush()
	w.settle()
	return k
}

// kept is a CONNECT of a session that is kept for so many seconds.
func kept(id string, seconds uint32) relay.Connect {
	return relay.Connect{ClientID: id, Expiry: seconds}
}

func (k *client) send(frames ...[]byte) {
	k.w.t.Helper()
	for _, raw := range frames {
		f, _, err := wire.Scan(raw, 0)
		if err != nil {
			k.w.t.Fatal(err)
		}
		if err := k.port.Receive(f); err != nil {
			k.w.t.Fatalf("%s: %v", k.id, err)
		}
	}
	k.port.Flush()
	k.w.settle()
}

func (k *client) publish(topic, payload string, qos byte, id uint16, change ...func(*wire.Out)) {
	k.w.t.Helper()
	o := wire.Out{Version: wire.V5, QoS: qos, Topic: []byte(topic), Payload: []byte(payload)}
	for _, c := range change {
		c(&o)
	}
	k.send(wire.AppendPublish(nil, &o, id))
}

func retain(o *wire.Out) { o.Retain = true }
func expires(seconds uint32) func(*wire.Out) {
	return func(o *wire.Out) { o.HasExpiry, o.Expiry = true, seconds }
}

func (k *client) subscribe(subs ...relay.Subscription) {
	k.w.t.Helper()
	c := &confirmed{}
	_, granted := k.port.Subscribe(subs, c)
	k.w.settle()
	if !c.good() {
		k.w.t.Fatalf("%s: the subscription was not stored", k.id)
	}
	k.port.SendRetained(granted)
	k.port.Flush()
	k.w.settle()
}

func (k *client) ack(t wire.Type, id uint16) { k.send(wire.AppendAck(nil, t, wire.V5, id, 0)) }

func (k *client) leave() { k.link.Kick(0, ""); k.port.End(relay.End{}); k.w.settle() }
func (k *client) die()   { k.link.Kick(0, ""); k.port.End(relay.End{Will: true}); k.w.settle() }

// wants compares what has come with words such as "PUBLISH q1 #2 t=x".
func (k *client) wants(want ...string) {
	k.w.t.Helper()
	k.w.settle()
	var got []string
	for rest := k.link.take(); len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil {
			k.w.t.Fatal(err)
		}
		rest = rest[n:]
		got = append(got, frameWords(k.w.t, f))
	}
	if !slices.Equal(got, want) {
		k.w.t.Errorf("%s got\n  %s\nwant\n  %s", k.id, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func frameWords(t testing.TB, f wire.Frame) string {
	if f.Type != wire.PUBLISH {
		id, reason, err := wire.DecodeAck(f, wire.V5)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%v #%d", f.Type, id)
		if reason != wire.Success && reason != wire.NoMatchingSubscribers {
			s += " " + reason.String()
		}
		return s
	}
	p, err := wire.DecodeDelivery(f, wire.V5)
	if err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprintf("PUBLISH q%d", p.QoS)
	if p.QoS > 0 {
		s += fmt.Sprintf(" #%d", p.PacketID)
	}
	s += fmt.Sprintf(" %s=%s", p.Topic, p.Payload)
	if p.Dup {
		s += " again"
	}
	if p.Retain {
		s += " retained"
	}
	if p.HasExpiry {
		s += fmt.Sprintf(" expiry %d", p.Expiry)
	}
	if len(p.SubIDs) > 0 {
		slices.Sort(p.SubIDs)
		s += fmt.Sprint(" ids ", p.SubIDs)
	}
	return s
}

// restart kills the process and starts it again; while it is down, so much
// time passes.
func (w *world) restart(down time.Duration) {
	w.t.Helper()
	disk := w.disk.Kill()
	w.stop()
	pass(down)
	w.disk = disk
	w.start()
	w.settle()
}

// lives runs f in a bubble with a broker on an empty disk.
func lives(t *testing.T, change func(*relay.Config, *store.Options), f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, change)
		w.start()
		w.settle()
		f(w)
		w.stop()
	})
}

func TestRestart(t *testing.T) {
	lives(t, nil, func(w *world) {
		sub, pub := w.client(kept("sub", 3600)), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "t/+", QoS: 2, ID: 7, RetainAsPublished: true}, relay.Subscription{Filter: "t/1", QoS: 1, ID: 9})
		pub.publish("t/1", "a", 2, 1)
		pub.publish("t/2", "b", 1, 2, retain)
		pub.publish("t/3", "c", 1, 3)
		pub.wants("PUBREC #1", "PUBACK #2", "PUBACK #3")
		sub.wants("PUBLISH q2 #2 t/1=a ids [7 9]", "PUBLISH q1 #3 t/2=b retained ids [7]", "PUBLISH q1 #4 t/3=c ids [7]")
		sub.ack(wire.PUBREC, 2)
		sub.wants("PUBREL #2")
		sub.ack(wire.PUBACK, 4)
		pass(3 * time.Second) // nobody waits for that record, but it is written
		w.restart(time.Hour)

		pub = w.client(kept("pub", 3600))
		pub.publish("t/1", "a", 2, 1, func(o *wire.Out) { o.Dup = true })
		pub.ack(wire.PUBREL, 1)
		pub.wants("PUBREC #1", "PUBCOMP #1")
		sub = w.client(kept("sub", 3600))
		if !sub.port.SessionPresent() {
			t.Error("the session of sub is gone")
		}
		sub.wants("PUBREL #2", "PUBLISH q1 #3 t/2=b again retained ids [7]")
		sub.ack(wire.PUBCOMP, 2)
		sub.ack(wire.PUBACK, 3)
		pub.publish("t/1", "d", 1, 2)
		sub.wants("PUBLISH q1 #5 t/1=d ids [7 9]")
		other := w.client(relay.Connect{ClientID: "other", CleanStart: true})
		other.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		other.wants("PUBLISH q1 #2 t/2=b retained")
	})
}

// [MQTT-3.1.2-23] [MQTT-3.3.2-5]: the time while the broker is down does not
// count, whatever the clock on the wall says afterwards.
func TestTimeStandsStillWhileDown(t *testing.T) {
	lives(t, nil, func(w *world) {
		sub, pub := w.client(kept("sub", 100)), w.client(kept("pub", 50))
		sub.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		sub.leave()
		pub.publish("t", "short", 1, 1, expires(20))
		pub.publish("t", "long", 1, 2, expires(92), retain)
		pass(30 * time.Second)
		pub.publish("t", "", 1, 3) // an idle log writes its clock every few minutes only
		w.restart(56 * 365 * 24 * time.Hour)
		pass(40 * time.Second)
		w.settle()
		if _, _, there := w.relay.Session("pub"); !there {
			t.Error("the session of pub, connected until the restart, has ended after 40 of 50 seconds")
		}
		pass(20 * time.Second)
		w.settle()
		if _, _, there := w.relay.Session("pub"); there {
			t.Error("the session of pub has not ended")
		}
		sub = w.client(kept("sub", 100)) // away for 90 s
		if !sub.port.SessionPresent() {
			t.Fatal("the session of sub is gone")
		}
		sub.wants("PUBLISH q1 #3 t=long expiry 2", "PUBLISH q1 #4 t=") // the first one's time was over
		pass(2 * time.Second)
		other := w.client(relay.Connect{ClientID: "other", CleanStart: true})
		other.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		other.wants()
	})
}

func TestDelayedWillOutlivesTheProcess(t *testing.T) {
	lives(t, nil, func(w *world) {
		watch := w.client(kept("watch", 3600))
		watch.subscribe(relay.Subscription{Filter: "will/#", QoS: 1})
		for _, id := range []string{"dies", "returns", "leaves"} {
			c := kept(id, 3600)
			c.Will = &wire.Will{Topic: "will/" + id, Payload: []byte("x"), QoS: 1, Delay: 60}
			k := w.client(c)
			if id == "leaves" {
				k.leave()
			} else {
				k.die()
			}
		}
		pass(30 * time.Second)
		watch.publish("tick", "x", 1, 1, retain) // which is stored, and the clock with it
		w.restart(time.Hour)
		watch = w.client(kept("watch", 3600))
		pass(29 * time.Second)
		w.client(kept("returns", 3600))
		watch.wants()
		pass(2 * time.Second)
		watch.wants("PUBLISH q1 #2 will/dies=x")
		watch.ack(wire.PUBACK, 2)
		pass(3 * time.Second)
		w.restart(0)
		watch = w.client(kept("watch", 3600))
		pass(time.Hour)
		watch.wants() // not a second time
	})
}

func TestCleanStartIsForGood(t *testing.T) {
	lives(t, nil, func(w *world) {
		sub, pub := w.client(kept("sub", 3600)), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		pub.publish("t", "x", 1, 1)
		sub.leave()
		c := kept("sub", 3600)
		c.CleanStart = true
		w.client(c)
		w.restart(0)
		sub = w.client(kept("sub", 3600))
		pub = w.client(kept("pub", 3600))
		pub.publish("t", "y", 1, 1)
		sub.wants()
		if _, subs, _ := w.relay.Session("sub"); len(subs) != 0 {
			t.Errorf("subscriptions came back: %v", subs)
		}
	})
}

func TestUnsubscribeAndEraseAreForGood(t *testing.T) {
	lives(t, nil, func(w *world) {
		sub, pub := w.client(kept("sub", 3600)), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "a", QoS: 1}, relay.Subscription{Filter: "b", QoS: 1})
		sub.port.Unsubscribe([]string{"a"}, &confirmed{})
		pub.publish("b", "old", 1, 1, retain)
		pub.publish("c", "stays", 1, 2, retain)
		pub.publish("b", "", 1, 3, retain)
		w.restart(0)
		if _, subs, _ := w.relay.Session("sub"); len(subs) != 1 || subs[0].Filter != "b" {
			t.Errorf("subscriptions are %v", subs)
		}
		other := w.client(relay.Connect{ClientID: "other", CleanStart: true})
		other.subscribe(relay.Subscription{Filter: "#"})
		other.wants("PUBLISH q0 c=stays retained")
	})
}

// What a session that ends leaves to the other members of a shared
// subscription is theirs for good. [MQTT-4.8.2-5]
func TestSharedMessagesOutliveTheProcess(t *testing.T) {
	lives(t, nil, func(w *world) {
		first, second, pub := w.client(kept("first", 100)), w.client(kept("second", 3600)), w.client(kept("pub", 3600))
		first.subscribe(relay.Subscription{Filter: "$share/g/t", QoS: 1})
		second.leave()
		pub.publish("t", "x", 1, 1)
		first.leave()
		w.restart(0)
		second = w.client(kept("second", 3600))
		second.subscribe(relay.Subscription{Filter: "$share/g/t", QoS: 1})
		second.wants()
		pass(101 * time.Second)
		second.wants("PUBLISH q1 #2 t=x")
		pass(3 * time.Second)
		w.restart(0)
		second = w.client(kept("second", 3600))
		second.wants("PUBLISH q1 #2 t=x again")
	})
}

func TestLevels(t *testing.T) {
	levels := func(_ *relay.Config, o *store.Options) {
		o.Rules = []store.Rule{{Filter: "memory/#", Level: relay.Memory}, {Filter: "flush/#", Level: relay.Flush}}
		o.FlushInterval = time.Second
	}
	lives(t, levels, func(w *world) {
		sub, pub := w.client(kept("sub", 36000)), w.client(kept("pub", 36000))
		sub.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		sub.leave()
		w.disk.Latency(time.Hour) // whoever waits for a sync waits for long
		pub.publish("memory/x", "1", 1, 1)
		pub.publish("flush/x", "2", 1, 2)
		pub.wants("PUBACK #1", "PUBACK #2")
		pub.publish("sync/x", "3", 1, 3)
		pub.publish("memory/x", "4", 1, 4) // in the order of the publishes [MQTT-4.6.0-2]
		pub.wants()
		w.disk.Latency(0)
		pass(2 * time.Hour)
		pub.wants("PUBACK #3", "PUBACK #4")
		w.restart(0)
		sub = w.client(kept("sub", 36000))
		sub.wants("PUBLISH q1 #3 flush/x=2", "PUBLISH q1 #4 sync/x=3")
	})
}

func TestFlushIsStableInTime(t *testing.T) {
	lives(t, func(_ *relay.Config, o *store.Options) { o.Level, o.FlushInterval = relay.Flush, time.Second }, func(w *world) {
		sub, pub := w.client(kept("sub", 3600)), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		sub.leave()
		pass(2 * time.Second)
		pub.publish("t", "kept", 1, 1)
		pass(1100 * time.Millisecond)
		w.settle()
		pub.publish("t", "lost", 1, 2)
		pub.wants("PUBACK #1", "PUBACK #2")
		disk := w.disk.Clone()
		w.stop()
		w.disk = disk.Crash(w.rng)
		w.start()
		sub = w.client(kept("sub", 3600))
		sub.wants("PUBLISH q1 #2 t=kept")
	})
}

func TestDropsAreRemembered(t *testing.T) {
	lives(t, nil, func(w *world) {
		pub := w.client(kept("pub", 3600))
		for i := range uint16(5) {
			pub.publish("nobody", "x", 1, i+1)
		}
		pass(15 * time.Second)
		w.restart(0)
		if got := w.relay.Drops()["no_subscribers"]; got != 5 {
			t.Errorf("%d drops for want of subscribers; want 5", got)
		}
	})
}
