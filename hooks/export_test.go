package hooks

import "time"

// SetClock has h go by another clock. Call it before there are connections.
func (h *Sessions) SetClock(now func() time.Time) { h.now = now }
