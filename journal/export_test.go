package journal

import "math"

// Durable is a position: every record before it, of this generation, is on
// stable storage.
func (l *Log) Durable() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// Generation is moved by each failure, before Commits are told of it. What was
// appended before it moved and lies at or above what Durable was then is lost.
func (l *Log) Generation() uint64 { return l.generation.Load() }

// Room is how many bytes can be appended before the log is Full, as far as the
// budget tells: what is put aside for a checkpoint is not counted.
func (l *Log) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.MaxBytes == 0 {
		return math.MaxInt64
	}
	return max(0, l.roomLocked()-l.reserveLocked()-l.backlog.Load())
}
