package acl

import (
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// Rights is what one subject may do. The zero Rights may do nothing.
type Rights struct {
	policy *Policy // nil in the zero Rights
	parts  [reaches]*extract
	names  names
}

// Verdict is the answer to a question, and its reason.
type Verdict struct {
	Allow bool
	Rule  *Rule // the rule that decided, not to be changed; nil if none fits
}

// String is the verdict for people.
func (v Verdict) String() string {
	switch {
	case v.Rule == nil:
		return "denied by default: no rule fits"
	case v.Allow:
		return "allowed by " + v.Rule.Where() + ": " + v.Rule.String()
	}
	return "denied by " + v.Rule.Where() + ": " + v.Rule.String()
}

// Publish decides whether the subject may publish on topic, which must be a
// valid topic name. It does not allocate.
func (r *Rights) Publish(topic string) Verdict {
	if r.policy == nil {
		return Verdict{}
	}
	best := int32(never)
	for _, x := range r.parts {
		best = x.publish.first(topic, &r.names, best)
	}
	return r.verdict(best)
}

// Receive decides whether the subject may be sent a message on topic, which
// must be a valid topic name. It does not allocate.
func (r *Rights) Receive(topic string) Verdict {
	if r.policy == nil {
		return Verdict{}
	}
	best := int32(never)
	for _, x := range r.parts {
		best = x.subscribe.first(topic, &r.names, best)
	}
	return r.verdict(best)
}

func (r *Rights) verdict(rule int32) Verdict {
	if rule == never {
		return Verdict{}
	}
	d := &r.policy.rules[rule]
	return Verdict{d.Allow, d}
}

// tries is how many topics Subscribe asks Receive about.
const tries = 1000

// Subscribe decides whether filter, which may be a shared one, is worth
// subscribing to: it is denied if and only if Receive denies every topic that
// filter covers. Messages still have to pass Receive one by one. To find out
// costs as much as a call of Receive for each rule that might allow something;
// after a thousand that do not the answer is to allow, so that subscriptions
// which ask for the costliest cannot keep the broker busy. The verdict names a
// rule that allows one of the topics or, if it is deny, the rule that denies a
// topic which filter covers and no rule spells out. An invalid filter is denied.
func (r *Rights) Subscribe(filter string) Verdict {
	if r.policy == nil || wire.ValidFilter(filter) != nil {
		return Verdict{}
	}
	_, filter, _ = wire.SplitShare(filter)
	if !strings.ContainsAny(filter, "+#") {
		return r.Receive(filter)
	}
	levels, hash := splitFilter(filter)
	left := tries
	depth := 0
	for _, x := range r.parts {
		depth = max(depth, x.subscribe.depth)
	}
	for _, x := range r.parts {
		e := &x.subscribe
		for i := range e.list {
			if !r.policy.rules[e.list[i].rule].Allow {
				continue
			}
			topic, n, open := overlap(levels, hash, e.list[i].filter, &r.names)
			if n == 0 {
				continue
			}
			// Of all topics of n levels in the overlap this is the one that
			// the fewest rules cover. Beyond depth further levels make no
			// difference to any deny rule.
			for {
				v := r.Receive(topic)
				if v.Allow {
					return v
				}
				if left--; left == 0 {
					return r.verdict(e.list[i].rule)
				}
				if !open || n > depth {
					break
				}
				topic, n = topic+"/"+fresh, n+1
			}
		}
	}
	topic := strings.ReplaceAll(strings.Join(levels, "/"), "+", fresh)
	if topic == "" { // of /#
		topic = "/" + fresh
	}
	return r.Receive(topic)
}

// fresh is a level that no filter spells out: U+0000 is allowed in none.
const fresh = "\x00"

// splitFilter is the levels of a valid filter before #, + as it is. Levels
// that no rule looks at are left off.
func splitFilter(filter string) (levels []string, hash bool) {
	levels = strings.SplitN(filter, "/", MaxLevels+3)
	if len(levels) == MaxLevels+3 {
		return levels[:MaxLevels+2], false
	}
	if n := len(levels) - 1; levels[n] == "#" {
		levels, hash = levels[:n], true
	}
	if len(levels) == 0 {
		levels = []string{"+"}
	}
	return levels, hash
}

// overlap is a topic that both the filter of levels and g cover, in which
// every level that is free to be anything is fresh; its number of levels, 0 if
// there is no such topic; and whether it may be followed by any more levels.
func overlap(levels []string, hash bool, g *filter, n *names) (topic string, count int, open bool) {
	if g.everything {
		g = &filter{hash: true}
	} else if levels[0] == "+" && strings.HasPrefix(g.levels[0].text, "$") || g.wildFirst() && strings.HasPrefix(levels[0], "$") {
		return "", 0, false
	}
	count = max(len(levels), len(g.levels))
	if len(levels) < count && !hash || len(g.levels) < count && !g.hash {
		return "", 0, false
	}
	for i := range min(len(levels), len(g.levels)) {
		if levels[i] != "+" && !g.levels[i].matches(levels[i], n) {
			return "", 0, false
		}
	}
	var b strings.Builder
	for i := range count {
		if i > 0 {
			b.WriteByte('/')
		}
		switch {
		case i < len(levels) && levels[i] != "+":
			b.WriteString(levels[i])
		case i < len(g.levels) && !g.levels[i].plus:
			b.WriteString(g.levels[i].expand(n))
		default:
			b.WriteString(fresh)
		}
	}
	open = hash && g.hash
	if topic = b.String(); topic == "" { // of /#, which is one level longer than a topic of no characters
		if !open {
			return "", 0, false
		}
		return "/" + fresh, 2, true
	}
	return topic, count, open
}
