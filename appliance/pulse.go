package appliance

import (
	"context"
	"fmt"
)

// Pulse reports whether messages pass: one of the broker's own goes all the way
// through, from the look for subscribers to its acknowledgement, clients that wait
// for the store are answered, and what keeps lists of clients answers. It returns
// nil when all of that has happened, else what has not when ctx ends. It counts as
// no message, and is cheap enough for a watchdog. Safe for concurrent use.
func (b *Broker) Pulse(ctx context.Context) error {
	if !b.runs() {
		return fmt.Errorf("pulse: %w: the broker does not run", ErrState)
	}
	if err := b.relay.Pulse(ctx); err != nil {
		return err
	}
	answered := make(chan struct{})
	go func() { // it takes the locks that who connects and goes away needs
		defer close(answered)
		b.Stats()
		b.sessions.Conn("")
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the list of clients does not answer: %w", context.Cause(ctx))
	}
}
