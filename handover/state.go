package handover

import (
	"time"

	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
)

// State is what one process leaves to the next.
type State struct {
	Program   string        // version of the one that has made it
	Made      time.Duration // by the clock of [Now]
	Epoch     string        // names what no store keeps, for uplinks
	Relay     relay.Carried
	Listeners []Listener // with a descriptor each, in this order
	Conns     []Conn     // then those of these, but for those that are Gone
}

// Listener is a bound socket that goes on listening.
type Listener struct {
	Name    string
	Type    string
	Network string // tcp or unix
	Address string // as configured
	Bound   string // as bound
	Mode    uint32 // of a unix socket
}

// Conn is one connection.
type Conn struct {
	listen.Carried
	Client *hooks.Carried // nil: it has no session yet
	User   string         // mark of its user in the password file; "": it has none
}

// Sockets is how many descriptors belong to the state.
func (s *State) Sockets() int {
	n := len(s.Listeners)
	for i := range s.Conns {
		if !s.Conns[i].Gone {
			n++
		}
	}
	return n
}
