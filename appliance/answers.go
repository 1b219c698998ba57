package appliance

import (
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
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

func (k backend) Balance() statsd.Balance { return k.b.Balance() }
