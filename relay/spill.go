package relay

import "slices"

// A chunk holds this many entries, or this many bytes of messages, when it is
// written.
const (
	chunkEntries = 512
	chunkBytes   = 256 << 10
	entrySize    = 20 // about what an entry takes in the store
)

// lowFront is how many messages wait in memory, at most, when the next chunk is
// read. Config.SpillBytes of them are enough, too, but not less than lowBytes.
const (
	lowFront = 128
	lowBytes = 32 << 10
)

// sated reports whether what waits in memory lasts for a while.
func (s *Session) sated() bool {
	return s.queue.len() > lowFront || s.queue.bytes >= max(lowBytes, s.relay.conf().SpillBytes)
}

// spilled is the part of a session's queue that follows what is in memory at
// its front: chunks, which are in the store only, then a tail in memory. QoS 0,
// and what the store does not know, is not part of it: that stays in the front
// and so passes by. The session's mu guards it.
type spilled struct {
	chunks  []*chunk
	entries int   // in chunks
	bytes   int64 // what their messages would be charged with
	tail    queue
	loading bool     // a goroutine reads the first chunk
	fresh   []*chunk // whose commit is yet to be asked for
	loaded  []Chunk  // in memory again; their records are needed until the next snapshot says what is left of them
}

// chunk is a Chunk whose record may not be stable yet. Until it is, its messages
// stay in memory: if the store fails, there is nowhere else to read them from.
type chunk struct {
	Chunk
	held []delivery // nil when stable

	stale int  // entries that are known to be superseded
	known bool // its entries have been noted: see latest
}

func (sp *spilled) empty() bool { return len(sp.chunks) == 0 && sp.tail.len() == 0 }

func (sp *spilled) len() int { return sp.entries + sp.tail.len() }

// insert puts c before the at-th chunk, cut takes the at-th out.
func (sp *spilled) insert(at int, c *chunk) {
	sp.chunks = slices.Insert(sp.chunks, at, c)
	sp.entries += c.Entries
	sp.bytes += c.Bytes
}

func (sp *spilled) cut(at int) *chunk {
	c := sp.chunks[at]
	if at == 0 { // as nearly always, and there may be thousands
		sp.chunks[0] = nil
		sp.chunks = sp.chunks[1:]
	} else {
		sp.chunks = slices.Delete(sp.chunks, at, at+1)
	}
	sp.entries -= c.Entries
	sp.bytes -= c.Bytes
	return c
}

// waitingLocked is how many messages wait, and their bytes as far as they
// would be in memory.
func (s *Session) waitingLocked() (n int, bytes int64) {
	return s.queue.len() + s.spill.len(), s.queue.bytes + s.window.bytes + s.spill.bytes + s.spill.tail.bytes
}

// trailsLocked reports whether d must go behind what is spilled, or begin it.
// If the store does not know the session any more, all that has an order does.
func (s *Session) trailsLocked(d *delivery) bool {
	if !d.kept {
		return d.qos > 0 && !s.spill.empty() && s.recorded.Load() == 0
	}
	return !s.spill.empty() || s.queue.bytes+s.window.bytes > s.relay.spillAt()
}

// trailLocked puts d at the end of the tail.
func (s *Session) trailLocked(d delivery) {
	t := &s.spill.tail
	t.push(d)
	if s.recorded.Load() == 0 {
		return
	}
	if t.len() >= chunkEntries || t.bytes >= min(chunkBytes, s.relay.spillAt()/2) {
		s.writeChunkLocked(t, len(s.spill.chunks))
	}
}

