package journal

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
