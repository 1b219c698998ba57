package faultdisk

import (
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// sector is what a disk writes as a whole, if it writes it at all. Even that
// may be torn here, between old and new bytes.
const sector = 512

// inode is a file.
type inode struct {
	data   []byte             // as the process reads it
	stable []byte             // as it is after a power cut, but for what follows
	dirty  map[int64][][]byte // by number of the sector: each content since the last sync
	sizes  []int64            // each size since the last sync
}

// put writes b and notes what a power cut may make of it.
func (n *inode) put(b []byte, offset int64) {
	if end := offset + int64(len(b)); end > int64(len(n.data)) {
		n.data = append(n.data, make([]byte, end-int64(len(n.data)))...)
		n.sizes = append(n.sizes, end)
	}
	copy(n.data[offset:], b)
	if n.dirty == nil {
		n.dirty = map[int64][][]byte{}
	}
	for s := offset / sector; s*sector < offset+int64(len(b)); s++ {
		content := make([]byte, sector)
		copy(content, n.data[s*sector:])
		n.dirty[s] = append(n.dirty[s], content)
	}
}

func (n *inode) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size:size]
		for s := range n.dirty {
			if s*sector >= size {
				delete(n.dirty, s)
			}
		}
	} else {
		n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
	}
	n.sizes = append(n.sizes, size)
}

func (n *inode) sync() {
	if len(n.sizes) > 0 || len(n.stable) != len(n.data) {
		n.stable = append([]byte(nil), n.data...)
	} else {
		for s := range n.dirty {
			copy(n.stable[s*sector:], n.data[s*sector:min((s+1)*sector, int64(len(n.data)))])
		}
	}
	n.dirty, n.sizes = nil, nil
}

func (n *inode) clone() *inode {
	c := &inode{data: append([]byte(nil), n.data...), stable: append([]byte(nil), n.stable...)}
	c.sizes = append(c.sizes, n.sizes...)
	for s, versions := range n.dirty {
		if c.dirty == nil {
			c.dirty = map[int64][][]byte{}
		}
		c.dirty[s] = append([][]byte(nil), versions...)
	}
	return c
}

// file is an open file.
type file struct {
	disk   *Disk
	node   *inode
	name   string // when it was opened
	closed atomic.Bool
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed.Load() {
		return 0, fs.ErrClosed
	}
	if fault := f.disk.before(Op{Kind: Read, Name: f.name, Offset: offset, Size: len(b)}); fault.Err != nil {
		return 0, fault.Err
	}
	if offset >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed.Load() {
		return 0, fs.ErrClosed
	}
	fault := d.before(Op{Kind: Write, Name: f.name, Offset: offset, Size: len(b)})
	done := len(b)
	if fault.Err != nil {
		done = min(fault.Done, len(b))
	} else if !d.room(offset + int64(len(b)) - int64(len(f.node.data))) {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	if done > 0 {
		f.node.put(b[:done], offset)
		d.written += int64(done)
	}
	return done, fault.Err
}

func (f *file) Resize(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed.Load() {
		return fs.ErrClosed
	}
	fault := d.before(Op{Kind: Resize, Name: f.name, Offset: size})
	if fault.Err != nil {
		return fault.Err
	}
	if !d.room(size - int64(len(f.node.data))) {
		return &fs.PathError{Op: "resize", Path: f.name, Err: syscall.ENOSPC}
	}
	f.node.resize(size)
	return nil
}

func (f *file) Sync() error {
	d := f.disk
	d.mu.Lock()
	latency := d.latency
	d.mu.Unlock()
	if latency > 0 {
		time.Sleep(latency)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed.Load() {
		return fs.ErrClosed
	}
	fault := d.before(Op{Kind: Sync, Name: f.name})
	if d.gone {
		return fault.Err
	}
	if fault.Err != nil {
		d.lose(f.node)
		return fault.Err
	}
	d.syncs++
	f.node.sync()
	return nil
}

func (f *file) Close() error {
	if f.closed.Swap(true) {
		return fs.ErrClosed
	}
	return nil
}
