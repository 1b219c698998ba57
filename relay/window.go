package relay

// exchange is the state of one outbound QoS>0 message. [MQTT-4.3.2] [MQTT-4.3.3]
type exchange byte

const (
	awaitPuback  exchange = iota + 1 // QoS 1 sent
	awaitPubrec                      // QoS 2 sent
	awaitPubcomp                     // PUBREC came, PUBREL sent; the message itself is no longer needed
)

// sent is a QoS>0 message that has a packet identifier.
type sent struct {
	delivery
	id    uint16
	state exchange
	seq   uint64 // number of the identifier's allocation in this session
	size  int64  // memory charged
}

// window holds a session's unacknowledged messages in the order in which they
// were first sent, across connections. Identifiers are allocated in turn,
// never one that is in use. [MQTT-2.2.1-4] The zero value is empty.
type window struct {
	ring    []sent // length is zero or a power of two
	head    int
	n       int
	current int // the first current entries were sent on this connection; the rest wait to be sent again
	seq     uint64
	bytes   int64 // memory charged for entries that still hold their message
}

func (w *window) at(i int) *sent { return &w.ring[(w.head+i)&(len(w.ring)-1)] }

// add appends d with a new identifier. The caller has seen that fewer than
// 65,535 are in use.
func (w *window) add(d delivery, state exchange) *sent {
	if w.n == len(w.ring) {
		ring := make([]sent, max(minRing, 2*len(w.ring)))
		for i := range w.n {
			ring[i] = *w.at(i)
		}
		w.ring, w.head = ring, 0
	}
	for {
		w.seq++
		if w.n == 0 || w.seq-w.at(0).seq < 65535 {
			break // identifiers since the oldest one have not come round yet
		}
		if _, used := w.find(packetID(w.seq)); !used {
			break
		}
	}
	e := w.at(w.n)
	*e = sent{delivery: d, id: packetID(w.seq), state: state, seq: w.seq, size: d.msg.size()}
	w.n++
	w.bytes += e.size
	return e
}

// packetID maps an allocation number to 1..65535.
func packetID(seq uint64) uint16 { return uint16(seq%65535) + 1 }

// find returns the position of the entry with the identifier. Clients
// acknowledge in order [MQTT-4.6.0-2], so it is nearly always the first.
func (w *window) find(id uint16) (int, bool) {
	for i := range w.n {
		if w.at(i).id == id {
			return i, true
		}
	}
	return 0, false
}

// remove takes out the entry at position i, keeping the order of the others.
func (w *window) remove(i int) {
	w.release(w.at(i))
	if i < w.current {
		w.current--
	}
	for ; i > 0; i-- {
		*w.at(i) = *w.at(i - 1)
	}
	*w.at(0) = sent{}
	w.head = (w.head + 1) & (len(w.ring) - 1)
	w.n--
	if w.n == 0 && len(w.ring) > keepRing {
		w.ring, w.head = nil, 0
	}
}

// release lets go of an entry's message, whose bytes are no longer needed.
func (w *window) release(e *sent) {
	w.bytes -= e.size
	e.size, e.msg = 0, nil
}

// full reports whether the client's Receive Maximum is used up. [MQTT-3.3.4-9]
func (w *window) full(limit int) bool { return w.current >= limit || w.n >= 65535 }
