package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// RingOptions say what a ring does.
type RingOptions struct {
	Addr    string
	Members int
	Every   time.Duration // between two messages of a member; 0: as soon as the one before is acknowledged
	Name    string        // client identifiers and topics begin with it
}

// RingTally is what a ring has counted.
type RingTally struct {
	Acked    int           // messages that the broker has acknowledged
	Got      int           // different ones that came
	Lost     int           // of Acked, those that did not
	Again    int           // that came once more, at QoS 1
	Twice    int           // the same at QoS 2
	Disorder int           // that came after a later one
	Longest  time.Duration // that a member has waited for an acknowledgement
}

// Ring is a number of connected clients, each of which publishes to the next: half
// of them at QoS 1 and half at QoS 2, with sessions that end with the connection,
// in MQTT 3.1.1 and 5. None of them ever connects again.
type Ring struct {
	o       RingOptions
	members []*ringMember
}

type ringMember struct {
	link     *link
	qos      byte
	to, from string // topics
	acked    int    // messages are numbered from 1
	last     int    // that has come
	tally    RingTally
}

// JoinRing connects and subscribes all members.
func JoinRing(o RingOptions) (*Ring, error) {
	r := &Ring{o: o}
	for i := range o.Members {
		m := &ringMember{qos: byte(1 + i%2), to: fmt.Sprint(o.Name, "/", (i+1)%o.Members), from: fmt.Sprint(o.Name, "/", i)}
		c := Clean([]wire.Version{wire.V311, wire.V5}[i/2%2], fmt.Sprint(o.Name, "-", i))
		c.KeepAlive = 60
		l, _, err := openLink(o.Addr, &c)
		if err != nil {
			return nil, errors.Join(err, r.Leave())
		}
		m.link = l
		r.members = append(r.members, m)
		codes, err := l.subscribe(wire.Filter{Filter: m.from, QoS: 2})
		if err == nil && (len(codes) != 1 || codes[0] != 2) {
			err = fmt.Errorf("subscribe to %s: got codes %v", m.from, codes)
		}
		if err != nil {
			return nil, errors.Join(err, r.Leave())
		}
		l.autoAck = true
	}
	return r, nil
}

// Leave ends all connections, saying goodbye.
func (r *Ring) Leave() error {
	var errs []error
	for _, m := range r.members {
		errs = append(errs, m.link.disconnect())
	}
	return errors.Join(errs...)
}

// Run has all members publish until ctx ends, and then waits for what was
// acknowledged to arrive. An error is of a member whose connection has ended, or
// from which something was refused.
func (r *Ring) Run(ctx context.Context) (t RingTally, err error) {
	var all, publishing sync.WaitGroup
	errs := make([]error, len(r.members))
	publishing.Add(len(r.members))
	for i, m := range r.members {
		before := r.members[(i+len(r.members)-1)%len(r.members)]
		all.Go(func() {
			errs[i] = m.publish(ctx, r.o.Every)
			publishing.Done()
			publishing.Wait()
			if errs[i] == nil {
				errs[i] = m.collect(before.acked)
			}
			if errs[i] != nil {
				errs[i] = fmt.Errorf("member %d: %w", i, errs[i])
			}
		})
	}
	all.Wait()
	for i, m := range r.members {
		before := r.members[(i+len(r.members)-1)%len(r.members)]
		t.Acked += m.acked
		t.Got += m.tally.Got
		t.Lost += max(0, before.acked-m.tally.Got)
		t.Again += m.tally.Again
		t.Twice += m.tally.Twice
		t.Disorder += m.tally.Disorder
		t.Longest = max(t.Longest, m.tally.Longest)
	}
	return t, errors.Join(errs...)
}

func (m *ringMember) publish(ctx context.Context, every time.Duration) error {
	for ctx.Err() == nil {
		began := time.Now()
		reason, err := m.link.publish(&wire.Out{Topic: []byte(m.to), Payload: strconv.AppendInt(nil, int64(m.acked+1), 10), QoS: m.qos})
		if err == nil && reason >= wire.UnspecifiedError {
			err = fmt.Errorf("publish refused: %v", reason)
		}
		if err != nil {
			return err
		}
		m.acked++
		m.tally.Longest = max(m.tally.Longest, time.Since(began))
		if err := m.take(); err != nil {
			return err
		}
		wait(ctx, every-time.Since(began))
	}
	return nil
}

// collect reads until n messages have come, and then looks for more.
func (m *ringMember) collect(n int) error {
	for m.tally.Got < n {
		f, err := m.link.read()
		if err != nil {
			return fmt.Errorf("%d of %d messages have come: %w", m.tally.Got, n, err)
		}
		m.link.pending = append(m.link.pending, f)
		if err := m.take(); err != nil {
			return err
		}
	}
	if err := m.link.ping(); err != nil {
		return err
	}
	return m.take()
}

// take counts the messages that have come.
func (m *ringMember) take() error {
	for len(m.link.pending) > 0 {
		f, err := m.link.next()
		if err != nil {
			return err
		}
		if f.Type != wire.PUBLISH {
			continue
		}
		d, err := wire.DecodeDelivery(f, m.link.version)
		if err != nil {
			return fmt.Errorf("delivery: %w", err)
		}
		n, err := strconv.Atoi(string(d.Payload))
		if err != nil || string(d.Topic) != m.from {
			return fmt.Errorf("got %q on %q", d.Payload, d.Topic)
		}
		switch {
		case n > m.last:
			m.tally.Got++
			m.last = n
		case d.QoS == 2:
			m.tally.Twice++
		case n == m.last:
			m.tally.Again++
		default:
			m.tally.Disorder++
		}
	}
	return nil
}
