package relay

import "slices"

// A chunk holds this many entries, or this many bytes of messages, when it is
// written.
const (
	chunkEntries = 512
	chunkBytes   = 256 << 10
	entrySize    = 20 // about what an entry takes in the store
)

// lowFront is how many messages wait in memory when the next chunk is read.
const lowFront = 128

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
}

// chunk is a Chunk whose record may not be stable yet. Until it is, its messages
// stay in memory: if the store fails, there is nowhere else to read them from.
type chunk struct {
	Chunk
	held []delivery // nil when stable
}

func (sp *spilled) empty() bool { return len(sp.chunks) == 0 && sp.tail.len() == 0 }

func (sp *spilled) len() int { return sp.entries + sp.tail.len() }

// waitingLocked is how many messages wait, and their bytes as far as they
// would be in memory.
func (s *Session) waitingLocked() (n int, bytes int64) {
	return s.queue.len() + s.spill.len(), s.queue.bytes + s.window.bytes + s.spill.bytes + s.spill.tail.bytes
}

// behindLocked reports whether d, which is kept, must go behind what is
// spilled, or begin it.
func (s *Session) behindLocked() bool {
	return !s.spill.empty() || s.queue.bytes+s.window.bytes > s.relay.cfg.SpillBytes
}

// trailLocked puts d, which is kept, at the end of the tail.
func (s *Session) trailLocked(d delivery) {
	t := &s.spill.tail
	t.push(d)
	if t.len() >= chunkEntries || t.bytes >= min(chunkBytes, s.relay.cfg.SpillBytes/2) {
		s.writeChunkLocked(t, len(s.spill.chunks))
	}
}

// writeChunkLocked takes the kept messages at the front of q out of memory and
// puts them as a chunk before the at-th one. What must not be sent yet stays,
// and so does all that follows.
func (s *Session) writeChunkLocked(q *queue, at int) {
	r := s.relay
	c := Change{Kind: Spilled}
	var rest, held []delivery
	r.bodies.RLock()
	for q.len() > 0 && len(c.Entries) < chunkEntries {
		d := q.front()
		if !d.kept {
			rest = append(rest, q.pop())
			continue
		}
		if g := d.msg.gate; g != nil && !g.open.Load() || s.voidLocked(d) {
			break
		}
		c.Entries = append(c.Entries, d.entry())
		c.Chunk.Bytes += d.msg.size()
		c.Chunk.Holds = r.claim(c.Chunk.Holds, Ref(d.msg.ref.Load()), d.msg.stored())
		c.Chunk.Shared = c.Chunk.Shared || d.group != nil
		held = append(held, q.pop())
	}
	if n := len(c.Entries); n > 0 {
		c.Chunk.Entries, c.Chunk.First, c.Chunk.Last = n, c.Entries[0].Seq, c.Entries[n-1].Seq
		c.Session = s.recorded.Load()
		c.Chunk.Ref = r.store.Record(c)
	}
	r.bodies.RUnlock()
	for _, d := range slices.Backward(rest) {
		q.unpop(d)
	}
	if len(c.Entries) == 0 {
		return
	}
	r.holdChunk(&c.Chunk)
	k := &chunk{Chunk: c.Chunk, held: held}
	s.spill.chunks = slices.Insert(s.spill.chunks, at, k)
	s.spill.entries += k.Entries
	s.spill.bytes += k.Bytes
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
		return // the next snapshot records them anew
	}
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	for _, c := range w.chunks {
		w.session.letGo(c)
	}
}

