package relay

// keep makes sure that m's body is in the store, for one more holder. Call it
// only if there is a store.
func (r *Relay) keep(m *Message) {
	for n := m.holders.Load(); n > 0; n = m.holders.Load() {
		if m.holders.CompareAndSwap(n, n+1) {
			return
		}
	}
	r.bodies.Lock()
	defer r.bodies.Unlock()
	if m.ref.Load() == 0 {
		r.recordBodyLocked(m)
	}
	m.holders.Add(1)
}

func (r *Relay) recordBodyLocked(m *Message) {
	ref := r.store.Record(Change{Kind: Body, Message: m})
	r.store.Hold(ref, m.stored())
	m.ref.Store(uint64(ref))
}

// unkeep gives up one holder's claim on m's body.
func (r *Relay) unkeep(m *Message) {
	if m.holders.Add(-1) > 0 {
		return
	}
	r.bodies.Lock()
	defer r.bodies.Unlock()
	if ref := m.ref.Load(); m.holders.Load() == 0 && ref != 0 {
		m.ref.Store(0)
		r.store.Release(Ref(ref), m.stored())
	}
}

// vacate records m's body anew if the store wants to give up the place where
// it lies. The caller is one of m's holders, and stays so meanwhile.
func (r *Relay) vacate(m *Message) Ref {
	r.bodies.Lock()
	defer r.bodies.Unlock()
	if ref := Ref(m.ref.Load()); r.store.Vacate(ref) {
		r.recordBodyLocked(m)
		r.store.Record(Change{Kind: Moved, Ref: ref, To: Ref(m.ref.Load())})
		r.store.Release(ref, m.stored())
	}
	return Ref(m.ref.Load())
}

// stored is about how many bytes m's body takes in the store.
func (m *Message) stored() int { return len(m.Topic) + len(m.Payload) + len(m.Props) + 64 }

// recordRetained records that m takes the place of old as its topic's retained
// message, if that matters to the store.
func (r *Relay) recordRetained(m, old *Message) {
	if len(m.Payload) == 0 || m.level == Memory {
		if m.level > Memory || old != nil && old.retained.Load() {
			r.store.Record(Change{Kind: Retained, Topic: m.Topic})
		}
		return
	}
	r.keep(m)
	m.retained.Store(true)
	r.bodies.RLock()
	defer r.bodies.RUnlock()
	r.store.Record(Change{Kind: Retained, Topic: m.Topic, Ref: Ref(m.ref.Load())})
}

// replaced gives up the body of a message that is no longer retained.
func (r *Relay) replaced(m *Message) {
	if m.retained.CompareAndSwap(true, false) {
		r.unkeep(m)
	}
}
