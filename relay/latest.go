package relay

import (
	"cmp"
	"slices"
)

// Bounds of what a session remembers of topics on which only the newest message
// is to be sent. On topics beyond them all are.
const (
	latestTopics = 20_000
	latestBytes  = 2 << 20 // of their names
)

// latest knows which message is the newest that waits, of topics on which only
// that is to be sent. The others are dropped when their turn comes or, in memory,
// when there are many; on disk by whole chunks. The session's mu guards it.
type latest struct {
	topics   map[string]newest
	bytes    int  // of topics
	stale    int  // about how many of those in memory are not to be sent
	unknown  bool // chunks of an earlier process are yet to be looked through
	scanning bool // which is being done: nothing is sent meanwhile
}

// newest is the newest message on a topic. One whose gate has not been lifted
// might never have been: until then the one before it counts, too.
type newest struct {
	seq    uint64
	gate   *gate  // nil: it counts
	before uint64 // the newest that surely counts, if seq is not known to; 0: none, or it has gone
}

// counts reports whether the newest message is one that will not be undone.
func (n *newest) counts() bool {
	return n.gate == nil || n.gate.open.Load() && !n.gate.void()
}

// noteLatestLocked notes d, which has been put at the end of what waits.
func (s *Session) noteLatestLocked(d *delivery) {
	l, topic := s.learnLocked(), d.msg.Topic
	old, known := l.topics[topic]
	if !known && !l.admit(topic) {
		return
	}
	n := newest{seq: d.seq, gate: d.msg.gate, before: old.before}
	if known && old.counts() {
		s.supersedeLocked(old.before)
		n.before = old.seq
	}
	if n.counts() {
		s.supersedeLocked(n.before)
		n.gate, n.before = nil, 0
	}
	l.topics[topic] = n
}

// supersedeLocked counts a message that waits and is not to be sent. A chunk of
// nothing else is given up, and so are such messages in memory when they are most
// of it.
func (s *Session) supersedeLocked(seq uint64) {
	if seq == 0 {
		return
	}
	if i := s.spill.find(seq); i >= 0 {
		c := s.spill.chunks[i]
		if c.stale++; c.stale == c.Entries {
			s.dropChunkAtLocked(i, DropSuperseded)
		}
		return
	}
	l := s.latest
	if l.stale++; l.stale > 64 && l.stale > (s.queue.len()+s.spill.tail.len())/2 {
		s.compactLocked()
	}
}

// find is which chunk has seq, -1 if none has.
func (sp *spilled) find(seq uint64) int {
	at, _ := slices.BinarySearchFunc(sp.chunks, seq, func(c *chunk, seq uint64) int { return cmp.Compare(c.Last, seq) })
	if at < len(sp.chunks) && sp.chunks[at].First <= seq {
		return at
	}
	return -1
}

// supersededLocked reports whether d, which waits, is not to be sent since a newer
// message on its topic waits as well.
func (s *Session) supersededLocked(d *delivery) bool {
	if d.marks&markLatest == 0 || s.latest == nil {
		return false
	}
	n, known := s.latest.topics[d.msg.Topic]
	return known && (n.seq > d.seq && n.counts() || n.before > d.seq)
}

// overLocked is supersededLocked for d, which waits no more.
func (s *Session) overLocked(d *delivery) bool {
	over := s.supersededLocked(d)
	s.leftLocked(d)
	return over
}

// leftLocked notes that d waits no more.
func (s *Session) leftLocked(d *delivery) {
	l := s.latest
	if l == nil {
		return
	}
	n, known := l.topics[d.msg.Topic]
	switch {
	case !known:
	case n.seq == d.seq:
		l.forget(d.msg.Topic)
	case n.before == d.seq:
		n.before = 0
		l.topics[d.msg.Topic] = n
	}
}

// learnLocked is what the session knows, which may be nothing yet.
func (s *Session) learnLocked() *latest {
	if s.latest == nil {
		s.latest = &latest{topics: make(map[string]newest)}
	}
	return s.latest
}

// admit reports whether there is room for another topic, and takes it.
func (l *latest) admit(topic string) bool {
	if len(l.topics) >= latestTopics || l.bytes+len(topic) > latestBytes {
		return false
	}
	l.bytes += len(topic)
	return true
}

