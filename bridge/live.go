package bridge

import "fmt"

// Live makes an uplink the way for the live messages of another one of the same
// New, by a session and a connection of its own: what is published while it is
// connected and keeps up goes by it, and the rest by the other one, in order.
// Retained messages that pass as such go by the other one always. It takes nothing
// in, and has none of the rules to itself.
type Live struct {
	Of       string // Config.Name of the other one, which is no Live
	Messages int    // that may wait here; beyond them what comes goes by the other one until none do
	Bytes    int64  // their size in the same way; a single one may be larger
}

// pairUp tells uplinks by which their live messages go.
func pairUp(list []*Uplink) error {
	for _, u := range list {
		if u.cfg.Live == nil {
			continue
		}
		var of *Uplink
		for _, other := range list {
			if other.cfg.Name == u.cfg.Live.Of && other.cfg.Live == nil && other.near.live == nil {
				of = other
			}
		}
		if of == nil {
			return fmt.Errorf("uplink %q: there is no uplink %q whose live messages could go by it", u.cfg.Name, u.cfg.Live.Of)
		}
		of.near.live, of.near.bounds = &u.near, *u.cfg.Live
	}
	return nil
}
