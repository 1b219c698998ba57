package acl

import (
	"fmt"
	"slices"
	"strings"
)

// Finding is something about a policy that is allowed but hardly meant.
type Finding struct {
	File string // empty for rules given in code
	Line int    // 0: the whole file, or the whole policy
	Text string // what, and how to mend it
}

func (f Finding) String() string {
	switch {
	case f.File == "" && f.Line == 0:
		return f.Text
	case f.File == "":
		return fmt.Sprintf("rule %d: %s", f.Line, f.Text)
	case f.Line == 0:
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// patience is how many pairs of rules Lint compares, well below a second's work.
const patience = 5_000_000

// Lint looks through the policy for what can hardly be meant. Each finding is
// certain; not every mistake is found.
func (p *Policy) Lint() []Finding {
	var found []Finding
	if len(p.rules) == 0 && len(p.files) == 0 {
		found = append(found, Finding{Text: "there are no access rules, so everything is denied; allow something"})
	}
	for _, f := range p.files {
		switch {
		case f.rules > 0:
		case len(p.rules) == 0:
			found = append(found, Finding{File: f.name, Text: "has no rules, so everything is denied; add a rule that allows something"})
		default:
			found = append(found, Finding{File: f.name, Text: "has no rules"})
		}
	}
	left := patience
	for i := range p.rules {
		r, c := &p.rules[i], &p.compiled[i]
		add := func(format string, args ...any) {
			found = append(found, Finding{r.File, r.Line, fmt.Sprintf(format, args...)})
		}
		if r.Allow && len(c.who) == 0 && slices.ContainsFunc(c.filters, (*filter).coversMost) {
			add("lets every client %s; name who may, or narrow the topics", openly(r.Action))
		}
		if r.Allow && c.onlyClient() {
			add("trusts the client id alone, which each client chooses for itself; add user=, group= or cert=")
		}
		by := p.shadow(i, &left)
		if left < 0 {
			add("is as far as rules that never decide were looked for; there are too many")
			break
		}
		if len(by) > 0 {
			var where []string
			for _, e := range by {
				where = append(where, p.rules[e].Where())
			}
			add("never decides, because of %s; move it up, or take it out", strings.Join(where, " and "))
		}
	}
	return found
}

func openly(a Action) string {
	switch a {
	case Publish:
		return "publish on every topic that does not begin with $"
	case Subscribe:
		return "read every topic that does not begin with $"
	}
	return "publish on and read every topic that does not begin with $"
}

// onlyClient says that of what a subject has proven to be, c asks nothing.
func (c *compiled) onlyClient() bool {
	w := c.condition(byClient)
	return w != nil && !w.everyName() && c.condition(byUser) == nil && c.condition(byGroup) == nil && c.condition(byCert) == nil
}

// coversMost says that f is #, or as good as that.
func (f *filter) coversMost() bool { return f.hash && len(f.levels) == 1 && f.levels[0].plus }

// shadow is the earlier rules, in order, because of which rule i never
// decides, empty unless it is certain. It takes from left what it cost.
func (p *Policy) shadow(i int, left *int) []int32 {
	c := &p.compiled[i]
	var before []int32
	look := func(rules []int32) {
		for _, e := range rules {
			if e >= int32(i) || *left < 0 {
				break
			}
			*left--
			if p.compiled[e].wider(c) {
				before = append(before, e)
			}
		}
	}
	look(p.rest)
	for _, s := range [...]selector{byUser, byClient, byCert, byGroup} {
		if w := c.condition(s); w != nil && w.literal() {
			look(p.byName[anchor{s, w.flat}])
		}
	}
	slices.Sort(before)
	var by []int32
	for _, f := range c.filters {
		for _, a := range [...]Action{Publish, Subscribe} {
			if p.rules[i].Action&a == 0 {
				continue
			}
			at := slices.IndexFunc(before, func(e int32) bool {
				*left -= len(p.compiled[e].filters)
				return p.rules[e].Action&a != 0 && p.coversAlways(e, int32(i), f)
			})
			if at < 0 {
				return nil
			}
			if !slices.Contains(by, before[at]) {
				by = append(by, before[at])
			}
		}
	}
	slices.Sort(by)
	return by
}

// wider reports whether every subject that d is for, c is for too.
func (c *compiled) wider(d *compiled) bool {
	for i := range c.who {
		if w := d.condition(c.who[i].by); w == nil || !c.who[i].covers(&w.pattern) {
			return false
		}
	}
	return true
}

// coversAlways reports whether, whatever names there are, one filter of rule e
// covers what f of rule i comes to.
func (p *Policy) coversAlways(e, i int32, f *filter) bool {
	states := [...]fitness{fit, unfit, absent}
	for _, user := range states {
		for _, client := range states {
			if user != fit && !p.user || client != fit && !p.client {
				continue
			}
			g := f.reduce(p.rules[i].Allow, user, client)
			if g != nil && !slices.ContainsFunc(p.compiled[e].filters, func(w *filter) bool {
				w = w.reduce(p.rules[e].Allow, user, client)
				return w != nil && w.covers(g)
			}) {
				return false
			}
		}
	}
	return true
}
