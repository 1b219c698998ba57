package relay

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestQueueIsASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var model []delivery
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 2, 7, 100, 3000}).Draw(t, "messages") {
					n++
					d := delivery{msg: &Message{Payload: make([]byte, n%50)}, qos: byte(n % 3), retain: n%5 == 0}
					q.push(d)
					model = append(model, d)
				}
			},
			"pop": func(t *rapid.T) {
				for range min(len(model), rapid.SampledFrom([]int{1, 3, 90, 4000}).Draw(t, "messages")) {
					if q.front().msg != model[0].msg || q.pop().msg != model[0].msg {
						t.Fatal("another message than the oldest")
					}
					model = model[1:]
				}
			},
			"cut QoS 0": func(t *rapid.T) {
				var rest []delivery
				cut := q.cut0()
				for _, d := range model {
					switch {
					case d.qos > 0:
						rest = append(rest, d)
					case len(cut) == 0 || cut[0].msg != d.msg:
						t.Fatal("another message than the next of QoS 0")
					default:
						cut = cut[1:]
					}
				}
				if model = rest; len(cut) > 0 {
					t.Fatalf("%d messages too many", len(cut))
				}
			},
			"": func(t *rapid.T) {
				var bytes, live0 int64
				var zeros int32
				for _, d := range model {
					bytes += d.msg.size()
					if d.qos == 0 {
						zeros++
						if !d.retain {
							live0 += d.msg.size()
						}
					}
				}
				if q.len() != len(model) || q.bytes != bytes || q.live0 != live0 || q.n0 != int(zeros) {
					t.Fatalf("%d messages, %d bytes, %d live, %d QoS 0; want %d, %d, %d, %d",
						q.len(), q.bytes, q.live0, q.n0, len(model), bytes, live0, zeros)
				}
				held := 0
				for _, d := range q.ring {
					if d.msg != nil {
						held++
					}
				}
				if held != len(model) {
					t.Fatalf("holds on to %d messages; want %d", held, len(model))
				}
				if len(q.ring) > max(1024, 16*len(model)) {
					t.Fatalf("a ring of %d for %d messages", len(q.ring), len(model))
				}
			},
		})
	})
}

func TestWindowIsASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		seq := rapid.SampledFrom([]uint64{0, 65_530, 65_535 * 7, 1 << 40}).Draw(t, "start")
		type entry struct {
			id  uint16
			msg *Message
		}
		var model []entry
		current := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if current != len(model) {
					t.Skip("what waits to be sent again goes first")
				}
				for range rapid.IntRange(1, 20).Draw(t, "messages") {
					m := &Message{Payload: make([]byte, len(model)%7)}
					seq++
					e := w.add(&delivery{msg: m, qos: 1, seq: seq}, awaitPuback)
					w.current++
					if e.id == 0 {
						t.Fatal("identifier 0 [MQTT-2.2.1-4]")
					}
					if slices.ContainsFunc(model, func(o entry) bool { return o.id == e.id }) {
						t.Fatalf("identifier %d is in use", e.id)
					}
					model = append(model, entry{e.id, m})
				}
				current = len(model)
			},
			"jump": func(t *rapid.T) { // as if many had been sent and acknowledged
				seq += uint64(rapid.IntRange(0, 70_000).Draw(t, "by"))
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "position")
				if at, ok := w.find(model[i].id); !ok || at != i {
					t.Fatalf("found at %d (%v); want %d", at, ok, i)
				}
				w.remove(i)
				if i < current {
					current--
				}
				model = slices.Delete(model, i, i+1)
			},
			"release": func(t *rapid.T) {
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "position")
					w.release(w.at(i))
					model[i].msg = nil
				}
			},
			"reconnect": func(*rapid.T) { w.current, current = 0, 0 },
			"send again": func(*rapid.T) {
				if current < len(model) {
					w.current++
					current++
				}
			},
			"": func(t *rapid.T) {
				var bytes int64
				for i, e := range model {
					if got := w.at(i); got.id != e.id || got.msg != e.msg {
						t.Fatalf("entry %d is %d; want %d", i, got.id, e.id)
					}
					if e.msg != nil {
						bytes += e.msg.size()
					}
				}
				if w.n != len(model) || w.bytes != bytes || w.current != current {
					t.Fatalf("%d entries, %d bytes, %d current; want %d, %d, %d", w.n, w.bytes, w.current, len(model), bytes, current)
				}
				if _, ok := w.find(0); ok {
					t.Fatal("found identifier 0")
				}
			},
		})
	})
}

func TestWindowHoldsEveryIdentifier(t *testing.T) {
	var w window
	seq := uint64(40_000)
	seen := make([]bool, 1<<16)
	add := func() uint16 {
		seq++
		id := w.add(&delivery{msg: &Message{}, seq: seq}, awaitPuback).id
		if w.current++; seen[id] || id == 0 {
			t.Fatalf("identifier %d is in use", id)
		}
		seen[id] = true
		return id
	}
	for range 65_535 {
		add()
	}
	if !w.full(1 << 20) {
		t.Fatal("every identifier is in use and there is room")
	}
	for _, i := range []int{0, 3, 20} {
		id := w.at(i).id
		seen[id] = false
		w.remove(i)
		if got := add(); got != id {
			t.Fatalf("got identifier %d; only %d is free", got, id)
		}
	}
}

func TestPacketIDs(t *testing.T) {
	for seq, want := range map[uint64]uint16{0: 1, 1: 2, 65_533: 65_534, 65_534: 65_535, 65_535: 1} {
		if got := packetID(seq); got != want {
			t.Errorf("packetID(%d) is %d; want %d", seq, got, want)
		}
	}
}
