package relay

// exchange is the state of one outbound QoS>0 message (sections 4.3.2 and 4.3.3 of
// MQTT 5).
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
	level Level // what the store promises for it
	size  int64 // memory charged
}

// window holds a session's unacknowledged messages in the order in which they
// were first sent, across connections, which is that of their seq. The
// identifier follows from the seq, so that a message has the same one after a
// crash, but is never one in use. [MQTT-2.2.1-4] The zero value is empty.
type window struct {
	ring    []sent // length is zero or a power of two
	head    int
	n       int
	current int   // the first current entries were sent on this connection; the rest wait to be sent again
	odd     int   // entries whose identifier is not that of their seq
	open    int   // entries that still hold their message
	bytes   int64 // memory charged for entries that still hold their message
}

func (w *window) at(i int) *sent { return &w.ring[(w.head+i)&(len(w.ring)-1)] }

// add appends d. The caller has seen that fewer than 65,535 identifiers are in
// use.
func (w *window) add(d *delivery, state exchange) *sent {
	return w.addAs(d, state, w.identify(d.seq))
}

// identify returns the identifier for an entry: that of its seq or, if an
// entry from a whole round of identifiers ago still has that, another.
func (w *window) identify(seq uint64) uint16 {
	id := packetID(seq)
	if w.n == 0 || w.odd == 0 && seq-w.at(0).seq < 65535 {
		return id // identifiers since the oldest one have not come round yet
	}
	for {
		if _, used := w.find(id); !used {
			return id
		}
		seq++
		id = packetID(seq)
	}
}

func (w *window) addAs(d *delivery, state exchange, id uint16) *sent {
	if w.n == len(w.ring) {
		ring := make([]sent, max(minRing, 2*len(w.ring)))
		for i := range w.n {
			ring[i] = *w.at(i)
		}
		w.ring, w.head = ring, 0
	}
	e := w.at(w.n)
	*e = sent{delivery: *d, id: id, state: state}
	if d.msg != nil {
		e.level, e.size = d.msg.level, d.msg.size()
		d.msg.hold(1)
		w.open++
	}
	if id != packetID(d.seq) {
		w.odd++
	}
	w.n++
	w.bytes += e.size
	return e
}

// packetID maps a seq to 1..65535.
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
	e := w.at(i)
	if w.odd > 0 && e.id != packetID(e.seq) {
		w.odd--
	}
	w.release(e)
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
	if e.msg != nil {
		e.msg.hold(-1)
		w.open--
	}
	e.size, e.msg = 0, nil
}

// full reports whether the client's Receive Maximum is used up. [MQTT-3.3.4-9]
func (w *window) full(limit int) bool { return w.current >= limit || w.n >= 65535 }
