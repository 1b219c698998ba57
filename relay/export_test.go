package relay

// Hang takes what everybody who publishes waits for, until release.
func (r *Relay) Hang() (release func()) {
	r.subs.mu.Lock()
	return r.subs.mu.Unlock
}