// writeChunkLocked takes the kept messages at the front of q out of memory and
// puts them as a chunk before the at-th one. What must not be sent yet stays,
// and so does all that follows.
func (s *Session) writeChunkLocked(q *queue, at int) {
	r := s.relay
	c := Change{Kind: Spilled}
	var rest, held, dropped []delivery
	forever := false
	r.bodies.RLock()
	for q.len() > 0 && len(c.Entries) < chunkEntries {
		d := q.front()
		if !d.kept {
			rest = append(rest, q.pop())
			continue
		}
		if s.fixedLocked(d) {
			break
		}
		if d.marks&markLatest != 0 {
			if (q == &s.queue || q == &s.spill.tail) && s.supersededLocked(d) {
				gone := q.pop()
				dropped = append(dropped, gone)
				continue
			}
			c.Chunk.Latest = true
		}
		c.Entries = append(c.Entries, d.entry())
		c.Chunk.Bytes += d.msg.size()
		c.Chunk.Holds = r.claim(c.Chunk.Holds, Ref(d.msg.ref.Load()), d.msg.stored())
		c.Chunk.Shared = c.Chunk.Shared || d.group != nil
		if c.Chunk.Until = max(c.Chunk.Until, untilTime(d.until)); d.until == 0 {
			forever = true
		}
		d.msg.hold(1)
		held = append(held, q.pop())
	}
	if forever {
		c.Chunk.Until = 0
	}
	if n := len(c.Entries); n > 0 {
		if r.under(ShedQueues) {
			r.shed.spilled.Add(uint64(n))
		}
		c.Chunk.Entries, c.Chunk.First, c.Chunk.Last = n, c.Entries[0].Seq, c.Entries[n-1].Seq
		c.Session = s.recorded.Load()
		c.Chunk.Ref = r.store.Record(c)
	}
	r.bodies.RUnlock()
	for _, d := range slices.Backward(rest) {
		q.unpop(d)
	}
	for i := range dropped {
		s.dropSupersededLocked(&dropped[i])
	}
	if len(c.Entries) == 0 {
		return
	}
	r.holdChunk(&c.Chunk)
	k := &chunk{Chunk: c.Chunk, held: held, known: true}
	s.spill.insert(at, k)
	if s.recorded.Load() != 0 {
		s.spill.fresh = append(s.spill.fresh, k)
		s.spilling.Store(true)
	}
}

// written is a Done that frees the memory of chunks.
type written struct {
	session *Session
	chunks  []*chunk
}

// Committed implements Done.
func (w *written) Committed(err error) {
	if err != nil {
		w.session.relay.failures.Add(1) // the next snapshot makes good for it, and Stored asks again
		return
	}
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	for _, c := range w.chunks {
		w.session.letGoLocked(c)
	}
}

// letGoLocked frees the messages of a chunk that are still in memory.
func (s *Session) letGoLocked(c *chunk) {
	if c.held == nil {
		return
	}
	s.relay.queuedBytes.Add(-c.Bytes)
	for i := range c.held {
		c.held[i].msg.hold(-1)
		s.unkeep(&c.held[i])
	}
	c.held = nil
}

// commitChunks makes the chunks stable that were written since the last call.
// Call it without locks.
func (s *Session) commitChunks() {
	if !s.spilling.CompareAndSwap(true, false) {
		return
	}
	s.mu.Lock()
	fresh := s.spill.fresh
	s.spill.fresh = nil
	s.mu.Unlock()
	if len(fresh) > 0 {
		s.relay.store.Commit(Sync, &written{s, fresh})
	}
}

// passableLocked reports whether all that is kept of the queue can be put into
// chunks: what stayed would be before them.
func (s *Session) passableLocked() bool {
	for i := range s.queue.len() {
		if d := s.queue.at(i); d.kept && s.fixedLocked(d) {
			return false
		}
	}
	return true
}

// fixedLocked reports whether d must stay in memory since it must not be sent
// yet.
func (s *Session) fixedLocked(d *delivery) bool {
	g := d.msg.gate
	return g != nil && !g.open.Load() || s.voidLocked(d)
}

// claim adds a body to the claims of a chunk.
func (r *Relay) claim(holds []Hold, ref Ref, bytes int) []Hold {
	if n := len(holds); n > 0 && r.store.Near(holds[n-1].Ref, ref) {
		holds[n-1].Bytes += bytes
		return holds
	}
	return append(holds, Hold{ref, bytes})
}

func (r *Relay) holdChunk(c *Chunk) {
	r.store.Hold(c.Ref, c.Entries*entrySize)
	for _, h := range c.Holds {
		r.store.Hold(h.Ref, h.Bytes)
	}
}

