package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// store is a small log that ended in one way or another.
type store struct {
	disk *faultdisk.Disk
	want []entry // what it replays
	held []entry // what must be readable besides
}

// makeStore is a log with an old segment in which a record is held, and three
// segments from the root on.
func makeStore(t testing.TB, close bool) store {
	t.Helper()
	s := store{disk: newDisk()}
	l, _, _ := open(t, small(s.disk))
	old := fill(l, 0, 12, 200)
	must(t, commit(l, journal.Sync))
	l.Hold(old[3].pos, 200)
	must(t, l.Checkpoint(func() error {
		s.want = fill(l, 100, 5, 150)
		return nil
	}))
	for i := range 9 {
		s.want = append(s.want, fill(l, 200+10*i, 1+i%3, 370)...)
		must(t, commit(l, journal.Sync))
	}
	s.held = old[3:4]
	if close {
		must(t, l.Close())
		return s
	}
	disk := s.disk.Kill() // nothing more was to be written
	l.Close()
	s.disk = disk
	return s
}

// segments is the names of the begun segments, in order.
func segments(d *faultdisk.Disk) []string {
	return slices.DeleteFunc(d.Names(), func(n string) bool {
		return !strings.HasSuffix(n, ".seg") || d.Get(n)[12] != 2
	})
}

// opened opens the damaged log, and returns what it replays and whether it
// says that something is wrong. Whatever is damaged, this must not fail. The
// caller closes the log.
func (s store) opened(t testing.TB) (l *journal.Log, got []entry, told bool, r *journal.Recovery) {
	t.Helper()
	found := 0
	sum, err := journal.Verify(s.disk, func(f journal.Finding) {
		if f.Reason == "" || strings.Contains(f.String(), "bytes 0 to 0:") {
			t.Errorf("a finding without a reason, or of no bytes: %q", f)
		}
		found++
	})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	// Not open, which would keep all of them until the end of the test.
	l, r, got, err = tryOpen(small(s.disk))
	must(t, err)
	told = len(r.Damage) > 0 || r.Torn.Bytes > 0
	if told && found == 0 && sum.Torn.Bytes == 0 {
		t.Errorf("Open says %v, torn %v; Verify says nothing", r.Damage, r.Torn)
	}
	for _, e := range s.held {
		typ, data, err := l.Read(e.pos, nil)
		switch {
		case err == nil && (typ != e.typ || string(data) != e.data):
			t.Errorf("read %d %.20q at %v, want %d %.20q", typ, data, e.pos, e.typ, e.data)
		case err != nil && !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrLost):
			t.Error(err)
		case err != nil:
			told = true
			if found == 0 && !errors.Is(err, journal.ErrLost) { // whose segment is missing, nobody but its owner knows
				t.Errorf("a held record is gone (%v); Verify says nothing", err)
			}
		}
	}
	return l, got, told, r
}

// judge compares: what is there must be right and in order, and if something
// is missing, it must be told.
func (s store) judge(t testing.TB, got []entry, told bool) {
	t.Helper()
	i := 0
	for _, e := range got {
		for i < len(s.want) && s.want[i] != e {
			i++
		}
		if i == len(s.want) {
			t.Fatalf("replays %v %d %.20q out of order, or though it was never appended", e.pos, e.typ, e.data)
		}
		i++
	}
	if len(got) < len(s.want) && !told {
		t.Fatalf("%d of %d records are missing, and nobody is told", len(s.want)-len(got), len(s.want))
	}
}

// works opens the log, appends to it, opens it again, and expects no more
// damage after a checkpoint.
func (s store) works(t *testing.T) {
	t.Helper()
	synctest.Test(t, s.worksOn)
}

func (s store) worksOn(t *testing.T) {
	l, _, got := open(t, small(s.disk))
	more := fill(l, 5000, 3, 100)
	must(t, commit(l, journal.Sync))
	must(t, l.Close())
	l, _, again := open(t, small(s.disk))
	if d := same(again, append(slices.Clone(got), more...)); d != "" {
		t.Fatalf("after the repair: %s", d)
	}
	var state []entry
	must(t, l.Checkpoint(func() error { state = fill(l, 6000, 3, 100); return nil }))
	synctest.Wait() // for the segments to be recycled
	must(t, l.Close())
	l, r, again := open(t, small(s.disk))
	if d := same(again, state); d != "" || len(r.Damage) > 0 {
		t.Fatalf("after a checkpoint: %s; %v", d, r.Damage)
	}
	must(t, l.Close())
}

