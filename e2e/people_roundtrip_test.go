package e2e_test

import (
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Every kind of client hears every kind, at every QoS, over both transports.
func TestPeopleRoundTrips(t *testing.T) {
	b := start(t, nil)
	for _, hears := range people() {
		for transport, at := range map[string][2]string{"TCP": {b.addr, b.unix}, "unix socket": {b.unix, b.addr}} {
			t.Run(hears.name+" over "+transport, func(t *testing.T) {
				sub := hears.open(t, b, options{id: "sub", at: at[0]})
				sub.subscribe(t, 2, "round/+")
				for _, says := range people() {
					pub := says.open(t, b, options{id: "pub", at: at[1]})
					for qos := range byte(3) {
						want := message{topic: "round/trip", payload: fmt.Sprint("from ", says.name, " at QoS ", qos), qos: qos}
						pub.publish(t, want.topic, qos, false, want.payload)
						expect(t, sub, want)
					}
					pub.leave(t)
				}
			})
		}
	}
	if d := b.Stats().Dropped; d.Total != 0 {
		t.Errorf("dropped %+v", d)
	}
}

func TestPeopleRetained(t *testing.T) {
	for _, k := range people() {
		t.Run(k.name, func(t *testing.T) {
			b := start(t, nil)
			pub := k.open(t, b, options{id: "pub", at: b.addr})
			fresh := func(id string, want *message) client {
				t.Helper()
				c := k.open(t, b, options{id: id, at: b.addr})
				c.subscribe(t, 1, "state/#")
				if want != nil {
					expect(t, c, *want)
				}
				return c
			}
			live := fresh("live", nil)
			for i, payload := range []string{"set", "updated"} {
				pub.publish(t, "state/x", 1, true, payload)
				expect(t, live, message{"state/x", payload, 1, false})
				fresh(fmt.Sprint("late", i), &message{"state/x", payload, 1, true}).leave(t)
			}
			if _, program := live.(*mosquittoClient); !program { // which cannot subscribe again
				live.subscribe(t, 1, "state/#")
				expect(t, live, message{"state/x", "updated", 1, true})
			}
			pub.publish(t, "state/x", 1, true, "")
			if n := b.Stats().Retained.Messages; n != 0 {
				t.Errorf("%d retained messages after clearing", n)
			}
			last := fresh("last", nil)
			pub.publish(t, "state/y", 0, false, "first thing to come")
			expect(t, last, message{"state/y", "first thing to come", 0, false})
		})
	}
}

func TestPeopleWills(t *testing.T) {
	for _, k := range people() {
		t.Run(k.name, func(t *testing.T) {
			b := start(t, nil)
			observer := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "observer")).AutoAck()
			observer.Subscribe(2, "will/#")
			for qos := range byte(3) {
				c := k.open(t, b, options{id: "mortal", at: b.addr, will: &message{topic: "will/x", payload: "gone", qos: qos, retain: qos == 1}})
				c.subscribe(t, 0, "x")
				c.kill(t)
				if d := observer.ExpectMessage("will/x", "gone"); d.QoS != qos {
					t.Errorf("will at QoS %d came at %d", qos, d.QoS)
				}
				polite := k.open(t, b, options{id: "mortal", at: b.addr, will: &message{topic: "will/x", payload: "asked for"}})
				polite.subscribe(t, 0, "x")
				polite.leave(t)
				if k.name == "mosquitto 5" { // it says DISCONNECT with will
					observer.ExpectMessage("will/x", "asked for")
				}
			}
			observer.ExpectNothing()
			if n := b.Stats().Retained.Messages; n != 1 {
				t.Errorf("%d retained messages, want the will", n)
			}
			d := b.Stats().Disconnections
			if d["tcp_closed"] != 3 || d["normal"] != 3 {
				t.Errorf("disconnections %v", d)
			}
		})
	}
}

