package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// TestManyAtOnce appends, commits, reads, holds and checkpoints from many
// goroutines, with a power cut in the end. The race detector looks on.
func TestManyAtOnce(t *testing.T) {
	for seed := range uint64(10) {
		disk := faultdisk.New(seed)
		o := small(disk)
		o.SegmentSize = 16 << 10
		l, _, _ := open(t, o)
		const clients, each = 8, 60
		type client struct {
			sent  []entry
			acked int
		}
		all := make([]client, clients)
		var clientsDone, saverDone sync.WaitGroup
		stop := make(chan struct{})
		var mu sync.RWMutex // held for writing by a checkpoint that looks at the clients
		saverDone.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-l.Due():
				}
				err := l.Checkpoint(func() error {
					mu.Lock()
					defer mu.Unlock()
					for i := range all { // everything anew, with who it was
						for j, e := range all[i].sent {
							all[i].sent[j].pos = l.Append(e.typ, []byte(e.data))
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		for c := range clients {
			clientsDone.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(c)))
				for i := range each {
					d := fmt.Sprintf("%d of client %d, %s", i, c, strings.Repeat("x", rng.IntN(300)))
					mu.RLock()
					e := entry{l.Append(byte(c), []byte(d)), byte(c), d}
					all[c].sent = append(all[c].sent, e)
					l.Hold(e.pos, len(d))
					mu.RUnlock()
					if rng.IntN(3) == 0 {
						if err := commit(l, journal.Sync); err != nil {
							t.Error(err)
						}
						all[c].acked = i + 1
					}
					if typ, data, err := l.Read(e.pos, nil); err != nil || typ != e.typ || string(data) != d {
						t.Errorf("read: %v", err)
					}
					l.Release(e.pos, len(d))
					_ = l.Stats()
				}
			})
		}
		clientsDone.Wait()
		close(stop)
		saverDone.Wait()
		after := disk.Crash(rand.New(rand.NewPCG(seed, 99)))
		l.Close()
		_, r, got := open(t, small(after))
		if len(r.Damage) > 0 {
			t.Fatal(r.Damage)
		}
		for c := range clients { // of each client a prefix
			var mine []string
			for _, e := range got {
				if int(e.typ) == c {
					if e.data == all[c].sent[0].data {
						mine = nil // a checkpoint tells all anew
					}
					mine = append(mine, e.data)
				}
			}
			if len(mine) < all[c].acked {
				t.Fatalf("client %d has %d records, %d were acknowledged", c, len(mine), all[c].acked)
			}
			for i, d := range mine {
				if d != all[c].sent[i].data {
					t.Fatalf("client %d: record %d is %q, not %q", c, i, d, all[c].sent[i].data)
				}
			}
		}
	}
}

// TestRecycling: a log that is checkpointed when it is due stays small, and
// uses its files again instead of making new ones.
func TestRecycling(t *testing.T) {
	for _, payload := range []int{100, 1500} {
		synctest.Test(t, func(t *testing.T) {
			disk := newDisk()
			l, _, _ := open(t, small(disk))
			creates, most := 0, int64(0)
			disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
				if op.Kind == faultdisk.Create {
					creates++
				}
				return faultdisk.Fault{}
			})
			// A queue: what comes in goes out some time later. Every 50th stays.
			var queue, kept []entry
			total := 0
			for i := range 4000 {
				e := fill(l, i, 1, payload)[0]
				l.Hold(e.pos, payload)
				total += payload
				if i%50 == 0 && len(kept) < 40 {
					kept = append(kept, e)
				} else {
					queue = append(queue, e)
				}
				if len(queue) > 10 {
					fill(l, i, 1, 10)
					l.Release(queue[0].pos, payload)
					queue = queue[1:]
				}
				if i%10 == 0 {
					must(t, commit(l, journal.Sync))
					synctest.Wait()
					most = max(most, used(disk))
				}
				select {
				case <-l.Due():
					moved := map[int]entry{}
					must(t, l.Checkpoint(func() error {
						fill(l, 0, 1, 50)
						for i, e := range kept {
							if l.Vacate(e.pos) {
								n := entry{l.Append(e.typ, []byte(e.data)), e.typ, e.data}
								l.Hold(n.pos, payload)
								moved[i] = n
							}
						}
						return nil
					}))
					for i, n := range moved {
						l.Release(kept[i].pos, payload)
						kept[i] = n
					}
				default:
				}
			}
			st := l.Stats()
			live := int64(50 * payload)
			t.Logf("payload %d: %d bytes in %d bytes written, at most %d in files for %d alive; %d files made, %d recycled, %d checkpoints",
				payload, total, st.WrittenBytes, most, live, creates, st.Recycled, st.Checkpoints)
			if bound := 3*live + 16*4096; most > bound {
				t.Errorf("%d bytes in files, for %d alive; expected at most %d", most, live, bound)
			}
			if st.Recycled < 20 || creates > 60 && payload < 1000 {
				t.Errorf("%d files recycled, %d made", st.Recycled, creates)
			}
			if st.WrittenBytes > uint64(5*total/2+4000*100) {
				t.Errorf("%d bytes written for %d", st.WrittenBytes, total)
			}
			if s := readable(l, kept); s != "" {
				t.Error(s)
			}
			must(t, l.Close())
		})
	}
}