func (r *Relay) releaseChunk(c *Chunk) {
	r.releaseEntries(c)
	r.releaseBodies(c)
}

func (r *Relay) releaseEntries(c *Chunk) { r.store.Release(c.Ref, c.Entries*entrySize) }

func (r *Relay) releaseBodies(c *Chunk) {
	for _, h := range c.Holds {
		r.store.Release(h.Ref, h.Bytes)
	}
}

// forgetLoadedLocked gives up the records of chunks that are in memory again.
func (s *Session) forgetLoadedLocked() {
	for i := range s.spill.loaded {
		s.relay.releaseEntries(&s.spill.loaded[i])
	}
	s.spill.loaded = nil
}

// refillLocked brings the next of what is spilled back into memory when a
// connected client has nearly read all that is there. One whose link has enough
// waiting needs nothing: pump asks again when that has become less. If nothing
// is spilled, it is the turn of what the session is owed.
func (s *Session) refillLocked() {
	sp := &s.spill
	if sp.empty() && len(s.owed) == 0 || sp.loading || s.live.Load() == nil || s.starved.Load() || s.sated() || s.scanningLocked() {
		return
	}
	if sp.empty() {
		s.payLaterLocked()
		return
	}
	if len(sp.chunks) > 0 {
		sp.loading = true
		c := sp.chunks[0]
		s.relay.background(func() { s.load(c) })
		return
	}
	s.untrailLocked()
}

// untrailLocked moves the tail to the queue. There must be no chunks.
func (s *Session) untrailLocked() {
	for s.spill.tail.len() > 0 {
		s.queue.push(s.spill.tail.pop())
	}
}

// load reads c, the first chunk, and sends what can be sent of it.
func (s *Session) load(c *chunk) {
	entries, err := s.readLocking(c)
	s.spill.loading = false
	if s.ended.Load() || len(s.spill.chunks) == 0 || s.spill.chunks[0] != c { // it has gone, or been moved
		s.refillLocked()
		s.mu.Unlock()
		return
	}
	s.spill.cut(0)
	for _, d := range s.takeLocked(c, s.subs, entries, err) {
		s.queue.push(d)
	}
	s.spill.loaded = append(s.spill.loaded, c.Chunk)
	sent := s.pumpLocked()
	s.weighLocked()
	s.mu.Unlock()
	if sent {
		s.flush()
	}
}

// readLocking reads c from the store, unless it is still in memory, and locks
// the session, so that it stays there.
func (s *Session) readLocking(c *chunk) (entries []Entry, err error) {
	s.mu.Lock()
	if c.held == nil {
		s.mu.Unlock()
		entries, err = s.relay.store.Load(c.Ref)
		s.mu.Lock()
	}
	return entries, err
}

// takeLocked brings what readLocking has read of c, which is no longer a chunk
// of the session, into memory. subs are those of the session. The caller sees to it that c.Ref is released.
func (s *Session) takeLocked(c *chunk, subs map[string]*subscription, entries []Entry, err error) []delivery {
	list := c.held
	if c.held == nil {
		for i := range entries {
			list = append(list, s.adoptLocked(&entries[i], subs))
		}
		s.damagedLocked(&c.Chunk, entries, err)
	}
	for i := range c.held {
		c.held[i].msg.hold(-1) // the caller does
	}
	c.held = nil
	s.relay.releaseBodies(&c.Chunk)
	return list
}

// damagedLocked counts the messages of a chunk that could not be read, and
// records that nobody needs to look for them again. read are the others.
func (s *Session) damagedLocked(c *Chunk, read []Entry, err error) {
	lost := c.Entries - len(read)
	if lost == 0 {
		return
	}
	s.relay.log.Error("stored messages cannot be read", "client", s.id, "messages", lost, "error", err)
	s.dropLocked(DropDamaged, origin{qos: 1}, lost)
	from := c.First
	for i := range read {
		if seq := read[i].Seq; seq > from {
			s.recordLocked(Change{Kind: Settled, Seq: from, Last: seq - 1})
		}
		from = read[i].Seq + 1
	}
	if from <= c.Last {
		s.recordLocked(Change{Kind: Settled, Seq: from, Last: c.Last})
	}
}

