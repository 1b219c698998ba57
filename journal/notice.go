package journal

import "time"

// notices is the changes of state that OnState has not been told yet. Log.mu
// guards it.
type notices struct {
	since   time.Time
	why     error
	pending []notice
	more    chan struct{} // there are pending ones; closed at the end
	noticed chan struct{} // closed when the last has been told
}

type notice struct {
	state State
	err   error
}

// setStateLocked changes the state, if it is another, and has it told.
func (l *Log) setStateLocked(s State, err error) {
	if State(l.state.Load()) == s {
		if s != OK {
			l.why = err
		}
		return
	}
	l.state.Store(uint32(s))
	l.since, l.why = time.Now(), err
	if l.o.OnState == nil {
		return
	}
	l.pending = append(l.pending, notice{s, err})
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// announce calls OnState until the log is closed.
func (l *Log) announce() {
	defer close(l.noticed)
	for {
		_, open := <-l.more
		l.mu.Lock()
		list := l.pending
		l.pending = nil
		l.mu.Unlock()
		for _, n := range list {
			l.o.OnState(n.state, n.err)
		}
		if !open {
			return
		}
	}
}
