package journal

import "time"

// SetFlushInterval changes what level Flush may lose, from the next Commit on.
// Zero and less is the default.
func (l *Log) SetFlushInterval(d time.Duration) {
	if d <= 0 {
		d = defaultFlushInterval
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.FlushInterval = d
}
