package journal_test

import (
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/journal"
)

// disks is what a log must run on.
func disks(t *testing.T) map[string]journal.Disk {
	d, err := journal.Dir(filepath.Join(t.TempDir(), "store"))
	must(t, err)
	return map[string]journal.Disk{"directory": d, "faultdisk": newDisk()}
}

func TestLogKeeps(t *testing.T) {
	for name, disk := range disks(t) {
		t.Run(name, func(t *testing.T) {
			l, r, got := open(t, small(disk))
			if !r.New || len(got) != 0 || len(r.Damage) != 0 {
				t.Fatalf("a new log is %+v with %d records", r, len(got))
			}
			want := fill(l, 0, 100, 200) // many segments
			want = append(want, fill(l, 100, 1, 20000)...)
			want = append(want, fill(l, 101, 1, 0)...)
			if s := readable(l, want); s != "" {
				t.Fatal("before the commit: ", s)
			}
			must(t, commit(l, journal.Sync))
			if s := readable(l, want); s != "" {
				t.Fatal("after the commit: ", s)
			}
			for _, e := range want {
				if e.pos >= l.Durable() {
					t.Fatalf("%v is committed, and only what is before %v is durable", e.pos, l.Durable())
				}
			}
			for i := range 4 {
				must(t, l.Close())
				l, r, got = open(t, small(disk))
				if s := same(got, want); s != "" {
					t.Fatalf("opened %d times: %s", i, s)
				}
				if len(r.Damage) > 0 || r.Torn.Bytes > 0 || r.Lost > 0 {
					t.Fatalf("a sound log has %+v", r)
				}
				more := fill(l, 1000*i, 1+i, 300)
				must(t, commit(l, journal.Sync))
				want = append(want, more...)
			}
			if s := readable(l, want); s != "" {
				t.Fatal(s)
			}
			must(t, l.Close())
		})
	}
}

func TestCheckpoint(t *testing.T) {
	for name, disk := range disks(t) {
		t.Run(name, func(t *testing.T) {
			l, _, _ := open(t, small(disk))
			old := fill(l, 0, 100, 200)
			l.Hold(old[50].pos, 200)
			must(t, commit(l, journal.Sync))
			var state []entry
			must(t, l.Checkpoint(func() error {
				state = fill(l, 500, 40, 200)
				return nil
			}))
			state = append(state, fill(l, 700, 10, 100)...)
			must(t, commit(l, journal.Sync))
			must(t, l.Close())
			l, r, got := open(t, small(disk))
			if s := same(got, state); s != "" {
				t.Fatalf("%s; %+v", s, r)
			}
			if s := readable(l, old[50:51]); s != "" {
				t.Fatal(s)
			}
			must(t, l.Close())
		})
	}
}
