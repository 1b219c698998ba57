package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Session is what the broker keeps for one client identifier: subscriptions,
// messages that wait or are unacknowledged, and packet identifiers received
// at QoS 2. It outlives its connections as long as its expiry interval says.
type Session struct {
	relay *Relay
	id    string

	live     atomic.Pointer[live] // nil while no connection is attached
	recorded atomic.Uint64        // number by which the store knows the session, 0 if it does not
	queued0  atomic.Int32         // >0: QoS 0 must pass through the queue to keep its order
	stuffed  atomic.Bool          // its queue is at a limit, and it may lose nothing
	spilling atomic.Bool          // there are chunks whose commit is yet to be asked for
	starved  atomic.Bool          // pump stopped because the link had too much waiting
	dirty    atomic.Bool          // somebody has appended to the link and will flush it

	received traffic // publishes from the client
	sent     traffic // publishes to it
	dropped  atomic.Uint64
	lost     atomic.Uint64            // of dropped, those that had a promise: at QoS 1 and 2, and nothing newer took their place
	loses    atomic.Pointer[lossLine] // that it has counted on last
	expiry   atomic.Uint32            // seconds the session is kept without a connection [MQTT-3.1.2-23]
	rules    atomic.Pointer[QueueRules]
	access   atomic.Pointer[access]
	aside    atomic.Pointer[aside] // nil unless there is another way for what it gets

	mu        sync.Mutex // guards everything that follows
	port      *Port      // the current owner, attached or about to be
	opened    uint64     // Ports so far
	username  string
	owner     string // the identity that it belongs to; "" if none was proven
	subject   string // see Connect.Subject
	created   time.Time
	subs      map[string]*subscription // by filter as sent
	filters   int64                    // bytes that subs cost
	queue     queue
	spill     spilled // waits behind queue
	owed      []owed  // goes into queue when that is empty
	owedBytes int64   // charged for owed
	paying    bool    // the next of owed is about to be given
	window    window
	seq       uint64 // of the last QoS>0 message that was put in the queue
	seen      uint64 // the greatest seq that has been sent, as recorded
	unchecked uint64 // messages with a lower seq were let in under earlier rights; 0 if there are none
	catching  *gate  // holds PUBRELs back at the beginning of a connection; nil if there are none
	entry     entry  // holds back what no publisher commits
	holding   bool   // pump stopped at a gate, whose lifting will resume it
	books     books
	latest    *latest            // nil unless some message waits only until there is a newer one
	inbound   map[uint16]inbound // QoS 2 identifiers received and not released [MQTT-4.3.3-10]
	detached  time.Duration      // when its last connection ended
	expiring  *time.Timer        // ends the session
	ended     atomic.Bool        // changes only under mu
	takes     *aside             // it is the other way for another session by that; nil for most

	will       *wire.Will // waits for its delay
	willAccess access     // what its client may publish
	willDue    time.Duration
	willing    *time.Timer // publishes will

	carried *CarriedPort // of a connection that goes on and has not been reopened yet
}

// inbound is what is known of a QoS 2 identifier that was received.
type inbound struct {
	serial uint64 // the Port that it came by
	level  Level
	logged bool // recorded
}

// live is a session's attached connection. It never changes, but for its
// aliases.
type live struct {
	port      *Port
	link      Link
	version   wire.Version
	maxPacket int           // 0: no limit
	window    int           // the client's Receive Maximum, capped
	since     time.Duration // when it was attached
	aliases   *aliases      // nil if the client takes none
	taker     Taker         // link, if it is one
	simple    bool          // nothing of the above need be heeded to encode a message
}

// durable reports whether the session outlives its connection, so that its
// messages must survive as well.
func (s *Session) durable() bool { return s.expiry.Load() > 0 }

// behind reports whether the session's client does not keep up.
func (s *Session) behind() bool {
	l := s.live.Load()
	return s.starved.Load() || (l != nil && l.link.Pending() > s.relay.conf().MaxOutbound/2)
}

// detachLocked forgets p's connection. It reports whether p still owned the
// session.
func (s *Session) detachLocked(p *Port) bool {
	if s.port != p || s.ended.Load() {
		return false
	}
	s.port = nil
	s.live.Store(nil)
	s.window.current = 0
	s.starved.Store(false)
	return true
}

