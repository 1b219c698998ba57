package journal_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// states collects what OnState is told.
type states chan journal.State

func (s states) add(st journal.State, _ error) { s <- st }

func (s states) all() (out []journal.State) {
	for {
		select {
		case st := <-s:
			out = append(out, st)
		default:
			return out
		}
	}
}

// script appends and commits, with a segment change and a checkpoint, and
// returns what was acknowledged, what was appended, and what the checkpoint is.
func script(l *journal.Log) (acked, all, state []entry, err error) {
	for i := range 6 {
		all = append(all, fill(l, 10*i, 3, 400)...)
		if err = commit(l, journal.Sync); err != nil {
			return acked, all, nil, err
		}
		acked = slices.Clone(all)
	}
	begin := len(all)
	err = l.Checkpoint(func() error {
		all = append(all, fill(l, 100, 3, 100)...)
		return nil
	})
	if err == nil {
		acked = slices.Clone(all[begin:])
		all = acked
		begin = 0
	}
	return acked, all, all[begin:], err
}

// TestFailureEverywhere fails each change of a run in turn, in several ways,
// and expects: nobody is told success who should not be, the log comes back by
// itself, and a power cut at any time thereafter loses nothing.
func TestFailureEverywhere(t *testing.T) {
	faults := []faultdisk.Fault{
		{Err: syscall.EIO},
		{Err: syscall.EIO, Done: 100},
		{Err: syscall.ENOSPC},
		{Err: syscall.ENOSPC, Done: 1 << 20},
	}
	reached := map[faultdisk.Kind]int{}
	for kind, fault := range faults {
		for nth := 1; ; nth++ {
			if nth > 500 {
				t.Fatal("the run does not end")
			}
			fired := false
			synctest.Test(t, func(t *testing.T) {
				disk := faultdisk.New(uint64(nth))
				o := small(disk)
				told := make(states, 100)
				o.OnState = told.add
				disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
					if op.Change == nth {
						fired = true
						reached[op.Kind]++
						return fault
					}
					return faultdisk.Fault{}
				})
				l, _, _, err := tryOpen(o)
				if err != nil {
					if !fired || !errors.Is(err, fault.Err) {
						t.Fatalf("fault %d at change %d: open: %v", kind, nth, err)
					}
					if l, _, _, err = tryOpen(o); err != nil {
						t.Fatalf("fault %d at change %d: opened again: %v", kind, nth, err)
					}
				}
				t.Cleanup(func() { l.Close() })
				generation := l.Generation()
				acked, all, state, err := script(l)
				synctest.Wait()
				disk.Hook(nil)
				if err != nil || l.State() == journal.Failed {
					if !errors.Is(err, journal.ErrFailed) || !errors.Is(err, fault.Err) || l.Generation() == generation && generation == 0 {
						t.Fatalf("fault %d at change %d: %v, generation %d", kind, nth, err, l.Generation())
					}
					if err := commit(l, journal.Sync); !errors.Is(err, journal.ErrFailed) {
						t.Fatalf("a failed log tells a commit %v", err)
					}
					if err := commit(l, journal.Flush); !errors.Is(err, journal.ErrFailed) {
						t.Fatalf("a failed log tells a flush %v", err)
					}
					lost := l.Append(1, []byte("lost"))
					if _, _, err := l.Read(lost, nil); !errors.Is(err, journal.ErrLost) || l.Kept(lost) {
						t.Fatalf("what was appended after a failure is read: %v", err)
					}
					<-l.Due()
					if err := commit(l, journal.Sync); !errors.Is(err, journal.ErrFailed) {
						t.Fatalf("a failed log that waits for a checkpoint tells a commit %v", err)
					}
					// Power cut before the checkpoint: what was promised is there.
					after := disk.Clone().Crash(rand.New(rand.NewPCG(uint64(nth), 7)))
					_, r, got := open(t, small(after))
					kept := len(got) >= len(acked) && same(got, all[:len(got)]) == ""
					if !kept && (len(state) == 0 || same(got, state) != "") || len(r.Damage) > 0 {
						t.Fatalf("fault %d at change %d: after a power cut %d records, %d acknowledged of %d; %+v", kind, nth, len(got), len(acked), len(all), r)
					}
					must(t, l.Checkpoint(func() error {
						acked = fill(l, 300, 30, 100)
						return nil
					}))
					synctest.Wait()
					if got := told.all(); !slices.Equal(got, []journal.State{journal.Failed, journal.OK}) {
						t.Fatalf("the states told are %v", got)
					}
				}
				// A spare may have failed to be made: that is mended in time.
				time.Sleep(5 * time.Second)
				if l.State() != journal.OK {
					t.Fatalf("fault %d at change %d: the log is %v", kind, nth, l.State())
				}
				acked = append(acked, fill(l, 400, 1, 100)...)
				must(t, commit(l, journal.Sync))
				after := disk.Crash(rand.New(rand.NewPCG(uint64(nth), 8)))
				l.Close()
				l, r, got := open(t, small(after))
				if d := same(got, acked); d != "" || len(r.Damage) > 0 {
					t.Fatalf("fault %d at change %d: in the end %s; %+v", kind, nth, d, r)
				}
				l.Close()
			})
			if !fired {
				break
			}
		}
	}
	for _, k := range []faultdisk.Kind{faultdisk.Write, faultdisk.Sync, faultdisk.Create, faultdisk.Commit} {
		if reached[k] == 0 {
			t.Errorf("no %s was made to fail", k)
		}
	}
}

