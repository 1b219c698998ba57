package journal_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// used is the bytes of all files on d.
func used(d *faultdisk.Disk) (n int64) {
	list, _ := d.List()
	for _, f := range list {
		n += f.Size
	}
	return n
}

// TestFullBudget fills a log to its budget with records that are held, and
// expects: Full before it is too late, small records and a checkpoint go on,
// the files stay within the budget, and after releases all is well again.
func TestFullBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		o := small(disk)
		o.MaxBytes = 20 * o.SegmentSize
		told := make(states, 100)
		o.OnState = told.add
		l, _, _ := open(t, o)
		most := int64(0)
		disk.Hook(func(op faultdisk.Op) faultdisk.Fault { return faultdisk.Fault{} })
		step := func() {
			t.Helper()
			must(t, commit(l, journal.Sync))
			synctest.Wait()
			if most = max(most, used(disk)); most > o.MaxBytes {
				t.Fatalf("%d bytes in files, the budget is %d", most, o.MaxBytes)
			}
			if st := l.Stats(); st.UsedBytes != used(disk) {
				t.Fatalf("stats say %d bytes in files, there are %d", st.UsedBytes, used(disk))
			}
		}
		save := func() {
			t.Helper()
			must(t, l.Checkpoint(func() error { fill(l, 900, 3, 100); return nil }))
			step()
		}
		room := l.Room()
		if room <= 0 || room > o.MaxBytes {
			t.Fatalf("an empty log has room for %d bytes", room)
		}
		var held []entry
		for l.State() == journal.OK {
			if len(held) > 1000 {
				t.Fatal("never full")
			}
			e := fill(l, len(held), 1, 500)[0]
			l.Hold(e.pos, 500)
			held = append(held, e)
			step()
			select {
			case <-l.Due():
				save()
			default:
			}
		}
		if n := int64(len(held)) * 500; n < o.MaxBytes/2 {
			t.Errorf("full with %d bytes held of %d", n, o.MaxBytes)
		}
		if r := l.Room(); r != 0 {
			t.Errorf("a full log has room for %d bytes", r)
		}
		if err := l.Stats().Err; !errors.Is(err, journal.ErrFull) {
			t.Errorf("it is full because %v", err)
		}
		save() // though nothing can be freed
		for i := range 20 {
			fill(l, i, 1, 20)
			step()
		}
		if l.State() != journal.Full {
			t.Fatalf("the state is %v after small records", l.State())
		}
		if s := readable(l, held); s != "" {
			t.Fatal(s)
		}
		for _, e := range held[:len(held)/2] {
			fill(l, 1, 1, 10)
			l.Release(e.pos, 500)
		}
		step()
		select {
		case <-l.Due():
			save()
		default:
		}
		time.Sleep(3 * time.Second)
		if l.State() != journal.OK {
			t.Fatalf("half of it is released, and the state is %v: %+v", l.State(), l.Stats())
		}
		if got := told.all(); !slices.Equal(got, []journal.State{journal.Full, journal.OK}) {
			t.Errorf("the states told are %v", got)
		}
		if s := readable(l, held[len(held)/2:]); s != "" {
			t.Fatal(s)
		}
		must(t, l.Close())
	})
}

// TestFullIgnored: an owner that goes on as if nothing were the matter loses
// nothing that was acknowledged, and gets out by a checkpoint.
func TestFullIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		o := small(disk)
		o.MaxBytes = 6 * o.SegmentSize
		l, _, _ := open(t, o)
		var acked []entry
		for {
			if len(acked) > 1000 {
				t.Fatal("never full")
			}
			e := fill(l, len(acked), 1, 500)
			if err := commit(l, journal.Sync); err != nil {
				if !errors.Is(err, journal.ErrFull) || !errors.Is(err, journal.ErrFailed) {
					t.Fatal(err)
				}
				break
			}
			acked = append(acked, e...)
		}
		if n := int64(len(acked)) * 500; n < 4*o.SegmentSize {
			t.Errorf("failed for want of space after %d bytes", n)
		}
		_, _, got := open(t, small(disk.Clone()))
		if s := same(got[:len(acked)], acked); s != "" {
			t.Fatal(s)
		}
		time.Sleep(time.Second)
		<-l.Due()
		must(t, l.Checkpoint(func() error { acked = fill(l, 1, 1, 100); return nil }))
		time.Sleep(3 * time.Second)
		if l.State() != journal.OK || used(disk) > o.MaxBytes {
			t.Fatalf("%v, %d bytes used of %d", l.State(), used(disk), o.MaxBytes)
		}
		must(t, l.Close())
	})
}

// TestFullDisk: the disk itself has no room, then some.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		o := small(disk)
		disk.Capacity(10 * o.SegmentSize)
		l, _, _ := open(t, o)
		n := 0
		for l.State() == journal.OK {
			n++
			fill(l, n, 1, 1000)
			must(t, commit(l, journal.Sync))
			synctest.Wait()
		}
		if err := l.Stats().Err; !errors.Is(err, syscall.ENOSPC) || n < 20 {
			t.Fatalf("full after %d records: %v", n, err)
		}
		fill(l, 1, 1, 1000)
		must(t, commit(l, journal.Sync))
		disk.Capacity(20 * o.SegmentSize)
		time.Sleep(2 * time.Second)
		if l.State() != journal.OK {
			t.Fatalf("there is room again, and the state is %v", l.State())
		}
		must(t, l.Close())

		// Not even room to open.
		disk.Capacity(1)
		for range 5 { // each start takes what little there is
			l, _, _ = open(t, o)
			fill(l, 1, 1, 1000)
			_ = commit(l, journal.Sync)
			_ = l.Close()
		}
		l, r, got := open(t, o)
		if l.State() != journal.Failed || len(r.Damage) > 0 || len(got) == 0 {
			t.Fatalf("on a full disk: %v, %+v", l.State(), r)
		}
		if err := commit(l, journal.Sync); !errors.Is(err, journal.ErrFull) {
			t.Fatal(err)
		}
		if s := readable(l, got); s != "" {
			t.Fatal(s)
		}
		disk.Capacity(0)
		<-l.Due()
		must(t, l.Checkpoint(func() error { got = fill(l, 1, 5, 100); return nil }))
		must(t, l.Close())
		_, _, again := open(t, o)
		if s := same(again, got); s != "" {
			t.Fatal(s)
		}
	})
}

// TestFullTrim: what finished segments do not use is cut off when space is
// short, so that starting often does not eat the budget.
func TestFullTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		o := small(disk)
		o.SegmentSize = 64 << 10
		o.MaxBytes = 5 * o.SegmentSize
		var want []entry
		for i := range 40 {
			l, r, got := open(t, o)
			if s := same(got, want); s != "" || len(r.Damage) > 0 {
				t.Fatalf("start %d: %s; %v", i, s, r.Damage)
			}
			want = append(want, fill(l, i, 1, 100)...)
			must(t, commit(l, journal.Sync))
			synctest.Wait()
			if l.State() != journal.OK {
				t.Fatalf("start %d: %v: %v", i, l.State(), l.Stats().Err)
			}
			if used(disk) > o.MaxBytes {
				t.Fatalf("start %d: %d bytes used", i, used(disk))
			}
			must(t, l.Close())
		}
	})
}