// adoptLocked makes a delivery of an entry that has been read from the store,
// with the subscriptions that the session has, or had before it ended.
func (s *Session) adoptLocked(e *Entry, subs map[string]*subscription) delivery {
	d := delivery{msg: e.Message, ids: e.IDs, seq: e.Seq, qos: e.QoS, retain: e.Retain, kept: true, until: untilOf(e.Until)}
	if sub := subs[e.Share]; sub != nil {
		d.group = sub.group
	}
	if e.Latest {
		d.marks = markLatest
	}
	if d.msg != nil {
		s.relay.adopt(d.msg)
		s.relay.queuedBytes.Add(d.msg.size())
	}
	return d
}

// dropChunkLocked gives up the first chunk, which is the oldest of what waits.
func (s *Session) dropChunkLocked(why DropReason) { s.dropChunkAtLocked(0, why) }

func (s *Session) dropChunkAtLocked(at int, why DropReason) {
	c := s.spill.cut(at)
	s.lostChunkLocked(&c.Chunk)
	s.recordLocked(Change{Kind: Settled, Seq: c.First, Last: c.Last})
	s.letGoLocked(c)
	s.relay.releaseChunk(&c.Chunk)
	if c.stale > 0 {
		s.dropLocked(DropSuperseded, origin{qos: 1}, c.stale)
	}
	if c.Entries > c.stale {
		s.dropLocked(why, origin{qos: 1}, c.Entries-c.stale)
	}
}

// moveChunks records anew the chunks that stand in the way of giving up
// segments, and the bodies that do.
func (s *Session) moveChunks() {
	r := s.relay
	s.mu.Lock()
	var moving []*chunk
	for _, c := range s.spill.chunks {
		if r.store.Vacate(c.Ref) || slices.ContainsFunc(c.Holds, func(h Hold) bool { return r.store.Vacate(h.Ref) }) {
			moving = append(moving, c)
		}
	}
	s.mu.Unlock()
	for _, old := range moving {
		entries, err := s.readLocking(old)
		if i := slices.Index(s.spill.chunks, old); i >= 0 && !s.ended.Load() && s.recorded.Load() != 0 {
			s.moveChunkLocked(i, entries, err)
		}
		s.mu.Unlock()
	}
	s.commitChunks()
}

func (s *Session) moveChunkLocked(i int, entries []Entry, err error) {
	old := s.spill.cut(i)
	var q queue
	for _, d := range s.takeLocked(old, s.subs, entries, err) {
		s.relay.vacate(d.msg)
		q.push(d)
	}
	whole := q.len() == old.Entries
	before := len(s.spill.chunks)
	s.writeChunkLocked(&q, i)
	if len(s.spill.chunks) > before {
		c := s.spill.chunks[i]
		if c.known = old.known; whole {
			c.stale = old.stale
		}
	}
	s.spill.loaded = append(s.spill.loaded, old.Chunk)
}

// relieve takes messages that wait for clients who do not read out of memory,
// until what is there is less than enough. One call at a time does it; the
// others return.
func (r *Relay) relieve(enough int64) {
	if !r.relieving.CompareAndSwap(false, true) {
		return
	}
	r.background(func() {
		defer r.relieving.Store(false)
		for _, s := range r.all() {
			if r.queued() < enough {
				return
			}
			s.relieve()
		}
	})
}

func (s *Session) relieve() {
	defer s.commitChunks()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recorded.Load() == 0 || s.ended.Load() || s.live.Load() != nil && !s.behind() {
		return
	}
	for at := 0; s.passableLocked(); at++ {
		before := s.queue.len()
		s.writeChunkLocked(&s.queue, at)
		if s.queue.len() == before {
			break
		}
	}
	for before := -1; s.spill.tail.len() != before; {
		before = s.spill.tail.len()
		s.writeChunkLocked(&s.spill.tail, len(s.spill.chunks))
	}
}
