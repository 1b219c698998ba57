package faultdisk

import (
	"maps"
	"math/rand/v2"
)

// settle is the file after a power cut: of each sector that was not synced any
// content that it had since, or a mixture of two, or the old one.
func (n *inode) settle(rng *rand.Rand) *inode {
	size := int64(len(n.stable))
	if len(n.sizes) > 0 {
		if i := rng.IntN(len(n.sizes) + 1); i > 0 {
			size = n.sizes[i-1]
		}
	}
	data := make([]byte, size)
	copy(data, n.stable)
	// Some cuts lose nearly everything, some nearly nothing.
	keep := rng.Float64()
	if rng.IntN(4) == 0 {
		keep = float64(rng.IntN(2))
	}
	for _, s := range sorted(n.dirty) {
		if s*sector >= size || rng.Float64() >= keep {
			continue
		}
		versions := n.dirty[s]
		v := versions[rng.IntN(len(versions))]
		if keep == 1 {
			v = versions[len(versions)-1]
		}
		part := v
		if keep < 1 && rng.IntN(8) == 0 {
			part = v[:rng.IntN(sector)]
		}
		copy(data[s*sector:], part)
	}
	return &inode{data: data, stable: append([]byte(nil), data...)}
}

// lose is a failed sync: a random part of what was not stable becomes so, and
// the rest never will, though it can be read as long as the machine runs.
func (d *Disk) lose(n *inode) {
	settled := n.settle(d.rng)
	if len(settled.data) < len(n.data) { // keep the size: it is read from memory
		settled.data = append(settled.data, make([]byte, len(n.data)-len(settled.data))...)
	}
	n.stable = settled.data[:len(n.data)]
	n.dirty, n.sizes = nil, nil
}

// Crash is the disk as it may be after a power cut now. What was synced is
// there; of the rest, rng decides. The old disk is gone.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	names := maps.Clone(d.durable)
	kept := len(d.pending) // a journal keeps a prefix of the changes
	ordered := rng.IntN(2) == 0
	if ordered {
		kept = rng.IntN(len(d.pending) + 1)
	}
	for i, op := range d.pending {
		if ordered && i >= kept || !ordered && rng.IntN(2) == 0 {
			continue
		}
		switch op.kind {
		case Create:
			names[op.to] = op.node
		case Rename:
			if names[op.from] == op.node {
				delete(names, op.from)
				names[op.to] = op.node
			}
		case Remove:
			if names[op.from] == op.node {
				delete(names, op.from)
			}
		}
	}
	after := New(rng.Uint64())
	after.unsteady = d.unsteady
	settled := map[*inode]*inode{}
	for _, name := range sorted(names) {
		node := names[name]
		if settled[node] == nil {
			settled[node] = node.settle(rng)
		}
		after.live[name] = settled[node]
	}
	after.durable = maps.Clone(after.live)
	return after
}

// Kill is the disk after the process has died: all its writes are there to be
// read, but what was not synced is still not stable. The old disk is gone.
func (d *Disk) Kill() *Disk {
	after := d.copy(true)
	return after
}

// Clone is a copy of the disk, with the same content and the same dangers.
func (d *Disk) Clone() *Disk { return d.copy(false) }

func (d *Disk) copy(kill bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = d.gone || kill
	after := New(d.rng.Uint64())
	after.unsteady = d.unsteady
	nodes := map[*inode]*inode{}
	same := func(n *inode) *inode {
		if nodes[n] == nil {
			nodes[n] = n.clone()
		}
		return nodes[n]
	}
	for _, name := range sorted(d.live) {
		after.live[name] = same(d.live[name])
	}
	for _, name := range sorted(d.durable) {
		after.durable[name] = same(d.durable[name])
	}
	for _, op := range d.pending {
		op.node = same(op.node)
		after.pending = append(after.pending, op)
	}
	return after
}

// Names is the files, in order.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sorted(d.live)
}

// Get is a copy of what is in a file, nil if there is none.
func (d *Disk) Get(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.live[name]
	if n == nil {
		return nil
	}
	return append([]byte{}, n.data...)
}

// Put makes data what is in a file, and stable; nil removes it. It goes past
// hooks and counters: somebody tampers with the disk.
func (d *Disk) Put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if data == nil {
		delete(d.live, name)
		delete(d.durable, name)
		return
	}
	n := &inode{data: append([]byte{}, data...), stable: append([]byte{}, data...)}
	d.live[name], d.durable[name] = n, n
}
