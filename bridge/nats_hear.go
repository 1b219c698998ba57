package bridge

import (
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// What may wait to be taken, of those subscriptions of a session together that bring
// the same kind of thing.
const (
	waitingMessages = 64 << 10
	waitingBytes    = 8 << 20
)

// hear has take handle what core NATS brings, one after the other: each message, or
// those that the server gives to this member of a group. Core NATS does not wait:
// what comes while too much is waiting is lost, and counted by lost. The bounds are
// shared with as many other subscriptions as there are subjects; one message has room
// in any case.
func (s *natsSession) hear(subjects []string, group string, lost *atomic.Uint64, take nats.MsgHandler) (subs []*nats.Subscription, err error) {
	for _, subject := range subjects {
		counted := 0
		handle := func(m *nats.Msg) {
			if n, err := m.Sub.Dropped(); err == nil && n > counted {
				lost.Add(uint64(n - counted))
				counted = n
			}
			take(m)
		}
		var sub *nats.Subscription
		if group == "" {
			sub, err = s.nc.Subscribe(subject, handle)
		} else {
			sub, err = s.nc.QueueSubscribe(subject, group, handle)
		}
		if err == nil {
			subs = append(subs, sub)
			err = sub.SetPendingLimits(waitingMessages/len(subjects)+1, max(waitingBytes/len(subjects), int(s.nc.MaxPayload())))
		}
		if err != nil {
			return subs, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return subs, nil
}
