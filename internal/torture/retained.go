package main

// cell is one retained topic of one publisher. Its values are numbered 1, 2,
// 3, ...; see erases.
type cell struct {
	publisher int
	index     int
}

// erases tells whether value n of a cell is an empty payload, which takes the
// retained message away.
func erases(n uint64) bool { return n%7 == 0 }

type cellState struct {
	last  uint64 // newest value sent
	acked uint64 // newest value that was acknowledged
}

// set gives the next value of c its number.
func (b *books) set(c cell) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cells[c] == nil {
		b.cells[c] = &cellState{}
	}
	b.cells[c].last++
	b.messages++
	return b.cells[c].last
}

// accepted enters that the broker has acknowledged value n.
func (b *books) acceptValue(c cell, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted++
	b.cells[c].acked = max(b.cells[c].acked, n)
}

// refuseValue enters that the broker has turned value n away.
func (b *books) refuseValue(cell, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals++
}

// floors is the newest acknowledged value of each cell, at one moment.
func (b *books) floors() map[cell]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[cell]uint64, len(b.cells))
	for c, s := range b.cells {
		out[c] = s.acked
	}
	return out
}

// excusable tells whether cell c may be seen without a value by somebody who
// began to look when floor was its newest acknowledged one.
func (b *books) excusable(c cell, floor uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.excusableLocked(c, floor)
}

func (b *books) excusableLocked(c cell, floor uint64) bool {
	if floor == 0 {
		return true
	}
	for n := floor; n <= b.cells[c].last; n++ {
		if erases(n) {
			return true
		}
	}
	return false
}

// look judges what somebody has seen who began to look at floors: the value of
// each cell, or none.
func (b *books) look(observer string, floors, seen map[cell]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, n := range seen {
		who := []string{publisherName(c.publisher), observer}
		switch s := b.cells[c]; {
		case s == nil || n == 0 || n > s.last || erases(n):
			b.breachLocked(intact, who, "value %d of cell %d of publisher %d was never set", n, c.index, c.publisher)
		case n < floors[c]:
			b.breachLocked(notRolledBack, who, "cell %d of publisher %d has value %d, and %d was acknowledged", c.index, c.publisher, n, floors[c])
		}
	}
	for c, floor := range floors {
		b.checked[notRolledBack]++
		if _, ok := seen[c]; !ok && !b.excusableLocked(c, floor) {
			b.breachLocked(notRolledBack, []string{publisherName(c.publisher), observer},
				"cell %d of publisher %d has no value, and %d was acknowledged", c.index, c.publisher, floor)
		}
	}
}