// stride is how many cases a test goes on at a time: 1 if EDGEBROKER_THOROUGH is
// set, as scripts/crash.sh --damage does, else usual, which is prime to all that matters, or more in a hurry.
func stride(usual int) int {
	switch {
	case os.Getenv("EDGEBROKER_THOROUGH") != "":
		return 1
	case testing.Short() || raceEnabled: // scripts/check.sh runs all without it, too
		return 7 * usual
	}
	return usual
}

// TestDamageBits flips every bit of a small store, one at a time.
func TestDamageBits(t *testing.T) {
	for _, closed := range []bool{true, false} {
		s := makeStore(t, closed)
		names := segments(s.disk)
		if len(names) < 4 {
			t.Fatalf("the store has only segments %v", names)
		}
		step := stride(29)
		silent := 0
		for _, name := range s.disk.Names() {
			whole := s.disk.Get(name)
			for bit := 0; bit < 8*len(whole); bit += step {
				d := s.disk.Clone()
				b := slices.Clone(whole)
				b[bit/8] ^= 1 << (bit % 8)
				d.Put(name, b)
				c := store{d, s.want, s.held}
				l, got, told, r := c.opened(t)
				c.judge(t, got, told)
				if !told {
					silent++
					if len(got) != len(s.want) {
						t.Errorf("%s bit %d: not told; %+v", name, bit, r)
					}
				}
				if bit/step%101 == 0 {
					must(t, l.Close())
					c.works(t)
				} else {
					l.Close()
				}
				if t.Failed() {
					t.Fatalf("%s byte %d bit %d, closed %v: %+v", name, bit/8, bit%8, closed, r)
				}
			}
		}
		t.Logf("closed %v: %d flips were neither told nor harmful", closed, silent)
	}
}

// TestDamageUsed flips bits where replay reads: each must be told.
func TestDamageUsed(t *testing.T) {
	s := makeStore(t, true)
	last := s.want[len(s.want)-1]
	for _, e := range s.want {
		name := fmt.Sprintf("%016x.seg", e.pos.Segment())
		for offset := 0; offset < 12+len(e.data); offset += stride(3) {
			d := s.disk.Clone()
			b := d.Get(name)
			b[int(e.pos.Offset())+offset] ^= 1 << (offset % 8)
			d.Put(name, b)
			l, r, got, err := tryOpen(small(d))
			must(t, err)
			l.Close()
			if len(r.Damage) != 1 || r.Lost != 1 || r.Torn.Bytes != 0 {
				t.Fatalf("record %v of %v, byte %d: %+v", e.pos, last.pos, offset, r)
			}
			if len(got) != len(s.want)-1 {
				t.Fatalf("one record is damaged, %d of %d are replayed", len(got), len(s.want))
			}
			if len(r.Aside) != 1 || string(d.Get(r.Aside[0])) != string(b) {
				t.Fatalf("the damaged segment is not set aside: %v", r.Aside)
			}
		}
	}
}

// TestDamagePrefix cuts the last segment at every length, and overwrites its
// end with what another segment holds there.
func TestDamagePrefix(t *testing.T) {
	for _, closed := range []bool{true, false} {
		s := makeStore(t, closed)
		names := segments(s.disk)
		name := names[len(names)-1]
		other := s.disk.Get(names[len(names)-2])
		whole := s.disk.Get(name)
		for n := 0; n < len(whole); n += stride(7) {
			for _, how := range []string{"cut", "zeros", "stale"} {
				b := slices.Clone(whole)
				switch how {
				case "cut":
					b = b[:n]
				case "zeros":
					clear(b[n:])
				case "stale":
					copy(b[n:], other[n:])
				}
				d := s.disk.Clone()
				d.Put(name, b)
				c := store{d, s.want, s.held}
				l, got, _, r := c.opened(t)
				if len(got) > len(s.want) || same(got, s.want[:len(got)]) != "" {
					t.Fatalf("%s at %d: not a prefix; %+v", how, n, r)
				}
				must(t, l.Close())
				if n%19 == 0 {
					c.works(t)
				}
			}
		}
	}
}

