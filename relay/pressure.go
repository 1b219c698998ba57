package relay

import (
	"math"
	"sync/atomic"

	"github.com/synthetism/edgebroker/wire"
)

// Pressure says how short memory is, and so what a Relay gives up, each with
// what those before it say.
type Pressure int32

// The degrees of pressure.
const (
	// NoPressure: the bounds of Config hold, and nothing else.
	NoPressure Pressure = iota
	// ShedQoS0: QoS 0 is dropped for connections that have a backlog.
	ShedQoS0
	// ShedQueues: queues go to the store early or, where there is none, make
	// room as for a full total; no message is retained for a new topic.
	ShedQueues
)

// What a session or a connection may have in any case.
const (
	minWait     = 8 << 10  // bytes waiting in a link before QoS 0 to it is dropped
	minQueued   = 4 << 10  // bytes queued for a client that is connected
	minFly      = 64 << 10 // bytes of messages on their way to a client, unless others have used up the total
	shedSpill   = 64 << 10 // Config.SpillBytes under ShedQueues
	smallShare  = 1024     // of the total, what a client that is connected may have queued
	idCost      = 48       // bytes of memory that a QoS 2 identifier takes, received and not released
	minIDs      = 16       // such identifiers
	idMemory    = 1 << 20  // bytes of memory for all of them, if a quarter of the total is less
	maxAliased  = 1 << 10  // bytes of a topic beyond which it gets no alias
	aliasMemory = 32 << 10 // bytes of topics that the aliases of one connection may stand for
)

// shed is what a Relay keeps in mind for lack of memory.
type shed struct {
	pressure atomic.Int32
	filters  atomic.Int64  // what the subscriptions of all sessions cost
	ids      atomic.Int64  // QoS 2 identifiers received and not released, all sessions
	retained atomic.Uint64 // messages that were not retained under pressure
	spilled  atomic.Uint64 // messages that went to the store under pressure
}

// SetPressure says how short memory is from now on.
func (r *Relay) SetPressure(p Pressure) {
	before := Pressure(r.shed.pressure.Swap(int32(p)))
	if p >= ShedQueues && before < ShedQueues && r.store != nil {
		r.relieve(0)
	}
}

func (r *Relay) under(p Pressure) bool { return Pressure(r.shed.pressure.Load()) >= p }

// mayWait is how many bytes may wait in a link before QoS 0 to it is dropped,
// and why it is then.
func (r *Relay) mayWait() (int, DropReason) {
	if r.under(ShedQoS0) {
		return min(minWait, r.conf().MaxOutbound), DropMemory
	}
	room := int64(math.MaxInt64)
	if r.conf().OutboundRoom != nil {
		room = r.conf().OutboundRoom()
	}
	if room < int64(r.conf().MaxOutbound) {
		return max(min(minWait, r.conf().MaxOutbound), int(room)), DropMemory
	}
	return r.conf().MaxOutbound, DropSlowConsumer
}

// swamped reports whether l has so much waiting that it gets no QoS 0, and why.
// A peer that takes what it gets is never swamped for lack of memory.
func (r *Relay) swamped(l Link) (DropReason, bool) {
	n := l.Pending()
	if n <= min(minWait, r.conf().MaxOutbound) {
		return 0, false
	}
	limit, why := r.mayWait()
	if n <= limit {
		return 0, false
	}
	if why == DropMemory {
		l.Flush() // it may just not have been asked yet
		return why, l.Pending() > limit
	}
	return why, true
}

// mayFly is how many bytes of messages may be on their way to a client, or
// unacknowledged, before no more are sent.
func (r *Relay) mayFly() int64 {
	total := r.conf().TotalQueuedBytes
	return max(minQueued, min(max(minFly, total/64), total-r.queued()))
}

// spillAt is how many bytes a session may have in memory before further
// messages go to the store.
func (r *Relay) spillAt() int64 {
	if r.under(ShedQueues) {
		return min(r.conf().SpillBytes, shedSpill)
	}
	return r.conf().SpillBytes
}

// isSmall reports whether a client that is connected has so little queued, bytes,
// that it gets its message whatever others have used up.
func (s *Session) isSmall(bytes int64) bool {
	return bytes <= max(minQueued, s.relay.conf().TotalQueuedBytes/smallShare) && s.live.Load() != nil
}

// claimFilter accounts for a subscription that costs so much more. It reports
// false, and changes nothing, if all together would cost too much.
func (r *Relay) claimFilter(cost int64) bool {
	if total := r.shed.filters.Add(cost); cost > 0 && r.conf().TotalFilterBytes > 0 && total > r.conf().TotalFilterBytes {
		r.shed.filters.Add(-cost)
		return false
	}
	return true
}

// setWillLocked makes w, nil for none, the will that waits for its delay. It is
// charged like what is queued.
func (s *Session) setWillLocked(w *wire.Will) {
	s.relay.queuedBytes.Add(willSize(w) - willSize(s.will))
	s.will = w
}

func willSize(w *wire.Will) int64 {
	if w == nil {
		return 0
	}
	return int64(len(w.Topic)+len(w.Payload)+len(w.Props)) + messageOverhead
}

// roomForWill reports whether w may wait. A will that finds no room is not
// given up, but published at once.
func (r *Relay) roomForWill(w *wire.Will) bool {
	n := willSize(w)
	return n <= minQueued || r.queued()+n <= r.conf().TotalQueuedBytes
}

// crowdedIDs reports whether QoS 2 identifiers take so much memory that a
// session that has n of them gets no more.
func (r *Relay) crowdedIDs(n int) bool {
	return n >= minIDs && r.shed.ids.Load()*idCost > max(r.conf().TotalQueuedBytes/4, idMemory)
}

// fan adds n bytes to what has been appended to links and not flushed. Beyond
// Config.FlushBytes it is flushed: a message to very many must not lie in memory
// once for each of them.
func (p *publisher) fan(n int) {
	p.unflushed += n
	if most := p.relay.conf().FlushBytes; most > 0 && p.unflushed > most {
		p.flush()
	}
}