// TestFailureForgotten: a sync that fails once and then pretends that all is
// well must not be believed, not even by the next process.
func TestFailureForgotten(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			disk := faultdisk.New(seed)
			l, _, _ := open(t, small(disk))
			acked := fill(l, 0, 2, 100)
			must(t, commit(l, journal.Sync))
			synctest.Wait()
			fail := true
			disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
				if op.Kind == faultdisk.Sync && fail {
					fail = false
					return faultdisk.Fault{Err: syscall.EIO}
				}
				return faultdisk.Fault{}
			})
			all := append(acked, fill(l, 10, 4, 300)...)
			if commit(l, journal.Sync) == nil {
				t.Fatal("a failed sync is told as success")
			}
			disk = disk.Kill() // before the log can begin a fresh segment
			l.Close()
			l, _, got := open(t, small(disk))
			if len(got) < len(acked) || same(got, all[:len(got)]) != "" {
				t.Fatalf("%d records after the kill", len(got))
			}
			disk = disk.Crash(rand.New(rand.NewPCG(seed, 9)))
			l.Close()
			l, r, again := open(t, small(disk))
			if d := same(again, got); d != "" || len(r.Damage) > 0 {
				t.Fatalf("what was replayed once is gone after a power cut: %s; %+v", d, r)
			}
			l.Close()
		})
	}
}