// end discards the session: its subscriptions, the messages that wait in it,
// and, if it has a will that waits, the wait. Shared subscriptions give what
// waited, and QoS 1 that was unacknowledged, to another member; QoS 2 that has
// been sent must not go to another. [MQTT-4.8.2-5] Call it without locks, after
// the session has left Relay.sessions.
func (s *Session) end() {
	s.relay.moving.RLock()
	defer s.relay.moving.RUnlock()
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		return
	}
	s.ended.Store(true)
	s.live.Store(nil)
	subs, waiting, unacked, spill, will, by := s.subs, s.queue, s.window, s.spill, s.will, s.willAccess
	username := s.username
	s.relay.shed.filters.Add(-s.filters)
	s.relay.shed.ids.Add(-int64(len(s.inbound)))
	s.subs, s.filters, s.inbound = nil, 0, nil
	s.setWillLocked(nil)
	s.latest = nil
	s.forgetAllOwedLocked()
	s.queue, s.window, s.spill = queue{}, window{}, spilled{loading: spill.loading}
	s.weighLocked()
	s.stopTimersLocked()
	s.mu.Unlock()

	for _, sub := range subs {
		s.relay.subs.remove(sub)
	}
	s.relay.queuedBytes.Add(-waiting.bytes - unacked.bytes - spill.tail.bytes)
	var again, sent []delivery
	for i := range unacked.n {
		switch e := unacked.at(i); e.state {
		case awaitPuback:
			again = append(again, e.delivery)
		case awaitPubrec:
			s.dropUnlocked(DropDiscarded, e.msg.origin(e.qos), 1)
			sent = append(sent, e.delivery)
		}
		unacked.release(unacked.at(i))
	}
	s.giveUp(sent)
	for waiting.len() > 0 {
		again = append(again, waiting.pop())
	}
	s.handOn(again)
	for i := range spill.chunks {
		s.handOnChunk(spill.chunks[i], subs)
	}
	again = again[:0]
	for spill.tail.len() > 0 {
		again = append(again, spill.tail.pop())
	}
	s.handOn(again)
	if will != nil {
		s.relay.publishWill(s.id, username, will, by)
	}
	// Not before what has become of its messages and its will is recorded.
	s.mu.Lock()
	s.unrecordLocked()
	s.spill.loaded = spill.loaded
	s.forgetLoadedLocked()
	s.mu.Unlock()
	s.relay.retire(s)
}

// handOn gives what waited in a session that has ended to the other members of
// its shared subscriptions; the rest is dropped.
func (s *Session) handOn(list []delivery) {
	for i := range list {
		d := &list[i]
		if d.group == nil || d.qos == 0 || !s.relay.redispatch(*d, s) {
			s.dropUnlocked(DropDiscarded, d.msg.origin(d.qos), 1)
		}
	}
	s.giveUp(list)
}

// giveUp records that the session needs list, whose order is that of Seq, no
// more, and then lets go of it: a crash must not find what refers to a body
// without the body.
func (s *Session) giveUp(list []delivery) {
	var first, last uint64
	for i := range list {
		if d := &list[i]; d.kept {
			if first == 0 {
				first = d.seq
			}
			last = d.seq
		}
	}
	s.settleRange(first, last)
	for i := range list {
		s.unkeep(&list[i])
	}
}

func (s *Session) settleRange(first, last uint64) {
	if last == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordLocked(Change{Kind: Settled, Seq: first, Last: last})
}

// handOnChunk is handOn for what is not in memory.
func (s *Session) handOnChunk(c *chunk, subs map[string]*subscription) {
	if !c.Shared {
		s.settleRange(c.First, c.Last)
		s.mu.Lock()
		s.letGoLocked(c)
		s.mu.Unlock()
		s.relay.releaseChunk(&c.Chunk)
		s.dropUnlocked(DropDiscarded, origin{qos: 1}, c.Entries)
		return
	}
	entries, err := s.readLocking(c)
	list := s.takeLocked(c, subs, entries, err)
	s.mu.Unlock()
	for i := range list {
		s.relay.queuedBytes.Add(-list[i].msg.size())
	}
	s.handOn(list)
	s.settleRange(c.First, c.Last) // those too that could not be read
	s.relay.releaseEntries(&c.Chunk)
}

func (s *Session) stopTimersLocked() {
	if s.expiring != nil {
		s.expiring.Stop()
		s.expiring = nil
	}
	if s.willing != nil {
		s.willing.Stop()
		s.willing = nil
	}
}

// SubscriptionInfo is one subscription as reported.
type SubscriptionInfo struct {
	Filter string
	QoS    byte
}

// SessionInfo describes a session at one instant.
type SessionInfo struct {
	ClientID      string
	Username      string
	Connected     bool
	Version       wire.Version // 0 when not connected
	Created       time.Time
	Expiry        uint32 // seconds, wire.NoExpiry for never
	Subscriptions int
	Received      Traffic
	Sent          Traffic
	Queued        int   // messages that wait
	QueuedBytes   int64 // their size, unacknowledged ones included
	Inflight      int
	Dropped       uint64
	Lost          uint64        // of Dropped, at QoS 1 and 2, and not because something newer on the topic waits
	Pending       int           // bytes sent that the network has not taken
	Oldest        time.Duration // how long the oldest message of Queued has waited, to a second
	OldestAtLeast bool          // it may be longer: the store has brought messages
}

func (s *Session) info() SessionInfo {
	i := SessionInfo{ClientID: s.id, Dropped: s.dropped.Load(), Lost: s.lost.Load()}
	i.Received.accumulate(&s.received)
	i.Sent.accumulate(&s.sent)
	if l := s.live.Load(); l != nil {
		i.Connected, i.Version, i.Pending = true, l.version, l.link.Pending()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i.Username, i.Created, i.Expiry = s.username, s.created, s.expiry.Load()
	i.Subscriptions = len(s.subs)
	i.Queued, i.QueuedBytes = s.waitingLocked()
	i.Inflight = s.window.n
	w := s.oldestLocked()
	i.Oldest, i.OldestAtLeast = w.age, w.atLeast
	return i
}

// subscriptions returns the session's subscriptions in no order.
func (s *Session) subscriptions() []SubscriptionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]SubscriptionInfo, 0, len(s.subs))
	for _, sub := range s.subs {
		out = append(out, SubscriptionInfo{sub.Filter, sub.QoS})
	}
	return out
}
