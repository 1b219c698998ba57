package acl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"weak"
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

	none extract // of no rules

	mu     sync.Mutex
	shared map[string]weak.Pointer[extract] // those in use for subjects
}

// source is a file that a policy was read from.
type source struct {
	name  string
	rules int
}

// compiled is what a rule's text comes to.
type compiled struct {
	who     []condition // in the order of their selectors; none for any subject
	filters []*filter
	reach   reach
}

// reach is how many subjects a rule is meant for. Each kind is kept apart, so
// that those with a wide reach are shared by subjects that differ in others.
type reach uint8

const (
	forAll    reach = iota // by listener, or not being nameless
	forGroups              // by group
	forNames               // by names of their own
	reaches
)

// condition is a selector with its pattern.
type condition struct {
	by selector
	pattern
}

// condition is what c asks of its subjects by s, or nil.
func (c *compiled) condition(s selector) *condition {
	for i := range c.who {
		if c.who[i].by == s {
			return &c.who[i]
		}
	}
	return nil
}

// anchor is a name that a subject must have.
type anchor struct {
	by   selector
	name string
}

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
		shared:   map[string]weak.Pointer[extract]{},
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

// Size is how many rules there are. Nil has none.
func (p *Policy) Size() int {
	if p == nil {
		return 0
	}
	return len(p.rules)
}

// compile checks a rule and takes it apart.
func compile(r *Rule) (compiled, error) {
	var c compiled
	for s := range selectors {
		text := *r.field(s)
		if text == "" {
			continue
		}
		p, err := compilePattern(text)
		if err != nil {
			return c, fmt.Errorf("%v=%q %w", s, text, err)
		}
		c.who = append(c.who, condition{s, p})
		switch {
		case s == byGroup:
			c.reach = max(c.reach, forGroups)
		case s != byListener && !p.everyName():
			c.reach = forNames
		}
	}
	c.who = slices.Clip(c.who)
	switch {
	case r.Action == 0 || r.Action&^All != 0:
		return c, fmt.Errorf("%v is none that there is", r.Action)
	case len(r.Filters) == 0:
		return c, errors.New("a rule needs a topic filter")
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
		if w := c.condition(s); w != nil && w.literal() {
			return anchor{s, w.flat}, true
		}
	}
	return anchor{}, false
}

// misfit is the first selector that s does not fit, or selectors if it fits all.
func (c *compiled) misfit(s *Subject) selector {
	for i := range c.who {
		w := &c.who[i]
		if w.by == byGroup {
			if !slices.ContainsFunc(s.Groups, w.fits) {
				return w.by
			}
		} else if !w.fits(s.has(w.by)) {
			return w.by
		}
	}
	return selectors
}

// extract is those of a policy's rules that are for certain subjects. It does
// not change.
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
	var mine [reaches][]int32
	for _, i := range p.fitting(&s) {
		mine[p.compiled[i].reach] = append(mine[p.compiled[i].reach], i)
	}
	r := &Rights{policy: p, names: names{s.User, s.ClientID}}
	for i, rules := range mine {
		switch {
		case len(rules) == 0:
			r.parts[i] = &p.none
		case reach(i) == forNames && len(rules) < indexed: // sharing would cost more than it saves
			r.parts[i] = p.extract(rules, state)
		default:
			r.parts[i] = p.share(rules, state)
		}
	}
	return r
}

// share is the extract of the given rules, which are in order, for names in the given state, the
// same one for all who ask for it at a time.
func (p *Policy) share(rules []int32, state [2]fitness) *extract {
	b := make([]byte, 0, 2+4*len(rules))
	b = append(b, byte(state[0]), byte(state[1]))
	for _, i := range rules {
		b = binary.NativeEndian.AppendUint32(b, uint32(i))
	}
	p.mu.Lock()
	x := p.shared[string(b)].Value()
	p.mu.Unlock()
	if x != nil {
		return x
	}
	x = p.extract(rules, state)
	key := string(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.shared[key].Value(); other != nil {
		return other
	}
	p.shared[key] = weak.Make(x)
	runtime.AddCleanup(x, p.forget, key)
	return x
}

// forget takes out what nobody uses any more, unless it has been made again.
func (p *Policy) forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared[key].Value() == nil {
		delete(p.shared, key)
	}
}

// extract is the given rules, which are in order, for names in the given state.
func (p *Policy) extract(rules []int32, state [2]fitness) *extract {
	x := &extract{}
	for _, i := range rules {
		r := &p.rules[i]
		for _, f := range p.compiled[i].filters {
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
	if slices.Equal(x.publish.list, x.subscribe.list) {
		x.subscribe = x.publish
	} else {
		x.subscribe.finish()
	}
	return x
}
