package relay

import "strings"

// Taker is a Link that leads to a part of the program instead of a client: it
// gets messages as they are. Only what answers the client, and PUBREL, comes as
// frames by Send.
type Taker interface {
	Link

	// Take is called with the session locked, in the order of delivery: it must
	// not block, and not call the relay. The Message is shared and must not
	// change. What Take keeps counts in Pending until it is let go. QoS 1 and 2
	// stay in the session until Port.Receive gets what acknowledges them.
	Take(d Delivery)
}

// Delivery is a message on its way to a Taker.
type Delivery struct {
	Message  *Message
	Seq      uint64 // place among the session's QoS>0 messages, the same after a restart; 0 at QoS 0
	PacketID uint16 // what acknowledgements name it by; 0 at QoS 0
	QoS      byte
	Retain   bool
	Dup      bool     // it may have been sent on an earlier connection
	Expiry   uint32   // seconds that are left of its message expiry interval; 0: it has none
	IDs      []uint32 // subscription identifiers of the matching subscriptions
}

// StandingPrefix begins the client identifiers of sessions for parts of the
// program. Only a Connect that is Standing gets one.
const StandingPrefix = "$bridge/"

// kin reports whether two clients are one, or parts of one part of the program:
// their identifiers have the same word after StandingPrefix, up to a slash.
func kin(a, b string) bool {
	if a == b || !strings.HasPrefix(a, StandingPrefix) || !strings.HasPrefix(b, StandingPrefix) {
		return a == b
	}
	a, _, _ = strings.Cut(a[len(StandingPrefix):], "/")
	b, _, _ = strings.Cut(b[len(StandingPrefix):], "/")
	return a == b
}

// Forget forgets which QoS 2 publishes have come and are not released: the
// other side has begun anew, and their identifiers will name other messages.
// Call it before Attach; it waits for the store.
func (p *Port) Forget() {
	s := p.session
	s.mu.Lock()
	logged := false
	for id, in := range s.inbound {
		if in.logged {
			logged = true
			s.recordLocked(Change{Kind: Released, PacketID: id})
		}
	}
	if !s.ended.Load() {
		p.relay.shed.ids.Add(-int64(len(s.inbound)))
	}
	s.inbound, p.open = nil, 0
	s.mu.Unlock()
	if logged { // or a crash would bring them back, to be taken for what comes now
		p.relay.await()
	}
}
