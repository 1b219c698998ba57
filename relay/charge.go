package relay

// What is queued is charged to each session in full, so that none holds more than
// its limits say, and so is the sum of all, Relay.queuedBytes. But the body of a
// large message is referenced where it is sent, not copied, and lies in memory once
// however many queues hold it: Relay.heldAgain is what that sum has too much.

// share sees to it that the body of m, which nobody holds yet, is charged once if
// it is large. For a small one that would cost more than it could save.
func (r *Relay) share(m *Message) {
	if len(m.Payload) >= sharedBodyMin && m.again == nil {
		m.again = &r.heldAgain
	}
}

// hold notes that n queues more hold m, or fewer.
func (m *Message) hold(n int) {
	if m.again == nil {
		return
	}
	after := m.copies.Add(int32(n))
	if more := max(after, 1) - max(after-int32(n), 1); more != 0 {
		m.again.Add(int64(more) * int64(len(m.Payload)))
	}
}

// queued is how many bytes wait in memory, for all sessions together.
func (r *Relay) queued() int64 {
	return max(0, r.queuedBytes.Load()-r.heldAgain.Load())
}

// queuedWith is what queued would become if one session more held m.
func (r *Relay) queuedWith(m *Message) int64 {
	n := r.queued() + m.size()
	if m.again != nil && m.copies.Load() > 0 {
		n -= int64(len(m.Payload))
	}
	return n
}