// TestFailureBackoff: a dead disk is asked again, seldom, and Close does not
// wait for it.
func TestFailureBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		synctest.Wait()
		creates := 0
		disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
			if op.Kind == faultdisk.Create {
				creates++
			}
			if op.Change > 0 {
				return faultdisk.Fault{Err: syscall.EIO}
			}
			return faultdisk.Fault{}
		})
		fill(l, 0, 1, 10)
		if err := commit(l, journal.Sync); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if creates < 5 || creates > 40 {
			t.Errorf("a dead disk was asked %d times in a minute", creates)
		}
		if err := l.Checkpoint(func() error { return nil }); !errors.Is(err, journal.ErrFailed) {
			t.Errorf("a checkpoint on a dead disk: %v", err)
		}
		start := time.Now()
		if err := l.Close(); !errors.Is(err, journal.ErrFailed) {
			t.Errorf("closed: %v", err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// TestFailureAgain: the checkpoint that is to end a failure fails, in write or
// on disk; the log is not believed until one succeeds.
func TestFailureAgain(t *testing.T) {
	for _, how := range []string{"write", "disk"} {
		synctest.Test(t, func(t *testing.T) {
			disk := newDisk()
			l, _, _ := open(t, small(disk))
			acked := fill(l, 0, 3, 100)
			must(t, commit(l, journal.Sync))
			synctest.Wait()
			var bad atomic.Bool
			bad.Store(true)
			disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
				if bad.Load() && op.Kind == faultdisk.Sync {
					return faultdisk.Fault{Err: syscall.EIO}
				}
				return faultdisk.Fault{}
			})
			fill(l, 10, 1, 100)
			if commit(l, journal.Sync) == nil {
				t.Fatal("no failure")
			}
			bad.Store(false)
			for range 3 {
				<-l.Due()
				generation := l.Generation()
				var pos journal.Pos
				err := l.Checkpoint(func() error {
					pos = fill(l, 20, 20, 300)[19].pos
					if !l.Kept(pos) {
						t.Error("what a checkpoint appends is not kept")
					}
					if how == "write" {
						return errDisk
					}
					bad.Store(true)
					return nil
				})
				bad.Store(false)
				if how == "write" && err != errDisk || how == "disk" && !errors.Is(err, syscall.EIO) {
					t.Fatalf("%s: %v", how, err)
				}
				synctest.Wait()
				if l.State() != journal.Failed || l.Generation() == generation || l.Kept(pos) {
					t.Fatalf("%s: state %v, generation moved from %d to %d, kept %v", how, l.State(), generation, l.Generation(), l.Kept(pos))
				}
				if err := commit(l, journal.Sync); !errors.Is(err, journal.ErrFailed) {
					t.Fatalf("%s: a commit is told %v", how, err)
				}
				_, r, got := open(t, small(disk.Clone().Crash(rand.New(rand.NewPCG(3, 3)))))
				if len(got) < 3 || len(got) > 4 || same(got[:3], acked) != "" || len(r.Damage) > 0 {
					t.Fatalf("%s: %d records, %+v", how, len(got), r)
				}
			}
			<-l.Due()
			must(t, l.Checkpoint(func() error { acked = fill(l, 50, 2, 100); return nil }))
			if l.State() != journal.OK {
				t.Fatal(l.State())
			}
			must(t, commit(l, journal.Sync))
			must(t, l.Close())
			_, _, got := open(t, small(disk.Kill()))
			if d := same(got, acked); d != "" {
				t.Fatal(d)
			}
		})
	}
}

// TestFailureWaiting: everybody who waits is told, in order, and later ones too.
func TestFailureWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		disk.Latency(10 * time.Millisecond)
		l, _, _ := open(t, small(disk))
		time.Sleep(time.Second) // for the spares
		failed := false
		disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
			if op.Kind == faultdisk.Sync && !failed {
				failed = true
				return faultdisk.Fault{Err: syscall.EIO}
			}
			return faultdisk.Fault{}
		})
		o := &order{}
		for i := range 20 {
			fill(l, i, 1, 10)
			l.Commit(journal.Level(i%2), o.next())
			if i%5 == 4 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		time.Sleep(20 * time.Millisecond)
		l.Commit(journal.Sync, o.next())
		synctest.Wait()
		told := 0
		for i, err := range o.told {
			if err != nil {
				told++
				if i%2 == 0 && !errors.Is(err, syscall.EIO) {
					t.Errorf("commit %d is told %v", i, err)
				}
			} else if i%2 == 0 {
				t.Errorf("commit %d is told success", i)
			}
		}
		if len(o.told) != 21 || told < 10 {
			t.Errorf("%d of 21 are told, %d of a failure", len(o.told), told)
		}
		l.Close()
	})
}

// order sees to it that dones are called in order.
type order struct {
	asked int

	mu   sync.Mutex
	told []error
}

func (o *order) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.told)
}

type ordered struct {
	o *order
	n int
}

func (o *order) next() journal.Done {
	o.asked++
	return &ordered{o, o.asked - 1}
}

func (d *ordered) Committed(err error) {
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	if d.n != len(d.o.told) {
		panic("told out of order")
	}
	d.o.told = append(d.o.told, err)
}

