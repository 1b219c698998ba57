package bridge

import (
	"errors"
	"slices"
	"sync"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Client identifiers of uplinks' sessions, and who owns them: no client can.
const (
	SessionPrefix = relay.StandingPrefix
	owner         = "$bridge"
)

// forever is the session expiry interval of a session that does not expire.
// [MQTT-3.1.2-11.2]
const forever = 0xFFFFFFFF

// near is an uplink's session in this broker.
type near struct {
	relay  *relay.Relay
	id     string
	rules  Rules
	replay string // what topics begin with that are sent again; empty: none are, here
	live   *near  // by which live messages go; nil: by this one
	bounds Live   // of live

	mu   sync.Mutex // one after the other, as Port asks for
	port *relay.Port
	link relay.Taker // that port is attached to
	told uint16      // how many messages the far side may leave open towards this one
}

// openAll makes the sessions that are not there, and makes their subscriptions
// what the rules say, all at once. They stay without connections.
func openAll(r *relay.Relay, list []*near) error {
	var want []relay.Wanted
	for _, n := range list {
		n.mu.Lock()
		defer n.mu.Unlock()
		port, err := r.Open(n.connect(limits{}))
		if err != nil {
			return err
		}
		defer port.End(relay.End{})
		n.told = port.ReceiveMaximum()
		subs := append(n.rules.subscriptions(), relay.Subscription{Filter: n.id + canarySuffix, QoS: 1, RetainHandling: 2})
		if n.replay != "" {
			subs = append(subs, relay.Subscription{Filter: n.replay + "#", QoS: 1, RetainHandling: 2})
		}
		want = append(want, relay.Wanted{Port: port, Subs: subs})
	}
	for i, n := range list {
		if n.live != nil {
			to := want[slices.Index(list, n.live)].Port
			want[i].Aside = &relay.Aside{Port: to, Messages: n.bounds.Messages, Bytes: n.bounds.Bytes}
		}
	}
	granted, err := r.Resubscribe(want)
	if err != nil {
		return err
	}
	for i, w := range want {
		for j := range granted[i] { // one by one: a client that asks for so much would be disconnected
			w.Port.SendRetained(granted[i][j : j+1])
		}
		if len(granted[i]) == 0 {
			w.Port.SendRetained(nil)
		}
		w.Port.Flush()
	}
	return nil
}

// limits are what the far side takes.
type limits struct {
	receiveMaximum uint16 // 0: any number
	anew           bool   // it knows nothing of earlier connections
}

func (n *near) connect(l limits) relay.Connect {
	return relay.Connect{ClientID: n.id, Version: wire.V5, Expiry: forever, Standing: true, Owner: owner, ReceiveMaximum: l.receiveMaximum}
}

// attach lets what waits go to link.
func (n *near) attach(link relay.Taker, l limits) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port != nil {
		return errors.New("attached already")
	}
	return n.attachLocked(link, l)
}

func (n *near) attachLocked(link relay.Taker, l limits) error {
	port, err := n.relay.Open(n.connect(l))
	if err != nil {
		return err
	}
	n.port, n.link, n.told = port, link, port.ReceiveMaximum()
	if l.anew {
		port.Forget()
	}
	port.Attach(link)
	return nil
}

// renew lets all that is not acknowledged go to link once more, as attach would.
// between is called while nothing goes there. It does nothing when link is not
// attached any more.
func (n *near) renew(link relay.Taker, l limits, between func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port == nil || n.link != link {
		return nil
	}
	n.port.End(relay.End{})
	n.port, n.link = nil, nil
	between()
	l.anew = false
	return n.attachLocked(link, l)
}

// receiveMaximum is for CONNECT.
func (n *near) receiveMaximum() uint16 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told
}

// detach leaves what is not acknowledged for the next attach.
func (n *near) detach() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port != nil {
		n.port.End(relay.End{})
		n.port, n.link = nil, nil
	}
}

// receive takes what the far side says on link, as one frame of MQTT 5. flush
// must follow.
func (n *near) receive(link relay.Taker, frame []byte) error {
	f, _, err := wire.Scan(frame, 0)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port == nil || n.link != link {
		return nil // it will be said again
	}
	return n.port.Receive(f)
}

func (n *near) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port != nil {
		n.port.Flush()
	}
}

// writable lets more come when the link has become empty.
func (n *near) writable() {
	n.mu.Lock()
	port := n.port
	n.mu.Unlock()
	if port != nil {
		port.Writable()
	}
}