func TestPeopleWildcards(t *testing.T) {
	topics := []string{"a", "a/b", "a/b/c", "a//c", "b/b", "/a", "zz", "$private/a"}
	for _, k := range people() {
		t.Run(k.name, func(t *testing.T) {
			b := start(t, nil)
			for filter, want := range map[string][]string{
				"#": {"a", "a/b", "a/b/c", "a//c", "b/b", "/a", "zz"}, "+": {"a", "zz"}, "a/#": {"a", "a/b", "a/b/c", "a//c"},
				"a/+": {"a/b"}, "+/b": {"a/b", "b/b"}, "a/+/c": {"a/b/c", "a//c"}, "+/a": {"/a"}, "/+": {"/a"}, "+/+/#": {"a/b", "a/b/c", "a//c", "b/b", "/a"},
				"$private/#": {"$private/a"}, "$private/+": {"$private/a"},
			} {
				c := k.open(t, b, options{id: "c", at: b.addr})
				c.subscribe(t, 1, filter, "end/of/test")
				for _, topic := range append(topics, "end/of/test") {
					if err := b.Publish(t.Context(), appliance.Message{Topic: topic, Payload: []byte("x"), QoS: 1}); err != nil {
						t.Fatal(err)
					}
				}
				if filter == "#" || filter == "+/+/#" {
					want = append(want, "end/of/test") // both match; one copy comes
				} else {
					want = append(want[:len(want):len(want)], "end/of/test")
				}
				for _, topic := range want {
					if got := receive(t, "a message for "+filter, c.messages()); got.topic != topic {
						t.Fatalf("filter %q: got %q instead of %q", filter, got.topic, topic)
					}
				}
				c.leave(t)
			}
		})
	}
}

// Three members of a shared subscription, of different kinds, get each
// message once between them.
func TestPeopleShare(t *testing.T) {
	const n = 300
	b := start(t, nil)
	kinds := people()
	members := []client{
		kinds[1].open(t, b, options{id: "m1", at: b.addr}),
		kinds[3].open(t, b, options{id: "m2", at: b.unix}),
		kinds[4].open(t, b, options{id: "m3", at: b.addr}),
	}
	for _, m := range members {
		m.subscribe(t, 1, "$share/team/work/+")
	}
	observer := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "observer")).AutoAck()
	observer.Subscribe(1, "work/+")
	pub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "pub"))
	for i := range n {
		pub.Publish("work/x", fmt.Sprint(i), 1, false)
		observer.ExpectMessage("work/x", fmt.Sprint(i))
	}
	seen := map[string]bool{}
	share := make([]int, len(members))
	late := within(t).Done()
	for len(seen) < n {
		var m message
		var i int
		select {
		case m = <-members[0].messages():
		case m = <-members[1].messages():
			i = 1
		case m = <-members[2].messages():
			i = 2
		case <-late:
			t.Fatalf("%d of %d messages came", len(seen), n)
		}
		if seen[m.payload] {
			t.Errorf("message %s came twice", m.payload)
		}
		seen[m.payload] = true
		share[i]++
	}
	for i, got := range share {
		if got < n/6 || len(members[i].messages()) > 0 {
			t.Errorf("member %d got %d of %d messages, and %d more", i, got, n, len(members[i].messages()))
		}
	}
}

// What is published while a client with a kept session is away comes when it
// is back: all of it, once, in order.
func TestPeopleKeptSessions(t *testing.T) {
	const n = 500
	for _, k := range people() {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprint(k.name, " at QoS ", qos), func(t *testing.T) {
				b := start(t, nil)
				o := options{id: "kept", at: b.unix, kept: true}
				c := k.open(t, b, o)
				c.subscribe(t, 2, "log/#")
				c.leave(t)
				lines := make([]string, n)
				for i := range lines {
					lines[i] = fmt.Sprint("line ", i)
				}
				pub := k.open(t, b, options{id: "pub", at: b.addr})
				pub.publish(t, "log/x", qos, false, lines...)
				if q := mustClient(t, b, "kept").Queued.Messages; q != n {
					t.Errorf("%d messages wait, want %d", q, n)
				}
				c = k.open(t, b, o)
				c.subscribe(t, 2, "log/#")
				for _, line := range lines {
					expect(t, c, message{"log/x", line, qos, false})
				}
				pub.publish(t, "log/x", qos, false, "live again")
				expect(t, c, message{"log/x", "live again", qos, false})
				brokertest.WaitFor(t, "everything to be acknowledged", func() bool {
					q := b.Stats().Queued
					return q.Messages == 0 && q.Inflight == 0 && q.Bytes == 0
				})
			})
		}
	}
}
