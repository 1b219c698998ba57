package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// TestCrash runs seeded random lives of a log against a plain model. Each life
// ends in a power cut, a kill or a close; writes and syncs fail. CRASH_SEEDS is
// FROM-TO of the seeds; scripts/crash.sh asks for many.
func TestCrash(t *testing.T) {
	from, to := uint64(1), uint64(301)
	if testing.Short() || raceEnabled { // scripts/check.sh runs all without it, too
		to = 51
	}
	if s := os.Getenv("CRASH_SEEDS"); s != "" {
		if _, err := fmt.Sscanf(s, "%d-%d", &from, &to); err != nil {
			t.Fatalf("CRASH_SEEDS=%q is not FROM-TO", s)
		}
	}
	var total tally
	for seed := from; seed < to && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := &world{TB: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), tally: &total, saving: void}
			w.run()
		})
	}
	t.Logf("%d seeds: %+v", to-from, total)
	if to-from > 40 && (total.acked == 0 || total.lostUnacked == 0 || total.failures == 0 || total.checkpoints == 0 || total.moved == 0 || total.full == 0) {
		t.Error("the test does not reach what it is for")
	}
}

type tally struct {
	lives, acked, lostUnacked, failures, checkpoints, moved, full, recovered, heldRead int
}

// item is an entry and what the model knows of it.
type item struct {
	entry
	generation uint64 // of the log, before it was appended, or void
	sure       bool   // acknowledged
}

// void is the generation of what was appended while the log had failed.
const void = 1 << 63

// holding is a record that is held.
type holding struct {
	*item
	moved *item // where a running checkpoint has moved it
	freed *item // what says that it is not needed any more
}

// world is one log over several lives, and what must be true of it.
type world struct {
	testing.TB
	*tally
	seed uint64
	rng  *rand.Rand
	disk *faultdisk.Disk
	o    journal.Options
	log  *journal.Log
	next int // number of the next record

	saving uint64 // generation in which a checkpoint began that runs; void: none does

	// What was appended since the last root that was sure when the log was
	// opened, and since. A failure voids a part in the middle.
	items []*item
	roots []int // of items: where replay may begin; ascending
	held  []*holding

	mu    sync.Mutex // guards what is told on the log's goroutine
	acked int        // of items: replay must reach so far
	told  int
	asked int
}

func (w *world) failf(format string, args ...any) {
	w.Helper()
	if w.log != nil {
		w.disk.Hook(nil)
		w.log.Close()
	}
	w.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

// tracef says what happens, if asked to.
func (w *world) tracef(format string, args ...any) {
	if os.Getenv("EDGEBROKER_TRACE") != "" {
		w.Logf(format, args...)
	}
}

func (w *world) run() {
	w.disk = faultdisk.New(w.seed)
	w.o = journal.Options{Disk: w.disk, SegmentSize: 4 << 10, FlushInterval: 50 * time.Millisecond}
	if w.rng.IntN(2) == 0 {
		w.o.MaxBytes = w.o.SegmentSize * int64(4+w.rng.IntN(12))
	}
	w.roots = []int{0}
	for range 2 + w.rng.IntN(4) {
		w.life()
		w.lives++
	}
	if !w.open() {
		w.failf("a disk in order does not open")
	}
	if err := w.log.Close(); err != nil && !errors.Is(err, journal.ErrFull) {
		w.failf("close: %v", err)
	}
}

// open opens the log and compares what it replays with what must be there.
// False if the power is cut meanwhile, or the disk fails.
func (w *world) open() bool {
	w.tracef("on disk:\n%s", listing(w.disk))
	l, r, got, err := tryOpen(w.o)
	if err != nil {
		if !w.disk.Gone() && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
			w.failf("open: %v", err)
		}
		return false
	}
	w.log = l
	if len(r.Damage) > 0 || r.Lost > 0 {
		w.failf("the log was never damaged, and Open says %v, %d lost", r.Damage, r.Lost)
	}
	w.tracef("open: %+v, %d records, stats %+v", r, len(got), l.Stats())
	from := w.match(got, r)
	replayed := map[journal.Pos]bool{}
	for _, e := range got {
		replayed[e.pos] = true
	}
	if len(got) < len(w.items)-from {
		w.lostUnacked += len(w.items) - from - len(got)
	}
	index := map[*item]int{}
	for i, it := range w.items {
		index[it] = i
	}
	known := func(it *item) bool { // to the state that was replayed
		i, recent := index[it]
		return !recent || i < from || replayed[it.pos]
	}
	kept := w.held[:0]
	for _, h := range w.held {
		switch {
		case h.freed != nil && known(h.freed):
			continue
		case h.moved != nil && replayed[h.moved.pos]:
			h.item = h.moved
		case !h.sure && !replayed[h.pos]:
			continue
		}
		h.moved, h.freed, h.sure = nil, nil, true
		w.log.Hold(h.pos, len(h.data))
		kept = append(kept, h)
	}
	w.held = kept
	w.items = nil
	for _, e := range got {
		w.items = append(w.items, &item{entry: e, generation: l.Generation(), sure: true})
	}
	w.roots = []int{0}
	w.acked = len(w.items)
	w.readHeld()
	return true
}

