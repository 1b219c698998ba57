package relay

import (
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Recovered is what a store has kept from an earlier process. Messages that
// several sessions hold are to be the same one.
type Recovered struct {
	Sessions    []*SessionState // those of one client in the order in which they were made
	Retained    []*Message
	Drops       map[string]uint64
	LastSession uint64 // the greatest number that a session has had
}

// Restore makes the relay go on from what its store has recovered. Call it
// before the relay is used for anything else. Sessions that had a connection
// have lost it just now.
func (r *Relay) Restore(rec Recovered) {
	r.sessionIDs.Store(rec.LastSession)
	for reason := range dropReasons {
		r.dropped[reason].Store(rec.Drops[reason.String()])
	}
	for _, m := range rec.Retained {
		r.adopt(m)
		m.retained.Store(true)
		r.retained.set(m, nil)
	}
	for _, st := range rec.Sessions {
		r.restoreSession(st)
	}
}

// adopt makes the caller one of the holders of a message that was recovered.
func (r *Relay) adopt(m *Message) {
	if m.holders.Add(1) == 1 {
		r.share(m)
		r.store.Hold(Ref(m.ref.Load()), m.stored())
	}
}

func (r *Relay) restoreSession(st *SessionState) {
	s := &Session{relay: r, id: st.Terms.ClientID, username: st.Terms.Username, owner: st.Terms.Owner, subject: st.Terms.Subject, created: time.Now(),
		seq: st.NextSeq, seen: st.Sent, willDue: st.WillDue, detached: st.Detached}
	s.rules.Store(r.rulesFor(s.id, s.username))
	if r.conf().AccessOf != nil {
		s.willAccess = access{r.conf().AccessOf(st.Terms)}
		s.access.Store(&s.willAccess)
	}
	s.unchecked = st.NextSeq + 1 // rights may have changed meanwhile
	s.recorded.Store(st.ID)
	s.expiry.Store(st.Terms.Expiry)
	if st.Attached {
		s.detached = r.now()
	}
	r.mu.Lock()
	earlier := r.sessions[s.id]
	r.sessions[s.id] = s
	if earlier != nil {
		r.ending[earlier] = struct{}{}
	}
	r.mu.Unlock()
	if earlier != nil { // it was about to end when the process did
		defer earlier.end()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setWillLocked(st.Will)
	for _, want := range st.Subs {
		s.addLocked(want)
	}
	for _, id := range st.Inbound {
		if s.inbound == nil {
			s.inbound = make(map[uint16]inbound)
		}
		if _, known := s.inbound[id]; !known {
			r.shed.ids.Add(1)
		}
		s.inbound[id] = inbound{level: r.store.Level(""), logged: true}
	}
	for i := range st.Front {
		s.restoreEntryLocked(&st.Front[i])
	}
	recovered := len(st.Tail)
	defer func() {
		if recovered > 0 {
			s.books.seldom().recovered[acked] = uint64(recovered)
		}
	}()
	for i := range st.Front {
		if st.Front[i].Message != nil {
			recovered++
		}
	}
	for _, c := range st.Chunks {
		recovered += c.Entries
		r.holdChunk(&c)
		s.spill.insert(len(s.spill.chunks), &chunk{Chunk: c})
	}
	for i := range st.Tail {
		s.spill.tail.push(s.adoptLocked(&st.Tail[i], s.subs))
	}
	s.relearnLocked()
	s.weighLocked()
	if st.Attached {
		s.recordLocked(Change{Kind: Detached, Clock: s.detached})
	}
	s.startTimersLocked()
}

func (s *Session) restoreEntryLocked(e *Entry) {
	d := s.adoptLocked(e, s.subs)
	id := e.PacketID
	if id == 0 {
		id = packetID(e.Seq)
	}
	switch {
	case e.HalfAcked:
		s.window.addAs(&d, awaitPubcomp, id).level = s.relay.store.Level("")
	case e.Seq > s.seen:
		s.queue.push(d)
	case e.QoS == 2:
		s.window.addAs(&d, awaitPubrec, id)
	default:
		s.window.addAs(&d, awaitPuback, id)
	}
}

// startTimersLocked lets the session's time, and that of its will, go on.
func (s *Session) startTimersLocked() {
	now, last := s.relay.now(), s.opened
	if expiry := s.expiry.Load(); expiry != wire.NoExpiry {
		left := time.Duration(expiry)*time.Second - (now - s.detached)
		s.expiring = time.AfterFunc(max(0, left), func() { s.relay.expire(s, last) })
	}
	if s.will != nil {
		s.willing = time.AfterFunc(max(0, s.willDue-now), func() { s.publishDelayed(last) })
	}
}

// addLocked adds a subscription that the session has had before.
func (s *Session) addLocked(want Subscription) {
	if s.subs == nil {
		s.subs = make(map[string]*subscription)
	}
	if s.subs[want.Filter] != nil || wire.ValidFilter(want.Filter) != nil {
		return
	}
	sub := &subscription{Subscription: want, session: s}
	s.filters += filterCost(want.Filter)
	s.relay.shed.filters.Add(filterCost(want.Filter))
	s.subs[want.Filter] = sub
	s.relay.subs.add(sub, nil)
}