func TestDamageSegments(t *testing.T) {
	for _, closed := range []bool{true, false} {
		s := makeStore(t, closed)
		names := segments(s.disk)
		fresh := makeStore(t, closed) // another store of the same shape
		cases := map[string]func(*faultdisk.Disk){
			"empty":   func(d *faultdisk.Disk) { d.Put(names[2], []byte{}) },
			"foreign": func(d *faultdisk.Disk) { d.Put(names[2], fresh.disk.Get(names[2])) },
			"noise": func(d *faultdisk.Disk) {
				b := d.Get(names[2])
				for i := range b {
					b[i] = byte(i * i >> 3)
				}
				d.Put(names[2], b)
			},
			"all headers": func(d *faultdisk.Disk) {
				for _, n := range d.Names() {
					b := d.Get(n)
					b[100] ^= 1
					d.Put(n, b)
				}
			},
			"garbage": func(d *faultdisk.Disk) {
				d.Put("00000000000000ff.seg", []byte("who put this here?"))
				d.Put("ffffffffffffffff.seg", []byte("and this"))
				d.Put("notes.txt", []byte("and this"))
			},
		}
		for i, n := range names {
			cases["missing "+n] = func(d *faultdisk.Disk) { d.Put(n, nil) }
			cases["copy of "+n] = func(d *faultdisk.Disk) { d.Put("0000000000000042.seg", d.Get(n)) }
			cases["header and begin of "+n] = func(d *faultdisk.Disk) {
				b := d.Get(n)
				b[20] ^= 1
				b[530] ^= 1
				d.Put(n, b)
			}
			for j := range i {
				m := names[j]
				cases["swapped "+n+m] = func(d *faultdisk.Disk) {
					a, b := d.Get(n), d.Get(m)
					d.Put(n, b)
					d.Put(m, a)
				}
				cases["duplicated "+n+m] = func(d *faultdisk.Disk) { d.Put(n, d.Get(m)) }
				cases["duplicated "+m+n] = func(d *faultdisk.Disk) { d.Put(m, d.Get(n)) }
			}
		}
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			t.Run(fmt.Sprintf("%s closed %v", name, closed), func(t *testing.T) {
				d := s.disk.Clone()
				cases[name](d)
				c := store{d, s.want, s.held}
				l, got, told, r := c.opened(t)
				c.judge(t, got, told)
				t.Logf("%d of %d; %v, torn %v", len(got), len(s.want), r.Damage, r.Torn)
				if strings.HasPrefix(name, "swapped") || strings.HasPrefix(name, "copy") || name == "garbage" || name == "all headers" {
					if len(got) != len(s.want) {
						t.Errorf("%d of %d records are left, and all are there to be found", len(got), len(s.want))
					}
				}
				must(t, l.Close())
				c.works(t)
			})
		}
	}
}

// TestNewerVersion: a store of a later version is refused and left as it is.
func TestNewerVersion(t *testing.T) {
	s := makeStore(t, true)
	name := segments(s.disk)[1]
	b := s.disk.Get(name)
	binary.LittleEndian.PutUint32(b[8:], 7)
	binary.LittleEndian.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
	s.disk.Put(name, b)
	before := map[string]string{}
	for _, n := range s.disk.Names() {
		before[n] = string(s.disk.Get(n))
	}
	_, _, _, err := tryOpen(small(s.disk))
	var v *journal.VersionError
	if !errors.As(err, &v) || v.Found != 7 || v.Known != 1 || v.File != name {
		t.Fatalf("opened: %v", err)
	}
	for _, word := range []string{"version 7", "up to 1", name} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if _, err := journal.Verify(s.disk, func(journal.Finding) {}); !errors.As(err, &v) {
		t.Errorf("verified: %v", err)
	}
	after := map[string]string{}
	for _, n := range s.disk.Names() {
		after[n] = string(s.disk.Get(n))
	}
	if !maps.Equal(before, after) {
		t.Error("files were changed")
	}
	if err := s.disk.Lock(); err != nil {
		t.Error("the directory stays locked")
	}
}
