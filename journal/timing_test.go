package journal_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// TestFlushBound: what level Flush loses in a power cut is at most what was
// appended within FlushInterval before it, and a sync.
func TestFlushBound(t *testing.T) {
	const interval, latency = 200 * time.Millisecond, 10 * time.Millisecond
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			disk := faultdisk.New(seed)
			disk.Latency(latency)
			l, _, _ := open(t, journal.Options{Disk: disk, SegmentSize: 64 << 10, FlushInterval: interval})
			time.Sleep(time.Second)
			type sent struct {
				entry
				at time.Time
			}
			var all []sent
			syncs := disk.Syncs()
			start := time.Now()
			for time.Since(start) < 5*time.Second+time.Duration(rng.IntN(400))*time.Millisecond {
				e := fill(l, len(all), 1, 50)[0]
				all = append(all, sent{e, time.Now()})
				r := make(result, 1)
				l.Commit(journal.Flush, r)
				synctest.Wait() // at this very moment a sync may end, and the committer tell
				select {
				case err := <-r:
					must(t, err)
				default:
					t.Fatal("a flush is not told at once")
				}
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
			if n := disk.Syncs() - syncs; n > 30 {
				t.Errorf("%d syncs in 5 s", n)
			}
			cut := time.Now()
			after := disk.Crash(rng)
			l.Close()
			_, _, got := open(t, journal.Options{Disk: after, SegmentSize: 64 << 10})
			for i, s := range all {
				if i < len(got) && got[i] != s.entry {
					t.Fatal("not a prefix")
				}
				if age := cut.Sub(s.at); i >= len(got) && age > interval+2*latency {
					t.Fatalf("seed %d: lost a record of %v before the power cut", seed, age)
				}
			}
		})
	}
}

// TestFlushOrder: a flush is told at once, but not before an earlier sync.
func TestFlushOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		disk.Latency(10 * time.Millisecond)
		l, _, _ := open(t, small(disk))
		time.Sleep(time.Second)
		o := &order{}
		start := time.Now()
		fill(l, 0, 1, 10)
		l.Commit(journal.Flush, o.next())
		if o.count() != 1 {
			t.Fatal("a flush waits")
		}
		fill(l, 0, 1, 10)
		l.Commit(journal.Sync, o.next())
		l.Commit(journal.Flush, o.next())
		time.Sleep(5 * time.Millisecond) // the sync is under way
		l.Commit(journal.Flush, o.next())
		fill(l, 0, 1, 10)
		l.Commit(journal.Flush, o.next())
		if o.count() != 1 {
			t.Fatalf("%d are told before the sync has ended", o.count())
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		if o.count() != 5 {
			t.Fatalf("%d of 5 are told %v after the sync began", o.count(), time.Since(start))
		}
		l.Commit(journal.Sync, o.next())
		time.Sleep(9 * time.Millisecond)
		if o.count() != 5 {
			t.Fatal("a sync is told before what is before it is stable")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.Commit(journal.Sync, o.next())
		if o.count() != 7 {
			t.Fatal("a sync waits though all is stable")
		}
		l.Close()
	})
}

// TestGroupCommit: those who commit while the disk is busy share the next sync,
// and one who is alone does not wait for others.
func TestGroupCommit(t *testing.T) {
	const latency = 10 * time.Millisecond
	for _, clients := range []int{1, 2, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			disk := newDisk()
			disk.Latency(latency)
			l, _, _ := open(t, journal.Options{Disk: disk, SegmentSize: 1 << 20})
			time.Sleep(time.Second)
			syncs, start := disk.Syncs(), time.Now()
			const each = 50
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for i := range each {
						fill(l, i, 1, 100)
						if err := commit(l, journal.Sync); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			took := time.Since(start)
			t.Logf("%d clients: %d commits in %v with %d syncs", clients, clients*each, took, disk.Syncs()-syncs)
			if clients == 1 && took != each*latency {
				t.Errorf("alone, %d commits take %v", each, took)
			}
			n := disk.Syncs() - syncs
			if clients > 4 && n > each+10 || n > 2*each { // those released share the next one
				t.Errorf("%d syncs for %d rounds of commits", n, each)
			}
			l.Close()
		})
	}
}

// TestClock: the store clock goes on where it was, and stands still in between.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		time.Sleep(90 * time.Minute)
		if c := l.Clock(); c != 90*time.Minute {
			t.Fatalf("the clock is at %v after 90 min", c)
		}
		must(t, l.Close())
		time.Sleep(1000 * time.Hour)
		l, _, _ = open(t, small(disk))
		if c := l.Clock(); c != 90*time.Minute {
			t.Fatalf("the clock is at %v after the log was closed for long", c)
		}
		time.Sleep(30 * time.Minute)
		fill(l, 0, 1, 10)
		must(t, commit(l, journal.Sync))
		time.Sleep(time.Hour + time.Minute)
		after := disk.Crash(rand.New(rand.NewPCG(1, 1)))
		l.Close()
		var at time.Duration
		l, _, err := journal.Open(small(after), func(r journal.Record) error {
			at = r.Clock
			return nil
		})
		must(t, err)
		if at != 2*time.Hour {
			t.Errorf("the record was written at %v", at)
		}
		// An idle log notes its clock every five minutes.
		if c := l.Clock(); c < 2*time.Hour+55*time.Minute || c > 3*time.Hour+time.Minute {
			t.Errorf("the clock is at %v after a crash", c)
		}
		must(t, l.Close())
	})
}

// TestIdle: a log that is asked nothing writes next to nothing.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		time.Sleep(time.Second)
		n := disk.Written()
		time.Sleep(time.Hour)
		if w := disk.Written() - n; w > 12*50 {
			t.Errorf("%d bytes written in an idle hour", w)
		}
		must(t, l.Close())
	})
}
