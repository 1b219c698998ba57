package appliance

import (
	"context"
	"fmt"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Balance accounts for every message that has come since Start, and for every
// copy made of it, at one instant. See [relay.Relay.Balance]. A broker that has
// not started has no accounts, and is balanced.
func (b *Broker) Balance() statsd.Balance {
	out := statsd.Balance{Balanced: true, Accounts: []statsd.Account{}}
	if !b.assembled() {
		return out
	}
	for _, a := range b.relay.Balance() {
		d := a.Difference()
		out.Accounts = append(out.Accounts, statsd.Account{Name: a.Name, In: figures(a.In), Out: figures(a.Out), Difference: d})
		out.Balanced = out.Balanced && d == 0
	}
	return out
}

func figures(list []relay.Figure) []statsd.Figure {
	out := make([]statsd.Figure, len(list))
	for i, f := range list {
		out[i] = statsd.Figure{Name: f.Name, Count: f.Count}
	}
	return out
}

// ClearRetained removes the retained messages whose topics match the MQTT
// filter, and returns when that is stored, with how many there were. Clients
// that have subscribed are not told.
func (b *Broker) ClearRetained(ctx context.Context, filter string) (int, error) {
	if err := wire.ValidFilter(filter); err != nil {
		return 0, fmt.Errorf("clear retained messages of %q: %w", filter, err)
	}
	if !b.runs() {
		return 0, fmt.Errorf("clear retained messages of %q: %w: it is not running", filter, ErrState)
	}
	done := make(relay.Outcome, 1)
	n := b.relay.ClearRetained(filter, done)
	if n > 0 {
		b.log.Info("retained messages cleared", "filter", filter, "messages", n)
		b.system(events.SystemRetainedClear, fmt.Sprintf("%d of %s", n, filter))
	}
	select {
	case err := <-done:
		if err != nil {
			return n, fmt.Errorf("clear retained messages of %q: store: %w", filter, err)
		}
		return n, nil
	case <-ctx.Done():
		return n, fmt.Errorf("clear retained messages of %q: %w", filter, ctx.Err())
	}
}

func (k backend) Balance() statsd.Balance { return k.b.Balance() }

func (k backend) ClearRetained(ctx context.Context, filter string) (int, error) {
	return k.b.ClearRetained(ctx, filter)
}

func (k backend) Publishers(filter string, top int) statsd.Found[statsd.TopicPublishers] {
	out := statsd.Found[statsd.TopicPublishers]{List: []statsd.TopicPublishers{}}
	if !k.b.assembled() {
		return out
	}
	list, total := k.b.relay.Publishers(filter, top)
	out.Total = total
	for _, t := range list {
		p := statsd.TopicPublishers{Topic: t.Topic}
		for _, by := range t.By {
			p.Publishers = append(p.Publishers, statsd.Publication{Client: by.Client, Username: by.Username, Remote: by.Remote, Time: by.Time, Size: by.Size, QoS: by.QoS})
		}
		if t.Retained != nil {
			r := retained(t.Retained, false)
			p.Retained = &r
		}
		out.List = append(out.List, p)
	}
	return out
}

func (k backend) Retained(filter string, top int, payload bool) statsd.Found[statsd.Retained] {
	out := statsd.Found[statsd.Retained]{List: []statsd.Retained{}}
	if !k.b.assembled() {
		return out
	}
	list, total := k.b.relay.Retained(filter, top)
	out.Total = total
	for i := range list {
		out.List = append(out.List, retained(&list[i], payload))
	}
	return out
}

func retained(i *relay.RetainedInfo, payload bool) statsd.Retained {
	r := statsd.Retained{Topic: i.Topic, Client: i.Publisher, Since: i.Since, Expires: i.Expires.Seconds(), QoS: i.QoS}
	r.SetPayload(i.Payload, payload)
	return r
}

func (k backend) Topics(depth int, byBytes bool, top int) (statsd.Topics, error) {
	out := statsd.Topics{Busiest: []statsd.Busy{}}
	if !k.b.assembled() {
		return out, nil
	}
	l, err := k.b.relay.Busiest(depth, byBytes, top)
	if err != nil {
		return out, err
	}
	out.Messages, out.Bytes, out.Missed = l.Messages, l.Bytes, l.Missed
	for _, b := range l.Busiest {
		out.Busiest = append(out.Busiest, statsd.Busy(b))
	}
	return out, nil
}
