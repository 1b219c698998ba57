package appliance

import (
	"time"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/hooks"
)

// door is what somebody must have come by who is let in at a listener. It is
// checked as they come; and again before they get their session, since they may
// have begun to come while something else counted.
type door struct {
	versions []MQTTVersion // that may be spoken; empty: any
	certs    *certs.Source // nil without TLS
}

// doors are those of all listeners, by name.
type doors struct {
	of map[string]door
	// since is from when on connections have come by no others. The zero time:
	// not yet.
	since time.Time
}

// doorsOf are those of endpoints, by which all have come who are accepted from
// since on.
func doorsOf(list []*endpoint, since time.Time) *doors {
	d := &doors{make(map[string]door, len(list)), since}
	for _, e := range list {
		d.of[e.cfg.Name] = door{e.cfg.MQTTVersions, e.certs}
	}
	return d
}

// stands reports whether a client that has been let in has come by the door
// that its listener has now. Of a listener that is gone all are disconnected
// anyway.
func (b *Broker) stands(m hooks.Member) bool {
	all := b.doors.Load()
	d, ok := all.of[m.Subject.Listener]
	switch {
	case !ok:
		return true
	case !allows(d.versions, m.Version):
		return false
	case d.certs == nil, !all.since.IsZero() && m.Accepted.After(all.since) && m.Accepted.After(d.certs.Since()):
		return true
	}
	return d.certs.Disowned(m.Certificates) == nil
}
