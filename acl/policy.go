package acl

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// Policy is an ordered list of rules.
type Policy struct {
	rules    []Rule
	compiled []compiled
	byName   map[anchor][]int32 // rules that only subjects of one name can fit
	rest     []int32            // all others
	files    []source
	user     bool // a filter has %u
	client   bool // a filter has %c

	mu    sync.Mutex
	broad map[string]*extract // those in use for subjects, as far as kept
	own   map[string]*extract
}

// source is a file that a policy was read from.
type source struct {
	name  string
	rules int
}

// compiled is what a rule's text comes to.
type compiled struct {
	who     [selectors]pattern
	filters []*filter
	own     bool // for subjects by their own names, not for a group or listener
}

// anchor is a name that a subject must have.
type anchor struct {
	by   selector
	name string
}

// kept is how many extracts of each kind a policy remembers, so that subjects
// with the same ones share them.
const kept = 1024

// New is the policy of rules, in their order. It keeps copies. Rules without a
// File are numbered by their place in the list.
func New(rules []Rule) (*Policy, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d rules are more than the %d that a policy may have; use groups, globs, %%u and %%c", len(rules), MaxRules)
	}
	p := &Policy{
		rules:    slices.Clone(rules),
		compiled: make([]compiled, len(rules)),
		byName:   map[anchor][]int32{},
		broad:    map[string]*extract{},
		own:      map[string]*extract{},
	}
	var bad Errors
	for i := range p.rules {
		r := &p.rules[i]
		r.Filters = slices.Clone(r.Filters)
		if r.File == "" {
			r.Line = i + 1
		}
		c, err := compile(r)
		if err != nil {
			bad = append(bad, &Error{File: r.File, Line: r.Line, Problem: err.Error()})
			continue
		}
		p.compiled[i] = c
		for _, f := range c.filters {
			p.user, p.client = p.user || f.user, p.client || f.client
		}
		if a, ok := c.anchor(); ok {
			p.byName[a] = append(p.byName[a], int32(i))
		} else {
			p.rest = append(p.rest, int32(i))
		}
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return p, nil
}

// Rules is a copy of the policy's rules.
func (p *Policy) Rules() []Rule { return slices.Clone(p.rules) }

// compile checks a rule and takes it apart.
func compile(r *Rule) (c compiled, err error) {
	for s := range selectors {
		if c.who[s], err = compilePattern(*r.field(s)); err != nil {
			return c, fmt.Errorf("%v=%q %w", s, *r.field(s), err)
		}
	}
	c.own = c.who[byUser].set() && !c.who[byUser].everyName() ||
		c.who[byClient].set() && !c.who[byClient].everyName() ||
		c.who[byCert].set() && !c.who[byCert].everyName()
	switch {
	case r.Action == 0 || r.Action&^All != 0:
		return c, fmt.Errorf("%v is none that there is", r.Action)
	case len(r.Filters) == 0:
		return c, fmt.Errorf("a rule needs a topic filter")
	case len(r.Filters) > MaxFilters:
		return c, fmt.Errorf("%d topic filters are more than the %d that a rule may have", len(r.Filters), MaxFilters)
	}
	for _, text := range r.Filters {
		f, err := compileFilter(text)
		if err != nil {
			return c, fmt.Errorf("%q %w", text, err)
		}
		c.filters = append(c.filters, f)
	}
	return c, nil
}

// anchor is a name without which no subject fits c, if there is one.
func (c *compiled) anchor() (anchor, bool) {
	for _, s := range [...]selector{byUser, byClient, byCert, byGroup} {
		if name, ok := c.who[s].literal(); ok {
			return anchor{s, name}, true
		}
	}
	return anchor{}, false
}

// misfit is the first selector that s does not fit, or selectors if it fits all.
func (c *compiled) misfit(s *Subject) selector {
	for sel := range selectors {
		p := &c.who[sel]
		if sel == byGroup && p.set() {
			if !slices.ContainsFunc(s.Groups, p.fits) {
				return sel
			}
		} else if !p.fits(s.has(sel)) {
			return sel
		}
	}
	return selectors
}

// extract is those of a policy's rules that are for certain subjects.
type extract struct{ publish, subscribe entries }

// Resolve is what s may do. The rights keep the strings of s, and share with
// others what they have in common.
func (p *Policy) Resolve(s Subject) *Rights {
	state := [2]fitness{fit, fit}
	if p.user {
		state[0] = fitnessOf(s.User)
	}
	if p.client {
		state[1] = fitnessOf(s.ClientID)
	}
	var broad, own []int32
	consider := func(rules []int32) {
		for _, i := range rules {
			c := &p.compiled[i]
			switch {
			case c.misfit(&s) != selectors:
			case c.own:
				own = append(own, i)
			default:
				broad = append(broad, i)
			}
		}
	}
	consider(p.rest)
	consider(p.byName[anchor{byUser, s.User}])
	consider(p.byName[anchor{byClient, s.ClientID}])
	consider(p.byName[anchor{byCert, s.CertName}])
	for i, g := range s.Groups {
		if !slices.Contains(s.Groups[:i], g) {
			consider(p.byName[anchor{byGroup, g}])
		}
	}
	return &Rights{
		policy: p,
		broad:  p.extract(p.broad, broad, state),
		own:    p.extract(p.own, own, state),
		names:  names{s.User, s.ClientID},
	}
}

// extract is the rules of the given indices for names in the given state,
// shared with whoever has the same ones.
func (p *Policy) extract(known map[string]*extract, rules []int32, state [2]fitness) *extract {
	slices.Sort(rules)
	key := make([]byte, 0, 2+4*len(rules))
	key = append(key, byte(state[0]), byte(state[1]))
	for _, i := range rules {
		key = binary.NativeEndian.AppendUint32(key, uint32(i))
	}
	p.mu.Lock()
	x := known[string(key)]
	p.mu.Unlock()
	if x != nil {
		return x
	}
	x = &extract{}
	for _, i := range rules {
		for _, f := range p.compiled[i].filters {
			r := &p.rules[i]
			if f = f.reduce(r.Allow, state[0], state[1]); f == nil {
				continue
			}
			if r.Action&Publish != 0 {
				x.publish.add(f, i, r.Allow)
			}
			if r.Action&Subscribe != 0 {
				x.subscribe.add(f, i, r.Allow)
			}
		}
	}
	x.publish.finish()
	x.subscribe.finish()
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := known[string(key)]; other != nil {
		return other
	}
	if len(known) >= kept {
		clear(known)
	}
	known[string(key)] = x
	return x
}
