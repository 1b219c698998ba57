package trace_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/wire"
)

func publish(v wire.Version, topic string, qos byte, id, alias uint16, payload string) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: v, QoS: qos, Topic: []byte(topic), Alias: alias, Payload: []byte(payload)}, id)
}

// packets are the packets of a list, as "in PUBLISH 7".
func packets(list []trace.Entry) (out []string) {
	for _, e := range list {
		if e.What == trace.PacketSeen {
			out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s %d", e.Direction, e.Packet.Type, e.Packet.ID), " 0"))
		}
	}
	return out
}

func expect(t testing.TB, list []trace.Entry, want ...string) {
	t.Helper()
	if got := packets(list); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// TestTopic shows messages that match, what answers them, and subscriptions
// that may bring some.
func TestTopic(t *testing.T) {
	v := wire.V5
	steps := []step{
		in(publish(v, "a/b", 1, 1, 0, "")), in(publish(v, "x/b", 1, 2, 0, "")),
		out(wire.AppendAck(nil, wire.PUBACK, v, 2, 0)), out(wire.AppendAck(nil, wire.PUBACK, v, 1, 0)),
		in(publish(v, "a/c", 2, 3, 4, "")), out(wire.AppendAck(nil, wire.PUBREC, v, 3, 0)),
		in(publish(v, "x", 2, 4, 5, "")), out(wire.AppendAck(nil, wire.PUBREC, v, 4, 0)),
		in(wire.AppendAck(nil, wire.PUBREL, v, 4, 0)), in(wire.AppendAck(nil, wire.PUBREL, v, 3, 0)),
		out(wire.AppendAck(nil, wire.PUBCOMP, v, 3, 0)), out(wire.AppendAck(nil, wire.PUBCOMP, v, 4, 0)),
		in(publish(v, "", 1, 5, 4, "")), in(publish(v, "", 1, 6, 5, "")), in(publish(v, "", 1, 7, 6, "")),
		in(publish(v, "x/y", 0, 0, 4, "")), in(publish(v, "", 1, 8, 4, "")), // the alias means another topic now
		out(publish(v, "a/d", 1, 5, 4, "")), out(publish(v, "", 1, 6, 4, "")), // which is the other side's own
		in(wire.AppendSubscribe(nil, v, &wire.Subscribe{PacketID: 9, Filters: []wire.Filter{{Filter: "z"}, {Filter: "+/b"}}})),
		in(wire.AppendSubscribe(nil, v, &wire.Subscribe{PacketID: 10, Filters: []wire.Filter{{Filter: "z/#"}}})),
		out(wire.AppendSuback(nil, v, 10, []wire.Reason{0})), out(wire.AppendSuback(nil, v, 9, []wire.Reason{0, 0})),
		in(wire.AppendUnsubscribe(nil, v, &wire.Unsubscribe{PacketID: 11, Filters: []string{"$share/g/a/b"}})),
		in(wire.AppendPing(nil, wire.PINGREQ)), out(wire.AppendPing(nil, wire.PINGRESP)),
	}
	tr := start(t, trace.Query{Topics: []string{"a/#"}})
	tap := tr.Join(trace.Party{Client: "c", Version: v, AliasTopic: func(alias uint16) string { return map[uint16]string{6: "a/before"}[alias] }})
	walk(t, tap, steps)
	expect(t, tr.Take(), "in PUBLISH 1", "out PUBACK 1", "in PUBLISH 3", "out PUBREC 3", "in PUBREL 3", "out PUBCOMP 3",
		"in PUBLISH 5", "in PUBLISH 7", "out PUBLISH 5", "out PUBLISH 6", "in SUBSCRIBE 9", "out SUBACK 9", "in UNSUBSCRIBE 11")
}

func TestConnectionsAreChosen(t *testing.T) {
	address := func(s string) []netip.Prefix {
		p, err := trace.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return []netip.Prefix{p}
	}
	party := trace.Party{Client: "c", Address: netip.MustParseAddr("::ffff:192.168.8.7")}
	for name, c := range map[string]struct {
		q    trace.Query
		want bool
	}{
		"client":               {trace.Query{Clients: []string{"b", "c"}}, true},
		"other client":         {trace.Query{Clients: []string{"b"}}, false},
		"address":              {trace.Query{Addresses: address("192.168.8.7")}, true},
		"network":              {trace.Query{Addresses: address("192.168.8.99/24")}, true},
		"other network":        {trace.Query{Addresses: address("192.168.9.0/24")}, false},
		"client elsewhere":     {trace.Query{Clients: []string{"c"}, Addresses: address("10.0.0.0/8")}, false},
		"both":                 {trace.Query{Clients: []string{"c"}, Addresses: address("192.168.0.0/16")}, true},
		"every, for the topic": {trace.Query{Topics: []string{"a"}}, true},
	} {
		if got := start(t, c.q).Join(party) != nil; got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	unix := trace.Party{Client: "c"} // has no address
	if start(t, trace.Query{Addresses: address("0.0.0.0/0")}).Join(unix) != nil {
		t.Error("who has no address is in a network")
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = "c"
	}
	for name, q := range map[string]trace.Query{
		"nothing":           {},
		"types only":        {Types: []wire.Type{wire.PUBLISH}},
		"empty client":      {Clients: []string{""}},
		"bad filter":        {Topics: []string{"a/#/b"}},
		"negative payload":  {Clients: []string{"c"}, Payload: -1},
		"too much payload":  {Clients: []string{"c"}, Payload: trace.MaxPayload + 1},
		"too many of a lot": {Clients: many},
	} {
		if _, err := trace.New(1).Start(q); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, s := range []string{"", "x", "1.2.3", "1.2.3.4/33", "fe80::1%eth0/64"} {
		if _, err := trace.ParseAddress(s); err == nil {
			t.Errorf("%q is an address", s)
		}
	}
	if _, err := trace.ParseType("PUBLISHED"); err == nil {
		t.Error("PUBLISHED is a packet type")
	}
}

func TestTracesAreCounted(t *testing.T) {
	tracer := trace.New(2)
	q := trace.Query{Clients: []string{"c"}}
	first, err := tracer.Start(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tracer.Start(q); err != nil {
		t.Fatal(err)
	}
	if _, err := tracer.Start(q); !errors.Is(err, trace.ErrTooMany) {
		t.Fatalf("a third one: %v", err)
	}
	first.Close()
	first.Close()
	if _, err := tracer.Start(q); err != nil || tracer.Running() != 2 {
		t.Fatalf("after the end of one: %v, %d are running", err, tracer.Running())
	}
	if _, err := tracer.Start(q); !errors.Is(err, trace.ErrTooMany) {
		t.Fatalf("closing twice made room for two: %v", err)
	}
}

// TestNobodyTakes shows that a trace that nobody reads neither blocks nor grows,
// and that the loss is told where it is.
func TestNobodyTakes(t *testing.T) {
	for name, c := range map[string]struct{ payload, n int }{"many small": {10, 10_000}, "few large": {60_000, 500}} {
		t.Run(name, func(t *testing.T) {
			tr := start(t, trace.Query{Clients: []string{"c"}, Payload: trace.MaxPayload})
			tap := tr.Join(trace.Party{Client: "c", Version: wire.V311})
			f := frame(t, publish(wire.V311, "t", 0, 0, 0, strings.Repeat("x", c.payload)))
			for range c.n {
				tap.Received(f)
			}
			list := tr.Take()
			bytes := 0
			for _, e := range list {
				if e.Packet != nil {
					bytes += e.Packet.Size
				}
			}
			if len(list) > 5000 || bytes > 2<<20 {
				t.Errorf("%d entries and %d bytes waited", len(list), bytes)
			}
			if last := list[len(list)-1]; last.What != trace.Missed || last.Missed != uint64(c.n-len(packets(list))) {
				t.Errorf("%d packets shown, %+v", len(packets(list)), last)
			}
			tap.Received(f)
			expect(t, tr.Take(), "in PUBLISH")
			tr.Close()
			tap.Received(f)
			if list := tr.Take(); len(list) != 0 {
				t.Errorf("after Close: %v", list)
			}
		})
	}
}

// TestStateIsBounded asks for answers that never come, and sets aliases.
func TestStateIsBounded(t *testing.T) {
	tr := start(t, trace.Query{Topics: []string{"#"}})
	topic := strings.Repeat("t", 60_000)
	for c := range 4 {
		tap := tr.Join(trace.Party{Client: fmt.Sprint(c), Version: wire.V5})
		for id := uint16(1); id < 60_000; id += 7 {
			tap.Received(frame(t, publish(wire.V5, "t", 1, id, 0, "")))
		}
		for alias := uint16(1); alias < 100; alias++ {
			tap.Received(frame(t, publish(wire.V5, topic, 0, 0, alias, "")))
			tap.Sent(publish(wire.V5, topic, 0, 0, alias, ""), nil, 0)
		}
		if n := trace.State(tr); n > trace.MaxState {
			t.Fatalf("%d bytes of state", n)
		}
		if c%2 == 1 {
			tap.Ended("", nil, 0, 0)
		}
	}
	tr2 := start(t, trace.Query{Topics: []string{"#"}})
	tap := tr2.Join(trace.Party{Client: "c", Version: wire.V5})
	for range 100 { // the same ones again and again
		tap.Received(frame(t, publish(wire.V5, topic, 1, 1, 1, "")))
		tap.Sent(wire.AppendAck(nil, wire.PUBACK, wire.V5, 1, 0), nil, 0)
	}
	if n := trace.State(tr2); n > 70_000 || n <= 0 {
		t.Errorf("%d bytes of state for one alias", n)
	}
	tap.Ended("", nil, 0, 0)
	if n := trace.State(tr2); n != 0 {
		t.Errorf("%d bytes of state after the end", n)
	}
}

// TestHugePublish shows what is needed of it, and does not keep the rest.
func TestHugePublish(t *testing.T) {
	body := bytes.Repeat([]byte("y"), 32<<20)
	o := wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("big"), Payload: body}
	head := wire.AppendPublishHead(nil, &o, 3)
	tr := start(t, trace.Query{Clients: []string{"c"}, Payload: 4})
	tap := tr.Join(trace.Party{Client: "c", Version: wire.V5})
	per := testing.AllocsPerRun(10, func() { tap.Sent(head, body, 7) })
	list := tr.Take()
	p := list[len(list)-1].Packet
	if p.Size != len(head)+len(body) || p.Topic != "big" || p.Payload.Size != len(body) || p.Payload.Text != "yyyy" || !p.Payload.Cut || p.Behind != 7 {
		t.Errorf("%+v", p)
	}
	if per > 50 {
		t.Errorf("%v allocations", per)
	}
}

// TestMeet holds the overlap of filters against all topics of a small world.
func TestMeet(t *testing.T) {
	words := []string{"a", "b", "", "$s"}
	var topics []string
	for _, x := range words {
		topics = append(topics, x)
		for _, y := range words {
			topics = append(topics, x+"/"+y)
			for _, z := range words {
				topics = append(topics, x+"/"+y+"/"+z, x+"/"+y+"/"+z+"/a")
			}
		}
	}
	level := rapid.SampledFrom([]string{"a", "b", "+", "", "$s"})
	filter := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(level, 1, 3).Draw(t, "levels")
		if rapid.Bool().Draw(t, "rest") {
			levels[len(levels)-1] = "#"
		}
		return strings.Join(levels, "/")
	}).Filter(func(s string) bool { return wire.ValidFilter(s) == nil })
	rapid.Check(t, func(t *rapid.T) {
		a, b := filter.Draw(t, "a"), filter.Draw(t, "b")
		want := false
		for _, topic := range topics {
			want = want || wire.MatchTopic(a, topic) && wire.MatchTopic(b, topic)
		}
		if got := trace.Meet(a, b); got != want {
			t.Fatalf("%q and %q: %t, want %t", a, b, got, want)
		}
	})
}

// FuzzTap leads any bytes through taps of every kind. They must not panic, and
// what they show is in proportion to what came.
func FuzzTap(f *testing.F) {
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		var all []byte
		for _, s := range every(v) {
			all = append(all, s.raw...)
		}
		f.Add(byte(v), all)
	}
	for _, c := range broken() {
		f.Add(byte(c.v), c.raw)
	}
	f.Fuzz(func(t *testing.T, version byte, raw []byte) {
		for _, q := range []trace.Query{{Clients: []string{"dev-1"}, Payload: 16}, {Topics: []string{"a/#"}}} {
			tr := start(t, q)
			tap := tr.Join(trace.Party{Client: "dev-1", Version: wire.Version(version)})
			rest := raw
			for p := range wire.Frames(raw) {
				fr, n, err := wire.Scan(p, 0)
				if err != nil {
					t.Fatal(err)
				}
				tap.Received(fr)
				tap.Sent(p, nil, 0)
				tap.Sent(p[:1+n/2], p[1+n/2:], 1)
				rest = rest[n:]
			}
			tap.Broken(rest, errors.New("it is broken"))
			tap.Ended("x", nil, len(rest), 0)
			for _, e := range tr.Take() {
				if _, err := json.Marshal(&e); err != nil || len(e.Text()) > 8*len(raw)+8<<10 {
					t.Fatalf("%d bytes of text, %v", len(e.Text()), err)
				}
			}
			tr.Close()
		}
	})
}