// TestReleaseTooEarly: a released record is there until what makes it
// superfluous is stable.
func TestReleaseTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		e := fill(l, 0, 1, 100)
		l.Hold(e[0].pos, 100)
		must(t, l.Checkpoint(func() error { return nil }))
		time.Sleep(time.Second)
		fill(l, 1, 1, 10) // "it is delivered"
		l.Release(e[0].pos, 100)
		time.Sleep(time.Minute)
		if s := readable(l, e); s != "" {
			t.Fatal("before the commit: ", s)
		}
		after := disk.Clone().Crash(rand.New(rand.NewPCG(1, 1)))
		l2, _, _ := open(t, small(after))
		if s := readable(l2, e); s != "" {
			t.Fatal("after a power cut before the commit: ", s)
		}
		must(t, commit(l, journal.Sync))
		time.Sleep(time.Second)
		if _, _, err := l.Read(e[0].pos, nil); !errors.Is(err, journal.ErrLost) || l.Kept(e[0].pos) {
			t.Fatalf("after the commit: %v", err)
		}
	})
}

// TestSnapshot copies a log while it is written to.
func TestSnapshot(t *testing.T) {
	src, dst := newDisk(), newDisk()
	l, _, _ := open(t, small(src))
	old := fill(l, 0, 30, 200)
	l.Hold(old[7].pos, 200)
	var want []entry
	must(t, l.Checkpoint(func() error { want = fill(l, 100, 20, 200); return nil }))
	stop := make(chan struct{})
	var n atomic.Int64
	var later []entry
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			later = append(later, fill(l, 1000+i, 1, 100)...)
			if err := commit(l, journal.Sync); err != nil {
				t.Error(err)
			}
			n.Add(1)
		}
	})
	for n.Load() < 20 {
		must(t, commit(l, journal.Sync))
	}
	before := n.Load()
	must(t, l.Snapshot(dst))
	close(stop)
	wg.Wait()
	if err := l.Snapshot(dst); err == nil {
		t.Error("a snapshot overwrites another")
	}
	sum, err := journal.Verify(dst, func(f journal.Finding) { t.Error(f) })
	if err != nil || sum.Torn.Bytes > 0 {
		t.Fatalf("%v, %+v", err, sum)
	}
	l2, r, got := open(t, small(dst))
	want = append(want, later...)
	if len(got) < 20+int(before) || len(got) > len(want) || same(got, want[:len(got)]) != "" || len(r.Damage) > 0 {
		t.Fatalf("%d records copied, %d were there: %s; %+v", len(got), 20+before, same(got, want), r)
	}
	if s := readable(l2, old[7:8]); s != "" {
		t.Fatal(s)
	}
	fill(l2, 1, 30, 300)
	must(t, commit(l2, journal.Sync))
	must(t, l2.Close())
	must(t, l.Close())
	if err := l.Snapshot(newDisk()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("snapshot of a closed log: %v", err)
	}
}

// hookedDisk calls created when a file has been made.
type hookedDisk struct {
	journal.Disk
	created func()
}

func (d *hookedDisk) Create(name string, size int64) (journal.File, error) {
	f, err := d.Disk.Create(name, size)
	d.created()
	return f, err
}

