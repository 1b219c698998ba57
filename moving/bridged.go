package moving

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// bridged is a line with topic, taken apart.
type bridged struct {
	*setting
	filter, direction, local, remote string
	qos                              int
}

// topics writes what passes, and the version that this needs.
func (c *conversion) topics(u *uplink, d *doc) {
	var list []*bridged
	for _, s := range u.topics {
		b, problem := parseBridged(s)
		if problem != "" {
			s.says(Impossible, "", problem)
			continue
		}
		s.says(Converted, "bridges", "")
		for _, before := range list {
			if before.passes(b) {
				s.says(Changed, "bridges", fmt.Sprintf("a topic passes by the first entry that fits it, which may be that of line %d", before.Number))
				break
			}
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		u.why = "none of its topics can pass"
		return
	}
	d.set("version", literal(`"`+u.speaks(list)+`"`))
	var topics []*doc
	for _, b := range list {
		t := &doc{}
		t.set("filter", b.filter)
		t.set("direction", b.direction)
		t.set("qos", b.qos)
		if b.local != "" {
			t.set("local_prefix", b.local)
		}
		if b.remote != "" {
			t.set("remote_prefix", b.remote)
		}
		if !u.retain && b.direction != "in" {
			t.set("retain", false)
			if b.direction == "both" {
				b.says(Changed, "bridges", "bridge_outgoing_retain counts for what comes in by this line, too")
			}
		}
		topics = append(topics, t)
	}
	d.set("topics", topics)
}

// passes reports whether some topic could pass by b as well as by o, the same
// way. Where that is not plain it says yes.
func (b *bridged) passes(o *bridged) bool {
	same := func(x, y string) bool {
		a, z := strings.Split(x, "/"), strings.Split(y, "/")
		for i := range min(len(a), len(z)) {
			if a[i] == "#" || z[i] == "#" {
				return true
			}
			if a[i] != z[i] && a[i] != "+" && z[i] != "+" {
				return false
			}
		}
		return len(a) == len(z) || len(a) < len(z) && z[len(a)] == "#" || len(z) < len(a) && a[len(z)] == "#"
	}
	out := b.direction != "in" && o.direction != "in" && same(b.local+b.filter, o.local+o.filter)
	in := b.direction != "out" && o.direction != "out" && same(b.remote+b.filter, o.remote+o.filter)
	return out || in
}

// speaks is the version of MQTT for an uplink: mosquitto's, unless the far side
// would send back what it gets, which only MQTT 5 can keep it from.
func (u *uplink) speaks(list []*bridged) string {
	version := "mqttv311"
	if u.version != nil {
		version = u.version.Value
	}
	returns := ""
	for i, b := range list {
		if b.direction == "both" {
			returns = fmt.Sprintf("line %d is for both ways", b.Number)
		}
		for _, o := range list[:i] {
			x, y := *b, *o
			x.direction, y.direction, x.local, y.local = "out", "out", x.remote, y.remote
			if b.direction != o.direction && x.passes(&y) {
				returns = fmt.Sprintf("what goes out by line %d or %d would come in by the other", o.Number, b.Number)
			}
		}
	}
	say := u.version
	if say == nil {
		say = u.line
	}
	note := ""
	switch {
	case version == "mqttv50":
		u.version.says(Converted, "bridges", "")
		return "5"
	case returns != "":
		note = "MQTT 5 is spoken, which the far side must know (mosquitto does since 1.6): " + returns
	case version == "mqttv31":
		note = "MQTT 3.1.1 is spoken"
	case version != "mqttv311":
		note = "is no version that is known here; MQTT 3.1.1 is spoken"
	}
	if note != "" {
		say.says(Changed, "bridges", also(say.entry.Note, note))
	} else if u.version != nil {
		u.version.says(Converted, "bridges", "")
	}
	if returns != "" {
		return "5"
	}
	return "3.1.1"
}

// parseBridged takes apart: topic PATTERN [out|in|both [QOS [LOCAL [REMOTE]]]].
func parseBridged(s *setting) (b *bridged, problem string) {
	w := s.Words()
	b = &bridged{setting: s, filter: w[0], direction: "out"}
	if len(w) > 1 {
		if b.direction = strings.ToLower(w[1]); b.direction != "out" && b.direction != "in" && b.direction != "both" {
			return nil, "has a direction other than out, in or both; mosquitto does not start with it"
		}
	}
	if len(w) > 2 && w[2][0] != '#' {
		qos, err := strconv.ParseUint(w[2], 10, 8)
		if err != nil || qos > 2 {
			return nil, "has no QoS; mosquitto does not start with it"
		}
		b.qos = int(qos)
		for i, at := range []*string{&b.local, &b.remote} {
			if len(w) <= 3+i || w[3+i][0] == '#' {
				break
			}
			if w[3+i] != `""` {
				*at = w[3+i]
			}
		}
	}
	if b.filter == `""` {
		b.filter = ""
		if !b.single() {
			return nil, "renames one topic to another that ends in nothing the same; use topics whose last level is the same"
		}
	}
	for _, prefix := range []string{b.local, b.remote} {
		switch {
		case strings.HasPrefix(prefix+b.filter, "$"):
			return nil, "topics that begin with $ belong to the broker where they are, and pass by no uplink"
		case strings.ContainsAny(prefix, "+#"), wire.ValidFilter(prefix+b.filter) != nil, wire.ValidFilter(b.filter) != nil:
			return nil, "is no topic filter behind its prefix"
		}
	}
	return b, ""
}

// single makes prefixes and a filter of a single topic that is renamed; false if
// it cannot be.
func (b *bridged) single() bool {
	n := 0
	for n < len(b.local) && n < len(b.remote) && b.local[len(b.local)-1-n] == b.remote[len(b.remote)-1-n] {
		n++
	}
	at := len(b.local) - n
	if i := strings.IndexByte(b.local[at:], '/'); at > 0 && i >= 0 && i < n-1 {
		at += i + 1 // from a level's beginning, for readers
	}
	n = len(b.local) - at
	if n == 0 {
		return false
	}
	b.filter, b.local, b.remote = b.local[at:], b.local[:at], b.remote[:len(b.remote)-n]
	return true
}