// match finds what was replayed among what was appended.
func (w *world) match(got []entry, r *journal.Recovery) (from int) {
	why := ""
	for i := len(w.roots) - 1; i >= 0; i-- {
		from := w.roots[i]
		want := w.items[from:]
		if len(got) == 0 && w.acked > from || len(got) > 0 && (len(want) == 0 || want[0].pos != got[0].pos) {
			continue
		}
		switch {
		case len(got) > len(want):
			w.failf("%d records replayed, %d appended", len(got), len(want))
		case from+len(got) < w.acked:
			why = fmt.Sprintf("%d records replayed, %d acknowledged (%+v)", len(got), w.acked-from, r)
			continue
		}
		for j, e := range got {
			if e != want[j].entry {
				w.failf("record %d: %s", j, same([]entry{e}, []entry{want[j].entry}))
			}
		}
		return from
	}
	if why == "" {
		why = fmt.Sprintf("%d records replayed from where no checkpoint began; roots %v of %d, %d acked, recovery %+v", len(got), w.roots, len(w.items), w.acked, r)
	}
	w.failf("%s", why)
	return 0
}

func (w *world) readHeld() {
	for _, h := range w.held {
		if !h.sure || h.freed != nil {
			continue
		}
		typ, data, err := w.log.Read(h.pos, nil)
		if err != nil && errors.Is(err, faultdisk.ErrGone) {
			return
		}
		if err != nil || typ != h.typ || string(data) != h.data {
			w.failf("held record: %v", err)
		}
		w.heldRead++
	}
}

// committed is a Commit under way.
type committed struct {
	w     *world
	n     int // number of the Commit
	upTo  int // of items
	level journal.Level
	done  chan error
}

func (c *committed) Committed(err error) {
	c.w.mu.Lock()
	if c.n != c.w.told {
		c.w.Errorf("seed %d: commit %d told after %d commits", c.w.seed, c.n, c.w.told)
	}
	c.w.told++
	if err == nil && c.level == journal.Sync {
		c.w.sureLocked(c.upTo)
	}
	c.w.mu.Unlock()
	c.done <- err
}

// sureLocked notes that the first n items are acknowledged, except for those
// that a failure may have voided.
func (w *world) sureLocked(n int) {
	w.acked = max(w.acked, n)
	for i := n - 1; i >= 0 && !w.items[i].sure; i-- {
		if w.items[i].generation == w.log.Generation() {
			w.items[i].sure = true
			w.tally.acked++
		}
	}
}

func (w *world) life() {
	if w.rng.IntN(3) > 0 {
		w.disk.CutAt(1 + w.rng.IntN(200))
	}
	opened := w.open()
	if opened {
		w.work()
	}
	switch end := w.rng.IntN(4); {
	case !w.disk.Gone() && opened && end == 0: // closed in good order
		if err := w.log.Close(); err == nil {
			w.mu.Lock()
			w.acked = len(w.items)
			w.mu.Unlock()
		}
		w.disk = w.disk.Kill()
	case end == 1: // killed, perhaps in the middle of something
		after := w.disk.Kill()
		if opened {
			w.log.Close()
		}
		w.disk = after
	default: // out of power
		after := w.disk.Crash(w.rng)
		if opened {
			w.log.Close()
		}
		w.disk = after
	}
	w.told, w.asked = 0, 0
	w.o.Disk = w.disk
}

// work is what happens while the log is open.
func (w *world) work() {
	if w.rng.IntN(3) == 0 {
		w.sabotage()
	}
	if w.o.MaxBytes == 0 && w.rng.IntN(4) == 0 {
		w.disk.Capacity(int64(6+w.rng.IntN(20)) * w.o.SegmentSize)
	}
	var waiting []*committed
	wait := func() {
		for _, c := range waiting {
			if err := <-c.done; err != nil && !errors.Is(err, journal.ErrFailed) {
				w.failf("a commit was told %v", err)
			}
		}
		waiting = nil
	}
	generation := w.log.Generation()
	for range 20 + w.rng.IntN(150) {
		if w.disk.Gone() {
			break
		}
		switch n := w.rng.IntN(100); {
		case n < 50:
			w.append(w.size())
		case n < 60:
			w.hold()
		case n < 66:
			w.release()
		case n < 82:
			waiting = append(waiting, w.commit())
		case n < 88:
			wait()
		case n < 91:
			time.Sleep(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
		default:
			wait()
			select {
			case <-w.log.Due():
				w.checkpoint()
			default:
				if n > 97 {
					w.checkpoint()
				} else {
					w.readHeld()
				}
			}
		}
		if w.log.State() == journal.Full {
			w.full++
		}
	}
	wait()
	w.failures += int(w.log.Generation() - generation)
}

func (w *world) size() int {
	switch w.rng.IntN(12) {
	case 0:
		return 0
	case 1:
		return 3000 + w.rng.IntN(3000)
	}
	return w.rng.IntN(400)
}

// sabotage makes some writes and syncs fail.
func (w *world) sabotage() {
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 2))
	often := 2 + rng.IntN(60)
	errs := []error{syscall.EIO, syscall.ENOSPC}
	left := 1 + rng.IntN(5)
	w.disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
		if op.Change == 0 || left == 0 || rng.IntN(often) > 0 {
			return faultdisk.Fault{}
		}
		left--
		return faultdisk.Fault{Err: errs[rng.IntN(2)], Done: rng.IntN(op.Size + 1)}
	})
}