// TestSnapshotHolds: what a snapshot has yet to copy is not recycled, though a
// checkpoint comes in between.
func TestSnapshotHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := open(t, small(newDisk()))
		want := fill(l, 0, 60, 200)
		must(t, commit(l, journal.Sync))
		dst := newDisk()
		made := 0
		hooked := &hookedDisk{dst, func() {
			if made++; made == 1 {
				must(t, l.Checkpoint(func() error { fill(l, 500, 3, 10); return nil }))
				time.Sleep(time.Second)
				fill(l, 600, 100, 200)
				must(t, commit(l, journal.Sync))
			}
		}}
		must(t, l.Snapshot(hooked))
		_, r, got := open(t, small(dst))
		if s := same(got, want); s != "" || len(r.Damage) > 0 {
			t.Fatalf("%s; %+v", s, r)
		}
		time.Sleep(time.Second)
		if n := l.Stats().Segments; n > 10 {
			t.Errorf("%d segments are left after the snapshot", n)
		}
	})
}

// TestVerifyLive verifies a directory through a read-only Disk while its log is
// at work, and finds nothing wrong.
func TestVerifyLive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	disk, err := journal.Dir(path)
	must(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	l, _, _ := open(t, small(disk))
	fill(l, 0, 1, 10)
	must(t, commit(l, journal.Sync))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-l.Due():
				if err := l.Checkpoint(func() error { fill(l, i, 5, 100); return nil }); err != nil {
					t.Error(err)
				}
			default:
				fill(l, i, 1, 300)
				if err := commit(l, journal.Sync); err != nil {
					t.Error(err)
				}
			}
		}
	})
	live, err := journal.ReadDir(path)
	must(t, err)
	if err := live.Lock(); err == nil {
		t.Error("a read-only disk is locked")
	}
	verified, scanned := 0, 0
	tally := func(n *int, err error) { // the log may give up segments faster than they are read
		if err == nil {
			*n++
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	for range 30 {
		sum, err := journal.Verify(live, func(f journal.Finding) { t.Error(f) })
		tally(&verified, err)
		if err == nil && sum.Segments == 0 {
			t.Error("no segments")
		}
		_, err = journal.Scan(live, func(journal.Record) error { return nil })
		tally(&scanned, err)
	}
	close(stop)
	wg.Wait()
	if verified == 0 || scanned == 0 {
		t.Errorf("verified %d and scanned %d times of 30", verified, scanned)
	}
	must(t, l.Close())
	list, err := live.List()
	must(t, err)
	name := list[0].Name
	if _, err := live.Create("x.seg", 100); err == nil {
		t.Error("a read-only disk makes files")
	}
	if live.Remove(name) == nil || live.Rename(name, "x") == nil {
		t.Error("a read-only disk changes files")
	}
	f, err := live.Open(name)
	must(t, err)
	if _, err := f.WriteAt([]byte{1}, 0); err == nil {
		t.Error("a read-only disk writes")
	}
	must(t, f.Close())
	stopped := errors.New("enough")
	if _, err := journal.Scan(live, func(journal.Record) error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("scan: %v", err)
	}
}

// TestReadErrors: what Read says, and that a disk that cannot read once can be
// asked again.
func TestReadErrors(t *testing.T) {
	disk := newDisk()
	l, _, _ := open(t, small(disk))
	all := fill(l, 0, 60, 300)
	must(t, commit(l, journal.Sync))
	for _, pos := range []journal.Pos{0, 1, 1 << 32, 1<<32 | 100, 99 << 32, all[59].pos + 1<<20, 1<<64 - 1} {
		if _, _, err := l.Read(pos, nil); !errors.Is(err, journal.ErrLost) || l.Kept(pos) {
			t.Errorf("read at %v: %v", pos, err)
		}
	}
	for _, pos := range []journal.Pos{all[0].pos + 1, all[0].pos - 1, 1<<32 | 512} {
		if _, _, err := l.Read(pos, nil); !errors.Is(err, journal.ErrCorrupt) {
			t.Errorf("read at %v: %v", pos, err)
		}
	}
	disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
		if op.Kind == faultdisk.Open || op.Kind == faultdisk.Read {
			return faultdisk.Fault{Err: syscall.EMFILE}
		}
		return faultdisk.Fault{}
	})
	for _, e := range all {
		if _, _, err := l.Read(e.pos, nil); !errors.Is(err, syscall.EMFILE) {
			t.Fatalf("read at %v: %v", e.pos, err)
		}
	}
	fill(l, 0, 30, 300) // what is open already needs no more
	must(t, commit(l, journal.Sync))
	disk.Hook(nil)
	if s := readable(l, all); s != "" {
		t.Fatal(s)
	}
	must(t, l.Close())
	if _, _, err := l.Read(all[0].pos, nil); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("read of a closed log: %v", err)
	}
	if err := commit(l, journal.Sync); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("commit to a closed log: %v", err)
	}
	if err := l.Checkpoint(func() error { return nil }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("checkpoint of a closed log: %v", err)
	}
	l.Append(1, []byte("nobody will know"))
	l.Release(all[0].pos, 1)
}

