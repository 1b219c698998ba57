package brokertest

import (
	"context"
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// step lets a device do one thing and counts it.
func (r *replay) step(ctx context.Context, a *actor, s *Step) error {
	switch s.Do {
	case Connect:
		return r.arrive(a)
	case Publish:
		return r.publish(ctx, a, &s.Message)
	case Leave:
		if err := r.finish(a); err != nil {
			return err
		}
		l := a.link
		a.link = nil
		if err := l.disconnect(); err != nil {
			return fmt.Errorf("disconnect: %w", err)
		}
		r.count(func(t *Tally) { t.ended(ReasonNormal) })
	case Drop:
		if err := r.finish(a); err != nil {
			return err
		}
		l := a.link
		a.link = nil
		return r.dying(ctx, a, ReasonClosed, l.drop)
	case TakeOver:
		old := a.link
		// A broker need not read what is left on a connection that it ends.
		if err := old.ping(); err != nil {
			return err
		}
		defer old.conn.Close()
		return r.dying(ctx, a, ReasonTakenOver, func() error {
			if err := r.arrive(a); err != nil {
				return err
			}
			return old.awaitEnd()
		})
	}
	return nil
}

// arrive connects. The broker must know a kept session again, and only that.
func (r *replay) arrive(a *actor) error {
	c := Clean(a.version, a.id)
	if a.kept {
		c = Kept(a.version, a.id)
	}
	if a.will != nil {
		c.Will = &wire.Will{Topic: a.will.Topic, QoS: a.will.QoS, Retain: a.will.Retain, Payload: a.will.Payload}
	}
	l, ack, err := openLink(r.addr, &c)
	if err != nil {
		return err
	}
	a.link = l
	l.autoAck = true
	r.count(func(t *Tally) { t.connected(a.id) })
	// MQTT 3.1 has no session-present flag.
	if a.version != wire.V31 && ack.SessionPresent != a.session {
		return fmt.Errorf("session present is %v", ack.SessionPresent)
	}
	if a.commands != "" && !a.session {
		codes, err := l.subscribe(wire.Filter{Filter: a.commands, QoS: 1})
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		if len(codes) != 1 || codes[0] != wire.GrantedQoS1 {
			return fmt.Errorf("subscribe: got codes %v", codes)
		}
	}
	if a.kept && !a.session {
		a.session = true
		r.count(func(t *Tally) {
			t.Sessions++
			if a.commands != "" {
				t.Subscriptions++
			}
		})
	}
	return nil
}

func (r *replay) publish(ctx context.Context, a *actor, m *Message) error {
	if err := r.announce(ctx, m.Topic); err != nil {
		return err
	}
	reason, err := a.link.publish(&wire.Out{Topic: []byte(m.Topic), QoS: m.QoS, Retain: m.Retain, Payload: m.Payload})
	if err == nil && reason >= wire.UnspecifiedError {
		err = fmt.Errorf("refused: %v", reason)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", m.Topic, err)
	}
	if a.will != nil && m.Topic == a.will.Topic {
		a.statuses++
	}
	r.count(func(t *Tally) { t.published(a.id, m) })
	return nil
}

// finish waits for the commands that were sent to the device so far.
func (r *replay) finish(a *actor) error {
	for a.got < a.sent {
		f, err := a.link.next()
		if err != nil {
			return fmt.Errorf("wait for command %d of %d: %w", a.got+1, a.sent, err)
		}
		if f.Type != wire.PUBLISH {
			return fmt.Errorf("got %v instead of a command", f.Type)
		}
		d, err := wire.DecodeDelivery(f, a.link.version)
		if err != nil {
			return fmt.Errorf("command: %w", err)
		}
		if string(d.Topic) != a.commands || d.Dup {
			return fmt.Errorf("command on %s, repeated %v", d.Topic, d.Dup)
		}
		a.got++
		r.count(func(t *Tally) { t.received(a.id, d.QoS, d.Payload) })
	}
	return nil
}

// dying runs what ends a connection without DISCONNECT and waits until the
// first monitor, which sees all topics, has the will.
func (r *replay) dying(ctx context.Context, a *actor, reason string, end func() error) error {
	if a.will != nil {
		if err := r.announce(ctx, a.will.Topic); err != nil {
			return err
		}
	}
	if err := end(); err != nil {
		return err
	}
	r.count(func(t *Tally) { t.ended(reason) })
	if a.will == nil {
		return nil
	}
	a.statuses++
	if err := r.monitors[0].await(ctx, a.will.Topic, a.statuses); err != nil {
		return fmt.Errorf("will: %w", err)
	}
	r.count(func(t *Tally) { t.Wills.add(a.will.QoS, a.will.Payload) })
	return nil
}
