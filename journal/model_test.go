package journal_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"pgregory.net/rapid"
)

// TestModel runs random programs on a log whose disk is in order, against a
// list: everything is kept, in order, and can be read.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		disk := faultdisk.New(1)
		o := small(disk)
		if rapid.Bool().Draw(rt, "larger") {
			o.SegmentSize = 16 << 10
		}
		l, _, _ := open(t, o)
		var (
			list []entry // what replay must yield
			held = map[journal.Pos]entry{}
			next int
		)
		add := func() entry {
			next++
			size := rapid.SampledFrom([]int{0, 1, 20, 300, 4000, 9000}).Draw(rt, "size")
			e := fill(l, next, 1, size)[0]
			if n := len(list); n > 0 && e.pos <= list[n-1].pos {
				rt.Fatalf("%v comes after %v", e.pos, list[n-1].pos)
			}
			list = append(list, e)
			return e
		}
		check := func() {
			if s := readable(l, list); s != "" {
				rt.Fatal(s)
			}
			if s := readable(l, slices.Collect(maps.Values(held))); s != "" {
				rt.Fatal("held: ", s)
			}
			if l.State() != journal.OK {
				rt.Fatal(l.State())
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) { add() },
			"hold": func(*rapid.T) {
				e := add()
				l.Hold(e.pos, len(e.data))
				held[e.pos] = e
			},
			"release": func(rt *rapid.T) {
				if len(held) == 0 {
					rt.Skip()
				}
				pos := rapid.SampledFrom(sortedKeys(held)).Draw(rt, "which")
				add()
				l.Release(pos, len(held[pos].data))
				delete(held, pos)
			},
			"commit": func(rt *rapid.T) {
				level := rapid.SampledFrom([]journal.Level{journal.Sync, journal.Flush}).Draw(rt, "level")
				if err := commit(l, level); err != nil {
					rt.Fatal(err)
				}
				if n := len(list); level == journal.Sync && n > 0 && l.Durable() <= list[n-1].pos {
					rt.Fatalf("%v is committed, durable is %v", list[n-1].pos, l.Durable())
				}
			},
			"checkpoint": func(*rapid.T) {
				moved := map[journal.Pos]entry{}
				err := l.Checkpoint(func() error {
					list = nil
					add()
					for _, pos := range sortedKeys(held) {
						e := held[pos]
						if !l.Vacate(pos) {
							continue
						}
						n := entry{l.Append(e.typ, []byte(e.data)), e.typ, e.data}
						l.Hold(n.pos, len(n.data))
						list = append(list, n)
						moved[pos] = n
					}
					return nil
				})
				if err != nil {
					rt.Fatal(err)
				}
				for pos, n := range moved {
					l.Release(pos, len(n.data))
					delete(held, pos)
					held[n.pos] = n
				}
			},
			"reopen": func(rt *rapid.T) {
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				var r *journal.Recovery
				var got []entry
				l, r, got = open(t, o)
				if s := same(got, list); s != "" || len(r.Damage) > 0 || r.Torn.Bytes > 0 {
					rt.Fatalf("%s; %+v", s, r)
				}
				for _, e := range held {
					l.Hold(e.pos, len(e.data))
				}
			},
			"": func(*rapid.T) { check() },
		})
		if err := l.Close(); err != nil {
			rt.Fatal(err)
		}
		n := 0
		sum, err := journal.Verify(disk, func(f journal.Finding) { rt.Error(f) })
		if err != nil || sum.Records != int64(len(list)) {
			rt.Fatalf("verify: %v, %d records of %d", err, sum.Records, len(list))
		}
		all := map[journal.Pos]entry{}
		if _, err := journal.Scan(disk, func(r journal.Record) error {
			n++
			all[r.Pos] = entry{r.Pos, r.Type, string(r.Data)}
			return nil
		}); err != nil || n != len(all) || int64(n) != sum.Records+sum.OldRecords {
			rt.Fatalf("scan: %v, %d records", err, n)
		}
		for _, e := range append(slices.Collect(maps.Values(held)), list...) {
			if all[e.pos] != e {
				rt.Fatalf("scan does not find %v", e.pos)
			}
		}
	})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