// TestUpkeepUnderLoad: housekeeping gets its turn though the committer never
// comes to rest.
func TestUpkeepUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		disk.Latency(time.Millisecond)
		l, _, _ := open(t, small(disk))
		stop := make(chan struct{})
		for range 3 { // while one is told, another waits
			go func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						fill(l, i, 1, 200)
						if err := commit(l, journal.Sync); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}()
		}
		for range 20 {
			<-l.Due()
			must(t, l.Checkpoint(func() error { fill(l, 1, 1, 100); return nil }))
		}
		if st := l.Stats(); st.Segments > 20 || st.Recycled < 30 {
			t.Errorf("%d segments after 20 checkpoints, %d recycled", st.Segments, st.Recycled)
		}
		close(stop)
		synctest.Wait()
		must(t, l.Close())
	})
}

// TestCloseRace closes a log that others write to: what they are told is kept
// is there, and nobody waits for ever.
func TestCloseRace(t *testing.T) {
	for range 300 {
		disk := newDisk()
		l, _, _ := open(t, small(disk))
		var wg sync.WaitGroup
		acked := make([]int, 3)
		for c := range acked {
			wg.Go(func() {
				for i := 1; ; i++ {
					l.Append(byte(c), []byte{byte(i), byte(i >> 8)})
					err := commit(l, journal.Sync)
					if errors.Is(err, journal.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					acked[c] = i
					if i == 5 && c == 0 {
						wg.Go(func() {
							if err := l.Close(); err != nil {
								t.Error(err)
							}
						})
					}
				}
			})
		}
		wg.Wait()
		_, r, got := open(t, small(disk))
		if len(r.Damage) > 0 || r.Torn.Bytes > 0 {
			t.Fatalf("%+v", r)
		}
		seen := make([]int, 3)
		for _, e := range got {
			seen[e.typ]++
			if int(e.data[0])+int(e.data[1])<<8 != seen[e.typ] {
				t.Fatal("out of order")
			}
		}
		for c := range acked {
			if seen[c] < acked[c] {
				t.Fatalf("client %d was told of %d records, %d are there", c, acked[c], seen[c])
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]journal.Options{
		"no disk":        {},
		"small segments": {Disk: newDisk(), SegmentSize: 4095},
		"large segments": {Disk: newDisk(), SegmentSize: 1<<30 + 1},
		"small budget":   {Disk: newDisk(), SegmentSize: 4096, MaxBytes: 4*4096 - 1},
		"large records":  {Disk: newDisk(), MaxRecord: 1<<31 - 1},
	} {
		if _, _, _, err := tryOpen(o); err == nil || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%s: %v; it should say what to do", name, err)
		}
	}
	l, _, _ := open(t, journal.Options{Disk: newDisk(), SegmentSize: 4096, MaxRecord: 100})
	for name, f := range map[string]func(){
		"a type of the log's own": func() { l.Append(0xf0, nil) },
		"a long record":           func() { l.Append(0, make([]byte, 101)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			f()
		}()
	}
	if _, _, err := journal.Open(journal.Options{Disk: func() journal.Disk {
		s := makeStore(t, true)
		return s.disk
	}(), SegmentSize: 4096}, func(journal.Record) error { return errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("replay's error becomes %v", err)
	}
}
