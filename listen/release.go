package listen

import (
	"net"
	"time"
)

// Release stops accepting and returns once Serve has, as Close does, but leaves
// the socket open and returns it, for another Listener to be made of it by
// Config.Bound: clients that are about to connect wait for that one. The caller
// owns it. Nil if the listener has been closed, or has none.
func (l *Listener) Release() net.Listener {
	l.mu.Lock()
	nl, first := l.nl, !l.ended
	l.ended = true
	l.mu.Unlock()
	if !first || nl == nil {
		return nil
	}
	close(l.closed)
	d, ok := nl.(interface{ SetDeadline(time.Time) error })
	if !ok {
		_ = nl.Close() // what cannot be interrupted cannot be handed on
		l.served.Wait()
		return nil
	}
	_ = d.SetDeadline(time.Unix(1, 0)) // fails only if it is closed, and then Accept does, too
	l.served.Wait()
	_ = d.SetDeadline(time.Time{})
	return nl
}
