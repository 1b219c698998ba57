package bridge

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is done about a topic, case by case.
func TestJudgement(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(1000+second), 0) }
	made := func(what uint64, second int) bucketLocal {
		return bucketLocal{has: what > 0, made: true, digest: what, stamp: at(second)}
	}
	copied := func(what uint64) bucketLocal { return bucketLocal{has: what > 0, digest: what} }
	old := bucketLocal{has: true, made: true, digest: 1} // from before this process
	value := func(what uint64, second int) bucketEntry {
		return bucketEntry{rev: 7, digest: what, gone: what == 0, stamp: at(second)}
	}
	own := func(e bucketEntry) bucketEntry { e.own = true; return e }
	none := bucketEntry{}
	for _, c := range []struct {
		name string
		j    judgement
		want step // if both may be done
	}{
		{"nothing anywhere", judgement{}, rest},
		{"the same", judgement{here: made(1, 5), there: value(1, 1)}, rest},
		{"the same, published again later", judgement{here: made(1, 5), there: value(1, 1), changed: true}, put},
		{"the same, sent again", judgement{here: made(1, 2), there: value(1, 2), changed: true}, rest},
		{"the same, of unknown age", judgement{here: old, there: value(1, 1), changed: true}, rest},
		{"the same, which has come in", judgement{here: copied(1), there: value(1, 1), changed: true}, rest},
		{"newer here", judgement{here: made(1, 5), there: value(2, 4)}, put},
		{"older here", judgement{here: made(1, 4), there: value(2, 5)}, bring},
		{"at the same time", judgement{here: made(1, 4), there: value(2, 4)}, bring},
		{"older here by the clock, but it was seen before", judgement{here: made(1, 4), there: value(2, 5), after: true}, put},
		{"newer here by the clock, but the bucket had it before", judgement{here: made(1, 5), there: value(2, 4), before: true}, bring},
		{"own, and newer by the clock", judgement{here: made(1, 4), there: own(value(2, 5))}, put},
		{"of unknown age", judgement{here: old, there: value(2, 5)}, bring},
		{"of unknown age, and own", judgement{here: old, there: own(value(2, 5))}, put},
		{"of unknown age, and nothing there", judgement{here: old, there: none}, put},
		{"a copy of something older", judgement{here: copied(1), there: value(2, 5)}, bring},
		{"a copy of something that is gone without a mark", judgement{here: copied(1), there: none}, bring},
		{"a copy of something deleted", judgement{here: copied(1), there: value(0, 5)}, bring},
		{"made here, deleted there later", judgement{here: made(1, 4), there: value(0, 5)}, bring},
		{"made here after it was deleted there", judgement{here: made(1, 6), there: value(0, 5)}, put},
		{"removed here later", judgement{here: made(0, 6), there: value(1, 5)}, put},
		{"removed here earlier", judgement{here: made(0, 4), there: value(1, 5)}, bring},
		{"removed on both sides", judgement{here: made(0, 4), there: value(0, 5)}, rest},
		{"removed on both sides, here later", judgement{here: made(0, 6), there: value(0, 5), changed: true}, put},
		{"removed here, never there", judgement{here: made(0, 4), there: none, changed: true}, put},
		{"nothing here, and nobody has removed it", judgement{there: own(value(1, 5))}, bring},
		{"another expiry", judgement{here: bucketLocal{has: true, made: true, digest: 1, stamp: at(5), expires: at(90)}, there: value(1, 4)}, put},
		{"about the same expiry", judgement{here: bucketLocal{has: true, made: true, digest: 1, stamp: at(5), expires: at(90)}, there: bucketEntry{rev: 1, digest: 1, stamp: at(4), expires: at(91)}}, rest},
	} {
		for _, may := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, false}} {
			j := c.j
			j.mayPut, j.mayTake = may[0], may[1]
			want := c.want
			if want == put && !j.mayPut || want == bring && !j.mayTake {
				want = rest
			}
			if got := j.step(); got != want {
				t.Errorf("%s, out %v, in %v: got %d; want %d", c.name, may[0], may[1], got, want)
			}
		}
	}
}

// gatewayModel is a gateway in TestJudgementsConverge: what it has, and what it
// has not looked at yet.
type gatewayModel struct {
	here    bucketLocal
	waits   bool
	changed bucketLocal // the last that clients have made of it
	skew    time.Duration
}

// However gateways take turns, and however wrong their idea of the time is: when
// all have looked at what they were told of, all have the same as the bucket. If
// they know the time, and one of them is away, it is what was published last.
func TestJudgementsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var gateways [3]gatewayModel
		var there bucketEntry
		writer, now, last := -1, time.Unix(1000, 0), uint64(0)
		exact := rapid.Bool().Draw(t, "exact")
		for i := range gateways {
			if !exact {
				gateways[i].skew = time.Duration(rapid.IntRange(-3, 3).Draw(t, "skew")) * time.Second
			}
		}
		look := func(i int) bool {
			g := &gateways[i]
			l, e := g.here, there
			if !l.made && g.waits {
				l = g.changed
			}
			e.own = e.rev > 0 && writer == i
			j := judgement{here: l, there: e, mayPut: true, mayTake: true, changed: g.waits}
			g.waits = false
			switch j.step() {
			case put:
				there = bucketEntry{rev: there.rev + 1, gone: !l.has, digest: l.digest, stamp: j.published(now)}
				writer = i
				return true
			case bring:
				g.here = bucketLocal{has: !e.gone && e.rev > 0, digest: e.digest}
				return true
			}
			return false
		}
		for range rapid.IntRange(1, 30).Draw(t, "turns") {
			i := rapid.IntRange(0, len(gateways)-1).Draw(t, "gateway")
			if rapid.Bool().Draw(t, "publishes") {
				now = now.Add(time.Second)
				last = uint64(rapid.IntRange(0, 3).Draw(t, "value"))
				g := &gateways[i]
				g.changed = bucketLocal{has: last > 0, made: true, digest: last, stamp: now.Add(g.skew)}
				if g.here = g.changed; last == 0 {
					g.here = bucketLocal{}
				}
				g.waits = true
			} else {
				look(i)
			}
		}
		for turns, quiet := 0, 0; quiet < 2*len(gateways); turns++ {
			if turns > 200 {
				t.Fatal("they go round in circles")
			}
			if quiet++; look(turns % len(gateways)) {
				quiet = 0
			}
		}
		for i, g := range gateways {
			if has := there.rev > 0 && !there.gone; g.here.has != has || has && g.here.digest != there.digest {
				t.Fatalf("gateway %d has %+v, the bucket %+v", i, g.here, there)
			}
			if exact && (g.here.has != (last > 0) || last > 0 && g.here.digest != last) {
				t.Fatalf("gateway %d has %+v; the last was %d", i, g.here, last)
			}
		}
	})
}
