package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/journal"
)

// typeWear is the type of a record that says how much has been written. Types
// that are not relay's changes begin here.
const typeWear byte = 0xe0

// recordWearEvery is how many bytes are written before the record is renewed;
// a crash forgets that many at most.
const recordWearEvery = 1 << 20

// Wear is what a store has cost the disk ever since it was made.
type Wear struct {
	Written uint64        // bytes written to its files
	Block   uint64        // bytes sent to the block layer by the processes that ran it, where that is known
	Clock   time.Duration // that it has been open, by its own clock
	Day     int64         // the day that runs, by that clock
	Start   uint64        // Written when that day began
}

// Today is the bytes written in the day that runs.
func (w Wear) Today() uint64 { return w.Written - min(w.Start, w.Written) }

func appendWear(b []byte, w Wear) []byte {
	for _, n := range []uint64{w.Written, w.Block, uint64(w.Day), w.Start} {
		b = binary.AppendUvarint(b, n)
	}
	return appendClock(b, w.Clock)
}

func decodeWear(data []byte) (Wear, error) {
	r := &reader{b: data}
	w := Wear{Written: r.number(), Block: r.number(), Day: int64(r.below(math.MaxInt64)), Start: r.number(), Clock: r.clock()}
	if r.failed || len(r.b) > 0 {
		return w, fmt.Errorf("wear, %d bytes: %w", len(data), errRecord)
	}
	return w, nil
}

// meter adds what this process writes to what earlier ones have.
type meter struct {
	block func() uint64 // what this process has sent to the block layer; may be nil

	mu       sync.Mutex // guards what follows
	before   Wear
	blocked  uint64 // block() at the start
	recorded uint64 // Written in the last record
	budget   budget
}

// begin goes on from what was recorded.
func (m *meter) begin(o *Options, before Wear) {
	m.block = o.BlockBytes
	if m.block == nil {
		m.block = func() uint64 { return 0 }
	}
	m.before, m.blocked, m.recorded = before, m.block(), before.Written
	m.budget = budget{daily: o.DailyBudget, base: o.FlushInterval, day: before.Day, start: before.Start}
}

// readLocked is the wear now.
func (m *meter) readLocked(st *journal.Stats) Wear {
	block := m.block()
	return Wear{Written: m.before.Written + st.WrittenBytes, Block: m.before.Block + block - min(block, m.blocked),
		Clock: st.Clock, Day: m.budget.day, Start: m.budget.start}
}

// Wear is what the store has cost the disk up to now.
func (s *Store) Wear() Wear {
	st := s.journal.Stats()
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return s.meter.readLocked(&st)
}

// measure looks after the day's budget, and records the wear if enough has been
// written, or in any case if it must.
func (s *Store) measure(must bool) {
	st := s.journal.Stats()
	m := &s.meter
	m.mu.Lock()
	window, usedUp := m.budget.look(st.Clock, m.before.Written+st.WrittenBytes)
	w := m.readLocked(&st)
	record := must || w.Written-m.recorded >= recordWearEvery
	if record {
		m.recorded = w.Written
	}
	m.mu.Unlock()
	s.journal.SetFlushInterval(window)
	if record {
		s.journal.Append(typeWear, appendWear(nil, w))
		s.appended()
	}
	if usedUp && s.opts.OnBudget != nil {
		s.opts.OnBudget(w.Today(), s.opts.DailyBudget, window)
	}
}