func (w *world) append(size int) *item {
	d := text(w.next, size)
	w.next++
	return w.put(byte(w.next%0xf0), d)
}

func (w *world) put(typ byte, data string) *item {
	it := &item{generation: w.log.Generation()}
	if w.log.State() == journal.Failed && it.generation != w.saving { // it may have failed while a checkpoint runs
		it.generation = void
	}
	it.entry = entry{w.log.Append(typ, []byte(data)), typ, data}
	w.mu.Lock()
	w.items = append(w.items, it)
	w.mu.Unlock()
	return it
}

func (w *world) commit() *committed {
	level := journal.Sync
	if w.rng.IntN(3) == 0 {
		level = journal.Flush
	}
	w.mu.Lock()
	c := &committed{w: w, n: w.asked, upTo: len(w.items), level: level, done: make(chan error, 1)}
	w.asked++
	w.mu.Unlock()
	w.log.Commit(level, c)
	return c
}

func (w *world) hold() {
	if len(w.items) == 0 {
		return
	}
	it := w.items[len(w.items)-1]
	if n := len(w.held); n > 0 && w.held[n-1].item == it || len(it.data) < 20 {
		return
	}
	w.log.Hold(it.pos, len(it.data))
	w.tracef("hold %v", it.pos)
	w.held = append(w.held, &holding{item: it})
}

func (w *world) release() {
	if len(w.held) == 0 {
		return
	}
	if h := w.held[w.rng.IntN(len(w.held))]; h.freed == nil {
		h.freed = w.append(10)
		w.tracef("release %v by %v", h.pos, h.freed.pos)
		w.log.Release(h.pos, len(h.data))
	}
}

// checkpoint writes a few records as if they were all there is to know, and
// moves what it is asked to move.
func (w *world) checkpoint() {
	failed, generation := w.log.State() == journal.Failed, w.log.Generation()
	var begin, end int
	err := w.log.Checkpoint(func() error {
		w.readHeld()
		if w.log.Generation() == generation {
			w.saving = generation
		}
		defer func() { w.saving = void }()
		begin = len(w.items)
		w.mu.Lock()
		w.roots = append(w.roots, begin)
		w.mu.Unlock()
		for range 1 + w.rng.IntN(20) {
			w.append(w.rng.IntN(300))
		}
		for _, h := range w.held {
			if h.freed == nil && h.sure && w.log.Vacate(h.pos) {
				h.moved = w.put(h.typ, h.data)
				w.tracef("move %v to %v", h.pos, h.moved.pos)
				w.log.Hold(h.moved.pos, len(h.data))
			}
		}
		end = len(w.items)
		if w.rng.IntN(20) == 0 {
			return errDisk
		}
		return nil
	})
	w.tracef("checkpoint of %d to %d: %v; durable %v, state %v, generation %d", begin, end, err, w.log.Durable(), w.log.State(), w.log.Generation())
	if err != nil {
		if !errors.Is(err, journal.ErrFailed) && !errors.Is(err, errDisk) {
			w.failf("checkpoint: %v", err)
		}
		for _, h := range w.held {
			if h.moved != nil {
				w.log.Release(h.moved.pos, len(h.data))
				h.moved = nil
			}
		}
		return
	}
	w.checkpoints++
	if failed {
		w.recovered++
	}
	w.mu.Lock()
	w.sureLocked(end)
	w.mu.Unlock()
	for i, r := range w.roots {
		if r == begin {
			w.roots = w.roots[i:]
			break
		}
	}
	kept := w.held[:0]
	for _, h := range w.held {
		if h.freed != nil {
			continue
		}
		if !h.sure && h.pos < w.items[begin].pos { // void since a failure, or not
			if !w.log.Kept(h.pos) {
				continue
			}
		}
		if h.moved != nil {
			w.log.Release(h.pos, len(h.data))
			h.item, h.moved = h.moved, nil
			w.tally.moved++
		}
		kept = append(kept, h)
	}
	w.held = kept
}