// letGo frees the messages of a chunk that are still in memory. The caller
// holds the lock of the session, or the session has ended.
func (s *Session) letGo(c *chunk) {
	if c.held == nil {
		return
	}
	s.relay.queuedBytes.Add(-c.Bytes)
	for i := range c.held {
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
	r.store.Release(c.Ref, c.Entries*entrySize)
	for _, h := range c.Holds {
		r.store.Release(h.Ref, h.Bytes)
	}
}

// refillLocked brings the next of what is spilled back into memory when a
// connected client has nearly read all that is there.
func (s *Session) refillLocked() {
	sp := &s.spill
	if sp.empty() || sp.loading || s.queue.len() > lowFront || s.live.Load() == nil {
		return
	}
	if len(sp.chunks) > 0 {
		sp.loading = true
		c := sp.chunks[0]
		s.relay.loads.Go(func() { s.load(c) })
		return
	}
	for sp.tail.len() > 0 {
		s.queue.push(sp.tail.pop())
	}
}

// load reads c, the first chunk, and sends what can be sent of it.
func (s *Session) load(c *chunk) {
	entries, err := s.read(c)
	s.mu.Lock()
	s.spill.loading = false
	if s.ended.Load() || len(s.spill.chunks) == 0 || s.spill.chunks[0] != c { // it has gone, or been moved
		s.refillLocked()
		s.mu.Unlock()
		return
	}
	s.spill.chunks = s.spill.chunks[1:]
	s.spill.entries -= c.Entries
	s.spill.bytes -= c.Bytes
	for _, d := range s.takeLocked(c, entries, err) {
		s.queue.push(d)
	}
	sent := s.pumpLocked()
	s.weighLocked()
	s.mu.Unlock()
	if sent {
		s.flush()
	}
}

// read reads c from the store, unless it is still in memory.
func (s *Session) read(c *chunk) ([]Entry, error) {
	s.mu.Lock()
	held := c.held != nil
	s.mu.Unlock()
	if held {
		return nil, nil
	}
	return s.relay.store.Load(c.Ref)
}

// takeLocked brings what read has read of c, which is no longer a chunk of the
// session, into memory.
func (s *Session) takeLocked(c *chunk, entries []Entry, err error) []delivery {
	list := c.held
	if c.held == nil {
		for i := range entries {
			list = append(list, s.adoptLocked(&entries[i]))
		}
		s.damagedLocked(&c.Chunk, len(entries), err)
	}
	c.held = nil
	s.relay.releaseChunk(&c.Chunk)
	return list
}

// damagedLocked counts the messages of a chunk that could not be read.
func (s *Session) damagedLocked(c *Chunk, read int, err error) {
	lost := c.Entries - read
	if lost == 0 {
		return
	}
	s.relay.log.Error("stored messages cannot be read", "client", s.id, "messages", lost, "error", err)
	s.drop(DropDamaged, origin{qos: 1}, lost)
}

// adoptLocked makes a delivery of an entry that has been read from the store.
func (s *Session) adoptLocked(e *Entry) delivery {
	d := delivery{msg: e.Message, ids: e.IDs, seq: e.Seq, qos: e.QoS, retain: e.Retain, kept: true}
	if sub := s.subs[e.Share]; sub != nil {
		d.group = sub.group
	}
	if d.msg != nil {
		s.relay.adopt(d.msg)
		s.relay.queuedBytes.Add(d.msg.size())
	}
	return d
}

// dropChunkLocked gives up the first chunk, which is the oldest of what waits.
func (s *Session) dropChunkLocked() {
	c := s.spill.chunks[0]
	s.spill.chunks = s.spill.chunks[1:]
	s.spill.entries -= c.Entries
	s.spill.bytes -= c.Bytes
	s.recordLocked(Change{Kind: Settled, Seq: c.First, Last: c.Last})
	s.letGo(c)
	s.relay.releaseChunk(&c.Chunk)
	s.drop(DropQueueFull, origin{qos: 1}, c.Entries)
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
		entries, err := s.read(old)
		s.mu.Lock()
		if i := slices.Index(s.spill.chunks, old); i >= 0 && !s.ended.Load() && s.recorded.Load() != 0 {
			s.moveChunkLocked(i, entries, err)
		}
		s.mu.Unlock()
	}
	s.commitChunks()
}

func (s *Session) moveChunkLocked(i int, entries []Entry, err error) {
	old := s.spill.chunks[i]
	s.spill.chunks = slices.Delete(s.spill.chunks, i, i+1)
	s.spill.entries -= old.Entries
	s.spill.bytes -= old.Bytes
	var q queue
	for _, d := range s.takeLocked(old, entries, err) {
		s.relay.vacate(d.msg)
		q.push(d)
	}
	s.writeChunkLocked(&q, i)
}

// relieve takes messages that wait for clients who do not read out of memory,
// until that is half empty. One call at a time does it; the others return.
func (r *Relay) relieve() {
	if !r.relieving.CompareAndSwap(false, true) {
		return
	}
	r.loads.Go(func() {
		defer r.relieving.Store(false)
		r.mu.Lock()
		all := make([]*Session, 0, len(r.sessions))
		for _, s := range r.sessions {
			all = append(all, s)
		}
		r.mu.Unlock()
		for _, s := range all {
			if r.queuedBytes.Load() < r.cfg.TotalQueuedBytes/2 {
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
	for at := 0; ; at++ {
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
