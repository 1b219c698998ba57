package main

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var oneStream = stream{publisher: 1, topic: 2, qos: 2}

// entered is books with one subscriber and n messages that were acknowledged.
func entered(n int) *books {
	b := newBooks(newTrace())
	b.subscribed("sub", oneStream.topic)
	for range n {
		b.accept(oneStream, b.send(oneStream))
	}
	return b
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
}

// judged requires that exactly the promises in want are broken.
func judged(t tester, b *books, want ...promise) {
	t.Helper()
	var expected [promises]bool
	for _, p := range want {
		expected[p] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range promises {
		if (b.broken[p] > 0) != expected[p] {
			t.Errorf("%v: broken %d times; found %v", p, b.broken[p], b.found)
		}
		if b.broken[p] > 1<<40 {
			t.Errorf("%v: broken %d times", p, b.broken[p])
		}
	}
	if (len(b.found) > 0) != (len(want) > 0) {
		t.Errorf("%d violations described, want for %v", len(b.found), want)
	}
}

func TestBooks(t *testing.T) {
	arrive := func(b *books, numbers ...uint64) {
		for _, n := range numbers {
			b.receive("sub", oneStream, n, 2)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(b *books)
		want []promise
	}{
		{"all is well", func(b *books) { arrive(b, 1, 2, 3, 4, 5) }, nil},
		{"nothing arrives", func(*books) {}, []promise{notLost}},
		{"the last is lost", func(b *books) { arrive(b, 1, 2, 3, 4) }, []promise{notLost}},
		{"the first is lost", func(b *books) { arrive(b, 2, 3, 4, 5) }, []promise{notLost}},
		{"one in the middle is lost", func(b *books) { arrive(b, 1, 2, 4, 5) }, []promise{notLost}},
		{"one comes twice", func(b *books) { arrive(b, 1, 2, 2, 3, 4, 5) }, []promise{once}},
		{"one comes again at the end", func(b *books) { arrive(b, 1, 2, 3, 4, 5, 1) }, []promise{once}},
		{"two change places", func(b *books) { arrive(b, 1, 3, 2, 4, 5) }, []promise{inOrder}},
		{"one comes late", func(b *books) { arrive(b, 2, 3, 4, 5, 1) }, []promise{inOrder}},
		{"one that was never sent", func(b *books) { arrive(b, 1, 2, 3, 4, 5, 6) }, []promise{intact}},
		{"one of nobody", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.receive("sub", stream{7, 7, 1}, 1, 1)
		}, []promise{intact}},
		{"QoS 1 again is no offence", func(b *books) {
			for _, n := range []uint64{1, 2, 3, 2, 3, 4, 5, 1} {
				b.receive("sub", oneStream, n, 1)
			}
		}, nil},
		{"QoS 1 late is one", func(b *books) {
			for _, n := range []uint64{1, 3, 2, 3, 4, 5} {
				b.receive("sub", oneStream, n, 1)
			}
		}, []promise{inOrder}},
		{"one without answer", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.send(oneStream)
		}, []promise{answered}},
		{"one without answer that arrives", func(b *books) {
			b.send(oneStream)
			arrive(b, 1, 2, 3, 4, 5, 6)
		}, []promise{answered}},
		{"a refused one need not arrive", func(b *books) {
			b.refuse(oneStream, b.send(oneStream))
			b.accept(oneStream, b.send(oneStream))
			arrive(b, 1, 2, 3, 4, 5, 7)
		}, nil},
		{"a refused one passed over before the refusal is known", func(b *books) {
			n := b.send(oneStream)
			b.accept(oneStream, b.send(oneStream))
			arrive(b, 1, 2, 3, 4, 5, 7)
			b.refuse(oneStream, n)
		}, nil},
		{"one after a refused one is lost", func(b *books) {
			b.refuse(oneStream, b.send(oneStream))
			b.accept(oneStream, b.send(oneStream))
			arrive(b, 1, 2, 3, 4, 5)
		}, []promise{notLost}},
		{"an answer that comes twice counts once", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.accept(oneStream, 5)
			b.send(oneStream)
		}, []promise{answered}},
		{"a late subscriber need not get what was before", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.subscribed("late", oneStream.topic)
		}, nil},
		{"a late subscriber must get what comes then", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.receive("late", oneStream, 5, 2) // before it knows
			b.subscribed("late", oneStream.topic)
			b.accept(oneStream, b.send(oneStream))
			arrive(b, 6)
		}, []promise{notLost}},
		{"a gap from before the subscription is none", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.receive("late", oneStream, 2, 2)
			b.receive("late", oneStream, 5, 2)
			b.subscribed("late", oneStream.topic)
		}, nil},
		{"subscribing again changes nothing", func(b *books) {
			b.subscribed("sub", oneStream.topic)
		}, []promise{notLost}},
		{"a kept session is gone", func(b *books) {
			arrive(b, 1, 2, 3, 4, 5)
			b.connected("sub", false) // nothing was promised yet
			b.keeps("sub")
			b.connected("sub", true)
			b.connected("sub", false)
		}, []promise{sessionKept}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := entered(5)
			tt.do(b)
			b.close()
			judged(t, b, tt.want...)
		})
	}
}

