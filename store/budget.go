package store

import "time"

// day is by the store's clock: a store that runs for some hours a day has
// fewer days, and writes as much in each.
const day = 24 * time.Hour

// widest bounds how far the window of level Flush is widened.
const widest = time.Minute

// budget decides how the bytes are spent that may be written in a day. It is
// plain arithmetic on what it is told.
type budget struct {
	daily uint64        // bytes; 0: no bound
	base  time.Duration // the window within the budget

	day   int64  // the day that runs
	start uint64 // bytes written, ever, when it began
	told  bool   // that it is used up
}

// look takes note of what has been written, ever, and returns the window to go
// on with, and whether the day's bytes are used up, which it tells once a day.
// written never goes back; the clock may, by a little, after a crash.
func (b *budget) look(clock time.Duration, written uint64) (window time.Duration, usedUp bool) {
	if d := int64(clock / day); d > b.day {
		b.day, b.start, b.told = d, written, false
	}
	if b.daily == 0 {
		return b.base, false
	}
	used := b.used(written)
	if used <= b.daily {
		return b.base, false
	}
	window = 10 * b.base
	if used > 2*b.daily {
		window = 100 * b.base
	}
	window = max(b.base, min(window, widest))
	usedUp = !b.told
	b.told = true
	return window, usedUp
}

// used is how many bytes have been written in the day that runs.
func (b *budget) used(written uint64) uint64 { return written - min(b.start, written) }
