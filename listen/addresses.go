package listen

import (
	"net/netip"
	"time"
)

// addresses counts what comes from each peer.Network. Unix sockets have none. The
// gate's mu guards it.
type addresses struct {
	open  map[netip.Prefix]int // connections; only those above 0
	paces map[netip.Prefix]arrivals
}

// arrivals is a bucket that holds a second's worth of connections.
type arrivals struct {
	left float64 // that may come at once
	at   time.Time
}

// maxPaces bounds the addresses whose rate is known. With more of them at once,
// which only an attacker with very many addresses has, those that have been
// quiet for a second, and then any, are forgotten: Limits.MaxUnauthenticated
// and MaxConnections still count.
const maxPaces = 4096

// refuses is the word for why a connection from p is turned away, "" if it is
// not.
func (s *addresses) refuses(p netip.Prefix, l *Limits, now time.Time) string {
	switch {
	case !p.IsValid():
	case l.MaxPerAddress > 0 && s.open[p] >= l.MaxPerAddress:
		return RefusedMaxPerAddress
	case l.ConnectRate > 0 && !s.arrive(p, float64(l.ConnectRate), now):
		return RefusedConnectRate
	}
	return ""
}

// arrive reports whether a connection from p keeps to the rate, in connections
// per second.
func (s *addresses) arrive(p netip.Prefix, rate float64, now time.Time) bool {
	b, known := s.paces[p]
	if !known {
		s.makeRoom(now)
		b = arrivals{left: rate, at: now}
	}
	b.left = min(rate, b.left+now.Sub(b.at).Seconds()*rate)
	b.at = now
	fits := b.left >= 1
	if fits {
		b.left--
	}
	if s.paces == nil {
		s.paces = make(map[netip.Prefix]arrivals)
	}
	s.paces[p] = b
	return fits
}

func (s *addresses) makeRoom(now time.Time) {
	if len(s.paces) < maxPaces {
		return
	}
	for p, b := range s.paces {
		if now.Sub(b.at) >= time.Second {
			delete(s.paces, p)
		}
	}
	for p := range s.paces {
		if len(s.paces) < maxPaces {
			return
		}
		delete(s.paces, p)
	}
}

func (s *addresses) opened(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	if s.open == nil {
		s.open = make(map[netip.Prefix]int)
	}
	s.open[p]++
}

func (s *addresses) closed(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	if s.open[p]--; s.open[p] <= 0 {
		delete(s.open, p)
	}
}