func TestBooksOfRetained(t *testing.T) {
	c := cell{1, 0}
	for _, tt := range []struct {
		name        string
		sent, acked uint64 // before the look
		then        uint64 // sent while looking
		seen        uint64 // 0: no value
		want        []promise
	}{
		{"the acknowledged value", 5, 5, 5, 5, nil},
		{"none set", 0, 0, 0, 0, nil},
		{"sent and not acknowledged", 5, 3, 5, 4, nil},
		{"not acknowledged, not there", 1, 0, 1, 0, nil},
		{"set meanwhile", 3, 3, 6, 5, nil},
		{"behind the acknowledged value", 5, 5, 5, 4, []promise{notRolledBack}},
		{"gone", 5, 5, 5, 0, []promise{notRolledBack}},
		{"erased", 7, 7, 7, 0, nil},
		{"erased meanwhile", 5, 5, 8, 0, nil},
		{"erased, and back", 7, 7, 7, 6, []promise{notRolledBack}},
		{"erased before, set since, gone", 8, 8, 8, 0, []promise{notRolledBack}},
		{"an erased value is no value", 8, 6, 8, 7, []promise{intact}},
		{"never set", 5, 5, 5, 6, []promise{intact}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBooks(nil)
			for i := uint64(1); i <= tt.sent; i++ {
				if n := b.set(c); i <= tt.acked {
					b.acceptValue(c, n)
				}
			}
			floors, seen := b.floors(), map[cell]uint64{}
			for range tt.then - tt.sent {
				b.acceptValue(c, b.set(c))
			}
			if tt.seen > 0 {
				seen[c] = tt.seen
			}
			b.look("observer", floors, seen)
			judged(t, b, tt.want...)
		})
	}
	t.Run("a cell of nobody", func(t *testing.T) {
		b := newBooks(nil)
		b.look("observer", b.floors(), map[cell]uint64{c: 1})
		judged(t, b, intact)
	})
}

// Whatever a subscriber gets, the books find what a plain comparison finds.
func TestBooksAgainstComparison(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sent := rapid.IntRange(1, 12).Draw(rt, "sent")
		got := rapid.SliceOf(rapid.Uint64Range(1, uint64(sent))).Draw(rt, "got")
		b := entered(sent)
		first, last := map[uint64]bool{}, uint64(0)
		var want []promise
		for _, n := range got {
			b.receive("sub", oneStream, n, 2)
			switch {
			case first[n]:
				want = append(want, once)
			case n < last:
				want = append(want, inOrder)
			}
			first[n], last = true, max(last, n)
		}
		if len(first) < sent {
			want = append(want, notLost)
		}
		owed, _ := b.awaited()
		if owed != sent-len(first) || b.behind() != int64(owed) {
			rt.Errorf("owed %d, behind %d, want %d", owed, b.behind(), sent-len(first))
		}
		b.close()
		judged(rt, b, want...)
	})
}

func TestEvidenceNamesTheMoment(t *testing.T) {
	b := entered(3)
	b.receive("sub", oneStream, 1, 2)
	b.trace.note("sub", "got number three")
	b.receive("sub", oneStream, 3, 2)
	for range 10 * shown {
		b.trace.note("sub", "long after")
	}
	b.close()
	if len(b.found) != 1 || !strings.Contains(b.found[0].evidence, "sub: got number three") {
		t.Errorf("found %+v", b.found)
	}
}

func TestPayload(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := stream{rapid.IntRange(0, 1000).Draw(rt, "publisher"), rapid.IntRange(0, 1000).Draw(rt, "topic"), byte(rapid.IntRange(1, 2).Draw(rt, "qos"))}
		n := rapid.Uint64Range(1, 1<<40).Draw(rt, "n")
		b := streamPayload(s, n, rapid.IntRange(0, 400).Draw(rt, "size"))
		if got, m, err := readStream(b); got != s || m != n || err != nil {
			rt.Fatalf("got %v, %d, %v", got, m, err)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if _, _, err := readStream(b); err == nil {
			rt.Fatal("a flipped bit was not noticed")
		}
	})
	c := cell{3, 2}
	if got, ok := cellOf(cellTopic(c)); got != c || !ok {
		t.Errorf("got %v, %v", got, ok)
	}
	if got, n, err := readCell(cellPayload(c, 8, 50)); got != c || n != 8 || err != nil {
		t.Errorf("got %v, %d, %v", got, n, err)
	}
	if len(cellPayload(c, 7, 50)) > 0 {
		t.Error("value 7 does not erase")
	}
}
