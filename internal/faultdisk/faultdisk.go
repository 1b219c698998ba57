// Package faultdisk is a disk in memory that fails like a real one: power cuts
// that lose, tear and reorder what was not synced, processes that die, writes
// and syncs that fail, disks that fill up and reads that hit bad blocks. It is
// deterministic, unless made Unsteady: the same calls and the same seeds give the
// same disk. It is for tests of package journal, and of what lies above.
package faultdisk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/journal"
)

// ErrGone: the power was cut, or the process killed, so nothing works any more.
var ErrGone = errors.New("the machine is gone")

// Kind is what is asked of a disk.
type Kind string

// The kinds of operations. Changes are those that a power cut can undo, and
// the syncs that prevent it.
const (
	Write  Kind = "write"
	Sync   Kind = "sync" // of a file
	Resize Kind = "resize"
	Create Kind = "create"
	Rename Kind = "rename"
	Remove Kind = "remove"
	Commit Kind = "commit" // sync of the directory
	Read   Kind = "read"   // no change
	Open   Kind = "open"   // no change
)

// Op is one operation, about to be done.
type Op struct {
	Kind   Kind
	Name   string // of the file
	Offset int64
	Size   int
	Change int // number of this change, from 1; 0 if it is none
}

// Fault is how an operation goes wrong: with Err, after Done bytes of a write.
// The zero Fault is success. A failed sync loses a random part of what it was
// to make stable, and no later sync of the file makes that good.
type Fault struct {
	Err  error
	Done int
	cut  bool // the power was cut just now: it may have been done
}

// Disk is a journal.Disk. Its methods may be called from any goroutine.
type Disk struct {
	mu       sync.Mutex
	rng      *rand.Rand
	live     map[string]*inode // as the process sees it
	durable  map[string]*inode // as the last Sync left it
	pending  []dirOp           // changes of the directory since
	hook     func(Op) Fault
	latency  time.Duration
	unsteady bool
	capacity int64
	changes  int
	cutAt    int
	gone     bool
	locked   bool
	syncs    int
	written  int64
}

type dirOp struct {
	kind     Kind
	from, to string
	node     *inode
}

// New is an empty disk. The seed decides what failed syncs lose.
func New(seed uint64) *Disk {
	return &Disk{
		rng:     rand.New(rand.NewPCG(seed, 0xd15c)),
		live:    map[string]*inode{},
		durable: map[string]*inode{},
	}
}

// Hook has f decide what goes wrong. It must not call the disk.
func (d *Disk) Hook(f func(Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = f
}

// Latency makes each sync of a file take so long.
func (d *Disk) Latency(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latency = t
}

// Unsteady makes operations give way to other goroutines, now and then many
// times, so that more of the orders happen in which they may run. Which, the
// seed does not decide.
func (d *Disk) Unsteady() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsteady = true
}

// giveWay lets others run. The caller holds mu, which is let go meanwhile.
func (d *Disk) giveWay() {
	if !d.unsteady {
		return
	}
	d.mu.Unlock()
	defer d.mu.Lock()
	n := rand.IntN(3)
	if rand.IntN(4) == 0 {
		n = rand.IntN(300)
	}
	for range n {
		runtime.Gosched()
	}
}

// Capacity makes what needs more than n bytes fail with ENOSPC; 0: no bound.
func (d *Disk) Capacity(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = n
}

// CutAt cuts the power when the n-th change from now is under way: it is done
// but not stable, or not done, as Crash decides, and everything after fails.
func (d *Disk) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.changes + n
}

// Changes is how many changes there were.
func (d *Disk) Changes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// Syncs is how many syncs of files there were, and Written how many bytes were
// written.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Written is how many bytes were written.
func (d *Disk) Written() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// Gone reports whether the power was cut.
func (d *Disk) Gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// before decides about an operation. The caller holds mu.
func (d *Disk) before(op Op) Fault {
	d.giveWay()
	if d.gone {
		return Fault{Err: fmt.Errorf("%s %s: %w", op.Kind, op.Name, ErrGone)}
	}
	if op.Kind != Read && op.Kind != Open {
		d.changes++
		op.Change = d.changes
	}
	if d.hook != nil {
		if f := d.hook(op); f.Err != nil {
			f.Err = &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: f.Err}
			return f
		}
	}
	if d.cutAt > 0 && d.changes >= d.cutAt && op.Change > 0 {
		d.gone = true
		return Fault{Err: fmt.Errorf("%s %s: %w", op.Kind, op.Name, ErrGone), Done: op.Size, cut: true}
	}
	return Fault{}
}

// room reports whether n more bytes fit. The caller holds mu.
func (d *Disk) room(n int64) bool {
	if d.capacity == 0 || n <= 0 {
		return true
	}
	for _, node := range d.live {
		n += int64(len(node.data))
	}
	return n <= d.capacity
}

// Lock is that of journal.Disk.
func (d *Disk) Lock() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return ErrGone
	}
	if d.locked {
		return journal.ErrLocked
	}
	d.locked = true
	return nil
}

// Unlock is that of journal.Disk.
func (d *Disk) Unlock() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.locked = false
	return nil
}

// List is that of journal.Disk.
func (d *Disk) List() ([]journal.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, ErrGone
	}
	var out []journal.FileInfo
	for _, name := range slices.Sorted(maps.Keys(d.live)) {
		out = append(out, journal.FileInfo{Name: name, Size: int64(len(d.live[name].data))})
	}
	return out, nil
}

// Open is that of journal.Disk.
func (d *Disk) Open(name string) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.before(Op{Kind: Open, Name: name}); f.Err != nil {
		return nil, f.Err
	}
	node := d.live[name]
	if node == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{disk: d, node: node, name: name}, nil
}

// Create is that of journal.Disk.
func (d *Disk) Create(name string, size int64) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.before(Op{Kind: Create, Name: name, Size: int(size)})
	if f.Err != nil && !f.cut {
		return nil, f.Err
	}
	if d.live[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !d.room(size) {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	node := &inode{data: make([]byte, size), sizes: []int64{size}}
	d.live[name] = node
	d.pending = append(d.pending, dirOp{Create, name, name, node})
	if f.Err != nil {
		return nil, f.Err
	}
	return &file{disk: d, node: node, name: name}, nil
}

// Rename is that of journal.Disk.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.before(Op{Kind: Rename, Name: from})
	if f.Err != nil && !f.cut {
		return f.Err
	}
	node := d.live[from]
	if node == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(d.live, from)
	d.live[to] = node
	d.pending = append(d.pending, dirOp{Rename, from, to, node})
	return f.Err
}

// Remove is that of journal.Disk.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.before(Op{Kind: Remove, Name: name})
	if f.Err != nil && !f.cut {
		return f.Err
	}
	node := d.live[name]
	if node == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(d.live, name)
	d.pending = append(d.pending, dirOp{Remove, name, name, node})
	return f.Err
}

// Sync is that of journal.Disk.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.before(Op{Kind: Commit}); f.Err != nil {
		return f.Err
	}
	d.durable = maps.Clone(d.live)
	d.pending = nil
	return nil
}

// sorted is the names in m, in order: chance must not depend on map order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