func (l *latest) forget(topic string) {
	delete(l.topics, topic)
	l.bytes -= len(topic)
}

// undoneLocked notes that d waits no more because it was not stored: the message
// before it is the newest again.
func (s *Session) undoneLocked(d *delivery) {
	if s.latest == nil {
		return
	}
	if n, known := s.latest.topics[d.msg.Topic]; known && n.seq == d.seq && n.before > 0 {
		s.latest.topics[d.msg.Topic] = newest{seq: n.before}
		return
	}
	s.leftLocked(d)
}

// compactLocked drops what is superseded in memory.
func (s *Session) compactLocked() {
	for _, q := range []*queue{&s.queue, &s.spill.tail} {
		for range q.len() {
			if d := q.pop(); s.supersededLocked(&d) {
				s.dropSupersededLocked(&d)
			} else {
				q.push(d)
			}
		}
	}
	s.latest.stale = 0
	s.weighLocked()
}

// dropSupersededLocked drops d, which has been taken out of a queue in memory.
func (s *Session) dropSupersededLocked(d *delivery) {
	s.relay.queuedBytes.Add(-d.msg.size())
	s.leftLocked(d)
	s.dropLocked(DropSuperseded, d.msg.origin(d.qos), 1)
	s.settledLocked(d)
}

// lostChunkLocked forgets what is known of the messages of a chunk that is given
// up.
func (s *Session) lostChunkLocked(c *Chunk) {
	if s.latest == nil {
		return
	}
	within := func(seq uint64) bool { return c.First <= seq && seq <= c.Last }
	for topic, n := range s.latest.topics {
		switch {
		case within(n.seq):
			s.latest.forget(topic)
		case within(n.before):
			n.before = 0
			s.latest.topics[topic] = n
		}
	}
}

// relearnLocked notes what a session that was restored has in memory. What is in
// chunks is looked through when its client comes.
func (s *Session) relearnLocked() {
	for _, q := range []*queue{&s.queue, &s.spill.tail} {
		for i := range q.len() {
			if d := q.at(i); d.marks&markLatest != 0 {
				s.relearnedLocked(d.msg.Topic, d.seq)
			}
		}
	}
	for _, c := range s.spill.chunks {
		if c.Latest {
			s.learnLocked().unknown = true
		}
	}
}

// relearnedLocked notes a message of an earlier process that waits.
func (s *Session) relearnedLocked(topic string, seq uint64) {
	l := s.learnLocked()
	n, known := l.topics[topic]
	switch {
	case known && seq > n.seq:
		s.supersedeLocked(n.seq)
	case known && (n.counts() || n.before > seq):
		s.supersedeLocked(seq)
		return
	case known: // until that counts
		s.supersedeLocked(n.before)
		n.before = seq
		l.topics[topic] = n
		return
	case !l.admit(topic):
		return
	}
	l.topics[topic] = newest{seq: seq}
}

// scanLocked begins to look through the chunks of an earlier process.
func (s *Session) scanLocked() {
	if l := s.latest; l == nil || !l.unknown || l.scanning {
		return
	}
	s.latest.scanning = true
	s.relay.background(s.scan)
}

// scanningLocked reports whether nothing is to be sent since it is not known yet
// what is the newest.
func (s *Session) scanningLocked() bool { return s.latest != nil && s.latest.scanning }

func (s *Session) scan() {
	for {
		s.mu.Lock()
		var next *chunk
		for _, c := range s.spill.chunks {
			if c.Latest && !c.known {
				next = c
				break
			}
		}
		if s.ended.Load() || next == nil {
			s.latest.unknown, s.latest.scanning = false, false
			sent := s.pumpLocked()
			s.mu.Unlock()
			if sent {
				s.flush()
			}
			return
		}
		s.mu.Unlock()
		entries, _ := s.readLocking(next)           // what cannot be read is counted when its turn comes
		if !slices.Contains(s.spill.chunks, next) { // it has gone, or been moved
			s.mu.Unlock()
			continue
		}
		next.known = true
		for i := range entries {
			if e := &entries[i]; e.Latest {
				s.relearnedLocked(e.Message.Topic, e.Seq)
			}
		}
		for i := range next.held {
			if d := &next.held[i]; d.marks&markLatest != 0 {
				s.relearnedLocked(d.msg.Topic, d.seq)
			}
		}
		s.mu.Unlock()
	}
}
