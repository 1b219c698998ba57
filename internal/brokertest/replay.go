package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"github.com/synthetism/edgebroker/wire"
)

// workers is how many devices act at a time in a replay.
const workers = 8

// replay is a day in progress.
type replay struct {
	*Plant
	addr      string
	monitors  []*monitor
	listeners []listener
	control   *paho.Client

	mu    sync.Mutex
	tally *Tally
}

// actor is a device during a replay. One worker owns it.
type actor struct {
	*device
	link     *link
	session  bool // a kept session exists at the broker
	statuses int  // messages that its status topic should have had
	sent     int  // commands sent to it, set between slots
	got      int  // commands that have arrived
}

// Replay lives through the day as fast as the broker at addr goes and returns
// what happened, as counted by the clients. Steps of one device keep their
// order; devices run side by side within a slot of the day, an hour of 24.
//
// Nothing is left to chance: before a device goes, everything meant for it has
// arrived and is acknowledged, and before it comes again, its end has been
// seen. So the tally equals Expect when broker and clients are right. Replay
// itself requires that every monitor got each topic's messages complete and
// in order, and that retained messages are the last ones of their topics. The
// broker must not have met the plant before, and grant everything.
func (p *Plant) Replay(ctx context.Context, addr string) (Tally, error) {
	r := &replay{Plant: p, addr: addr, tally: newTally()}
	want := p.expect()
	err := r.day(ctx)
	for _, m := range r.monitors {
		if err == nil || errors.Is(err, errMissing) || errors.Is(err, errTooMany) {
			err = errors.Join(err, m.check(p.root, want.topics))
		}
	}
	if err != nil {
		return *r.tally, fmt.Errorf("replay: %w", err)
	}
	for _, m := range r.monitors {
		r.tally.Delivered.QoS[0] += m.received.QoS[0]
		r.tally.Delivered.QoS[1] += m.received.QoS[1]
		r.tally.Delivered.QoS[2] += m.received.QoS[2]
		r.tally.Delivered.Bytes += m.received.Bytes
		r.tally.client(m.id, func(c *ClientTally) { c.Received = m.received })
	}
	if err := r.audit(want.retained); err != nil {
		return *r.tally, fmt.Errorf("replay: audit: %w", err)
	}
	return *r.tally, nil
}

// day runs all steps between the coming and going of the monitors.
func (r *replay) day(ctx context.Context) (err error) {
	ears, ctx := errgroup.WithContext(ctx)
	for i := range monitors {
		m := newMonitor(&monitors[i], r.name(monitors[i].id))
		l := newListener(m, r.addr, r.root)
		if err = l.start(ctx); err != nil {
			break
		}
		r.monitors, r.listeners = append(r.monitors, m), append(r.listeners, l)
		r.count(func(t *Tally) { t.connected(m.id) })
		ears.Go(l.listen)
	}
	if err == nil {
		err = r.live(ctx)
	}
	for _, m := range r.monitors {
		if err == nil {
			if err = m.awaitAll(ctx); err != nil {
				err = fmt.Errorf("%w: %w", errMissing, err)
			}
		}
	}
	for _, l := range r.listeners {
		if leaveErr := l.leave(); err == nil {
			err = leaveErr
		}
		r.count(func(t *Tally) { t.ended(ReasonNormal) })
	}
	if hearErr := ears.Wait(); err == nil {
		err = hearErr
	}
	return err
}

// live runs the slots of the day one after the other.
func (r *replay) live(ctx context.Context) error {
	id := r.name(controllerName)
	control, err := openPaho(ctx, r.addr, id)
	if err != nil {
		return err
	}
	r.count(func(t *Tally) { t.connected(id) })
	r.control = control
	actors := make([]*actor, len(r.devices))
	listening := map[string]*actor{}
	for i := range r.devices {
		actors[i] = &actor{device: &r.devices[i]}
		listening[r.devices[i].commands] = actors[i]
	}
	defer func() {
		for _, a := range actors {
			if a.link != nil {
				a.link.conn.Close()
			}
		}
	}()
	for steps := r.Plant.steps; len(steps) > 0 && err == nil; {
		end := (steps[0].At/r.slot + 1) * r.slot
		n := 0
		for n < len(steps) && steps[n].At < end {
			n++
		}
		err = r.runSlot(ctx, steps[:n], actors, listening)
		steps = steps[n:]
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx) // a monitor failed first
	}
	if leaveErr := control.Disconnect(&paho.Disconnect{}); err == nil {
		err = leaveErr
	}
	r.count(func(t *Tally) { t.ended(ReasonNormal) })
	return err
}

// runSlot sends the commands of one slot, then lets the devices act.
func (r *replay) runSlot(ctx context.Context, steps []Step, actors []*actor, listening map[string]*actor) error {
	parts := make([][]*Step, workers)
	for i := range steps {
		s := &steps[i]
		if s.Device != controller {
			w := s.Device % workers
			parts[w] = append(parts[w], s)
			continue
		}
		if err := r.command(ctx, &s.Message); err != nil {
			return err
		}
		listening[s.Message.Topic].sent++
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error {
			for _, s := range part {
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				if err := r.step(ctx, actors[s.Device], s); err != nil {
					return fmt.Errorf("%s at %v: %w", actors[s.Device].id, s.At, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *replay) count(change func(*Tally)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.tally)
}

// announce tells the monitors of a topic that a message is coming.
func (r *replay) announce(ctx context.Context, topic string) error {
	for _, i := range r.watched[topic] {
		if err := r.monitors[i].announce(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) command(ctx context.Context, m *Message) error {
	if err := r.announce(ctx, m.Topic); err != nil {
		return err
	}
	ack, err := r.control.Publish(ctx, &paho.Publish{Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Payload: m.Payload})
	if err == nil && ack.ReasonCode >= byte(wire.UnspecifiedError) {
		err = fmt.Errorf("refused with code %#x", ack.ReasonCode)
	}
	if err != nil {
		return fmt.Errorf("publish command to %s: %w", m.Topic, err)
	}
	r.count(func(t *Tally) { t.published(r.name(controllerName), m) })
	return nil
}

// audit reads what is retained at the end of the day.
func (r *replay) audit(want map[string]Message) error {
	c := Clean(wire.V311, r.name(auditorName))
	l, _, err := openLink(r.addr, &c)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	l.autoAck = true
	r.tally.connected(c.ClientID)
	if _, err := l.subscribe(wire.Filter{Filter: r.root + "/#", QoS: auditorQoS}); err != nil {
		return err
	}
	got := map[string]bool{}
	for len(got) < len(want) {
		f, err := l.next()
		if err != nil {
			return fmt.Errorf("%d of %d retained messages: %w", len(got), len(want), err)
		}
		d, err := wire.DecodeDelivery(f, l.version)
		if err != nil {
			return err
		}
		topic := string(d.Topic)
		if m, ok := want[topic]; !ok || got[topic] || !d.Retain || string(m.Payload) != string(d.Payload) {
			return fmt.Errorf("retained message on %s is not the last one published, or comes twice", topic)
		}
		got[topic] = true
		r.tally.Retained++
		r.tally.RetainedBytes += uint64(len(d.Payload))
		r.tally.received(c.ClientID, d.QoS, d.Payload)
	}
	// One more round trip would bring what is too much.
	if err := l.ping(); err != nil {
		return err
	}
	if len(l.pending) > 0 {
		return fmt.Errorf("more than %d messages are retained", len(want))
	}
	r.tally.ended(ReasonNormal)
	return l.disconnect()
}
