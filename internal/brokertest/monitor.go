package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// inFlight bounds the messages that are on their way to one monitor. It stays
// below what a broker queues for a healthy subscriber, so that even QoS 0
// arrives and counts are exact.
const inFlight = 256

// Errors after which comparing what arrived, topic by topic, tells more.
var (
	errMissing = errors.New("messages are missing at the end of the day")
	errTooMany = errors.New("more messages than were sent")
)

// monitor is a listening client while a day is replayed.
type monitor struct {
	plan *monitorPlan
	id   string
	gate chan struct{} // holds a token per message on its way

	mu       sync.Mutex
	arrived  sync.Cond
	received Traffic
	topics   map[string]topicLog
}

func newMonitor(plan *monitorPlan, id string) *monitor {
	m := &monitor{
		plan: plan, id: id, gate: make(chan struct{}, inFlight),
		topics: map[string]topicLog{},
	}
	m.arrived.L = &m.mu
	return m
}

// filters is the SUBSCRIBE of the monitor.
func (m *monitor) filters(root string) []wire.Filter {
	var list []wire.Filter
	for _, f := range m.plan.filters {
		list = append(list, wire.Filter{Filter: root + "/" + f, QoS: m.plan.qos})
	}
	return list
}

// announce waits until one more message may be on its way.
func (m *monitor) announce(ctx context.Context) error {
	select {
	case m.gate <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(Patience)
	defer patience.Stop()
	select {
	case m.gate <- struct{}{}:
		return nil
	case <-patience.C:
		return fmt.Errorf("%s: %d messages do not arrive", m.id, inFlight)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take counts an arrival.
func (m *monitor) take(topic string, qos byte, retained bool, payload []byte) error {
	select {
	case <-m.gate:
	default:
		return fmt.Errorf("%s: %w, about when one on %s came", m.id, errTooMany, topic)
	}
	if retained {
		return fmt.Errorf("%s: a message on %s says it is retained, but is new", m.id, topic)
	}
	m.mu.Lock()
	m.received.add(qos, payload)
	m.topics[topic] = m.topics[topic].add(payload)
	m.mu.Unlock()
	m.arrived.Broadcast()
	return nil
}

// await returns when n messages have arrived on topic.
func (m *monitor) await(ctx context.Context, topic string, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("%s: message %d on %s does not arrive", m.id, n, topic))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.arrived.Broadcast()
	})
	defer stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.topics[topic].n < n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.arrived.Wait()
	}
	return nil
}

// awaitAll returns when everything announced has arrived.
func (m *monitor) awaitAll(ctx context.Context) error {
	for range inFlight {
		if err := m.announce(ctx); err != nil {
			return err
		}
	}
	for range inFlight {
		select {
		case <-m.gate:
		default:
			return fmt.Errorf("%s: %w", m.id, errTooMany)
		}
	}
	return nil
}

// check compares what arrived with what was published, topic by topic.
func (m *monitor) check(root string, published map[string]topicLog) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for topic, want := range published {
		got := m.topics[topic]
		switch {
		case !m.plan.matches(root, topic) || got == want:
		case got.n != want.n:
			errs = append(errs, fmt.Errorf("%s: got %d of %d messages on %s", m.id, got.n, want.n, topic))
		default:
			errs = append(errs, fmt.Errorf("%s: the messages on %s differ from those published, or their order does", m.id, topic))
		}
	}
	return errors.Join(errs...)
}
