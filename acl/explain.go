package acl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// Explanation is a verdict with what led to it, for people.
type Explanation struct {
	Verdict Verdict
	Passed  []Passed // rules that did not decide: those before the one that did, or all
}

// Passed is a rule that did not decide, and why.
type Passed struct {
	Rule   *Rule // not to be changed
	Reason string
}

// String is one line for each rule that was passed over, and one for the verdict.
func (e Explanation) String() string {
	var b strings.Builder
	for _, p := range e.Passed {
		fmt.Fprintf(&b, "%s: %s\n\t%s\n", p.Rule.Where(), p.Rule, p.Reason)
	}
	b.WriteString(e.Verdict.String())
	return b.String()
}

// Explain is the verdict on s publishing on a topic, or on its being sent one,
// or, if topic holds wildcards or is a shared subscription, on its subscribing
// to that filter. It is as slow as the policy is long.
func (p *Policy) Explain(s Subject, action Action, topic string) (Explanation, error) {
	var x Explanation
	rights := p.Resolve(s)
	switch action {
	case Publish:
		if err := wire.ValidTopicString(topic); err != nil {
			return x, fmt.Errorf("explain publish on %s: %w", inWords(topic), err)
		}
		x.Verdict = rights.Publish(topic)
	case Subscribe:
		if err := wire.ValidFilter(topic); err != nil {
			return x, fmt.Errorf("explain subscribe to %s: %w", inWords(topic), err)
		}
		x.Verdict = rights.Subscribe(topic)
	default:
		return x, fmt.Errorf("explain %v: ask about publish or subscribe", action)
	}
	_, topic, _ = wire.SplitShare(topic)
	for i := range p.rules {
		r := &p.rules[i]
		if r == x.Verdict.Rule {
			break
		}
		x.Passed = append(x.Passed, Passed{r, p.whyNot(i, &s, action, topic)})
	}
	return x, nil
}

// whyNot is why rule i did not decide about topic, which may be a filter.
func (p *Policy) whyNot(i int, s *Subject, action Action, topic string) string {
	r, c := &p.rules[i], &p.compiled[i]
	if sel := c.misfit(s); sel != selectors {
		return fmt.Sprintf("is for %v=%s; this client %s", sel, quote(*r.field(sel)), has(s, sel))
	}
	if r.Action&action == 0 {
		return fmt.Sprintf("is about %v, not %v", r.Action, action)
	}
	user, client := fitnessOf(s.User), fitnessOf(s.ClientID)
	n := names{s.User, s.ClientID}
	levels, hash := splitFilter(topic)
	var without []string
	for _, f := range c.filters {
		g := f.reduce(r.Allow, user, client)
		if g == nil {
			if f.user && user != fit {
				without = append(without, missing("%u", "user name", user))
			}
			if f.client && client != fit {
				without = append(without, missing("%c", "client id", client))
			}
			continue
		}
		if _, count, _ := overlap(levels, hash, g, &n); count > 0 {
			return "covers only some of the topics"
		}
	}
	slices.Sort(without)
	if without = slices.Compact(without); len(without) > 0 {
		return strings.Join(without, ", ")
	}
	return "no filter of it covers this topic"
}

func missing(sign, what string, state fitness) string {
	if state == absent {
		return fmt.Sprintf("has %s, and this client has no %s", sign, what)
	}
	return fmt.Sprintf("has %s, and this client's %s begins with $ or holds +, # or /", sign, what)
}

// has says what s has where sel looks. Names are the client's own choice, so
// they are quoted in a way that a terminal can be shown.
func has(s *Subject, sel selector) string {
	if sel == byGroup {
		if len(s.Groups) == 0 {
			return "is in no group"
		}
		var groups []string
		for _, g := range s.Groups {
			groups = append(groups, inWords(g))
		}
		return "is in " + strings.Join(groups, ", ")
	}
	if s.has(sel) == "" {
		return "has none"
	}
	return "has " + inWords(s.has(sel))
}