func TestLock(t *testing.T) {
	for name, disk := range disks(t) {
		t.Run(name, func(t *testing.T) {
			l, _, _ := open(t, small(disk))
			if _, _, _, err := tryOpen(small(disk)); !errors.Is(err, journal.ErrLocked) {
				t.Fatalf("opened twice: %v", err)
			}
			must(t, l.Close())
			must(t, l.Close())
			l, _, _ = open(t, small(disk))
			must(t, l.Close())
		})
	}
	path := t.TempDir()
	one, err := journal.Dir(path)
	must(t, err)
	two, err := journal.Dir(path)
	must(t, err)
	l, _, _ := open(t, small(one))
	_, _, _, err = tryOpen(small(two))
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), "pid ") || !strings.Contains(err.Error(), path) {
		t.Fatalf("opened twice: %v", err)
	}
	must(t, l.Close())
	if _, err := journal.Dir(path + "/a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory in none: %v", err)
	}
	l, _, _ = open(t, small(two))
	must(t, l.Close())
}

// TestOpenInterrupted cuts the power at each change that opening a log makes,
// and what it does for itself right after; the segment begun last is empty, or
// not, or there are spares of another size.
func TestOpenInterrupted(t *testing.T) {
	for _, shape := range []string{"empty head", "records", "other size", "empty head, other size"} {
		for nth := 1; ; nth++ {
			if nth > 200 {
				t.Fatal("the run does not end")
			}
			reached := false
			for seed := range uint64(8) {
				synctest.Test(t, func(t *testing.T) {
					disk := faultdisk.New(seed)
					l, _, _ := open(t, small(disk))
					want := fill(l, 0, 20, 300)
					must(t, commit(l, journal.Sync))
					time.Sleep(time.Second)
					must(t, l.Close())
					o := small(disk)
					if strings.Contains(shape, "empty head") {
						l, _, _ = open(t, o)
						time.Sleep(time.Second)
						must(t, l.Close())
					}
					if strings.Contains(shape, "other size") {
						o.SegmentSize = 6000
					}
					disk.CutAt(nth)
					if l, _, _, err := tryOpen(o); err == nil {
						time.Sleep(time.Second)
						l.Close()
					}
					reached = reached || disk.Gone()
					o.Disk = disk.Crash(rand.New(rand.NewPCG(seed, 5)))
					l, r, got := open(t, o)
					if s := same(got, want); s != "" || len(r.Damage) > 0 || r.Torn.Bytes > 0 {
						t.Fatalf("%s, cut at %d, seed %d: %s; %+v", shape, nth, seed, s, r)
					}
					more := fill(l, 500, 20, 300)
					must(t, commit(l, journal.Sync))
					must(t, l.Close())
					_, r, got = open(t, o)
					if s := same(got, append(want, more...)); s != "" || len(r.Damage) > 0 {
						t.Fatalf("%s, cut at %d, seed %d: in the end %s; %+v", shape, nth, seed, s, r)
					}
				})
			}
			if !reached {
				break
			}
		}
	}
}

// TestFailureTainted: a file to which a write or sync has failed is never
// written to again, and is removed when nobody needs what it holds.
func TestFailureTainted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		fill(l, 0, 1, 100)
		must(t, commit(l, journal.Sync))
		time.Sleep(time.Second)
		const name = "0000000000000001.seg"
		failed := false
		disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
			if op.Name == name && op.Kind == faultdisk.Sync && !failed {
				failed = true
				return faultdisk.Fault{Err: syscall.EIO}
			}
			if op.Name == name && op.Change > 0 && op.Kind != faultdisk.Remove && failed {
				t.Errorf("%s of the failed file", op.Kind)
			}
			return faultdisk.Fault{}
		})
		fill(l, 0, 1, 100)
		if commit(l, journal.Sync) == nil {
			t.Fatal("no failure")
		}
		<-l.Due()
		must(t, l.Checkpoint(func() error { return nil }))
		time.Sleep(time.Second)
		for i := range 50 {
			fill(l, i, 1, 300)
			must(t, commit(l, journal.Sync))
		}
		if disk.Get(name) != nil {
			t.Error("the failed file is still there")
		}
	})
}
