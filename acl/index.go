package acl

import (
	"math"
	"slices"
	"strings"
)

// never is after every rule.
const never = math.MaxInt32

// entry is one filter of one rule.
type entry struct {
	filter *filter
	rule   int32 // index into the policy's rules
}

// entries is filters in the order of their rules, which never shrinks. It is
// what a few filters are looked up in; many have an index besides.
type entries struct {
	list  []entry
	index *node // nil if list is as fast
	depth int   // levels of the deepest filter of a deny rule
}

// indexed is the number of filters from which an index is worth its memory.
const indexed = 12

func (e *entries) add(f *filter, rule int32, allow bool) {
	e.list = append(e.list, entry{f, rule})
	if !allow {
		e.depth = max(e.depth, len(f.levels))
	}
}

// finish must follow the last add.
func (e *entries) finish() {
	e.list = slices.Clip(e.list)
	if len(e.list) < indexed {
		return
	}
	e.index = newNode()
	for i := range e.list {
		e.index.add(&e.list[i])
	}
}

// first is the first rule that covers topic, or best if none before it does.
func (e *entries) first(topic string, n *names, best int32) int32 {
	if topic == "" {
		return best
	}
	if e.index != nil {
		return e.index.first(topic, n, best, topic[0] == '$')
	}
	for i := range e.list {
		if e.list[i].rule >= best {
			break
		}
		if e.list[i].filter.matches(topic, n) {
			return e.list[i].rule
		}
	}
	return best
}

// node is where filters with the same levels so far have come to. Of the rules
// that end at the same place only the first counts.
type node struct {
	end  int32 // first rule whose filter ends here
	hash int32 // first rule whose filter goes on with #
	min  int32 // first rule here or below

	few   []child          // levels that are text, while they are few
	many  map[string]*node // instead of few
	plus  *node
	names []child // levels with names
}

type child struct {
	level *level
	node  *node
}

// many is the number of children from which a map is faster than a walk.
const many = 8

func newNode() *node { return &node{end: never, hash: never, min: never} }

func (t *node) add(e *entry) {
	t.min = min(t.min, e.rule)
	for i := range e.filter.levels {
		t = t.child(&e.filter.levels[i])
		t.min = min(t.min, e.rule)
	}
	if e.filter.hash {
		t.hash = min(t.hash, e.rule)
	} else {
		t.end = min(t.end, e.rule)
	}
}

// child is the node that l leads to, made if need be.
func (t *node) child(l *level) *node {
	switch {
	case l.plus:
		if t.plus == nil {
			t.plus = newNode()
		}
		return t.plus
	case l.pieces != nil:
		for _, c := range t.names {
			if c.level.text == l.text {
				return c.node
			}
		}
		n := newNode()
		t.names = append(t.names, child{l, n})
		return n
	case t.many != nil:
		n := t.many[l.text]
		if n == nil {
			n = newNode()
			t.many[l.text] = n
		}
		return n
	}
	for _, c := range t.few {
		if c.level.text == l.text {
			return c.node
		}
	}
	n := newNode()
	t.few = append(t.few, child{l, n})
	if len(t.few) > many {
		t.many = make(map[string]*node, len(t.few))
		for _, c := range t.few {
			t.many[c.level.text] = c.node
		}
		t.few = nil
	}
	return n
}

// first is the first rule at t or below that covers the levels of topic, or
// best if none before it does. With plain, + does not cover the first level.
func (t *node) first(topic string, n *names, best int32, plain bool) int32 {
	best = min(best, t.hash)
	if t.min >= best {
		return best
	}
	this, rest, more := strings.Cut(topic, "/")
	if t.many != nil {
		if c := t.many[this]; c != nil {
			best = c.next(rest, more, n, best)
		}
	}
	for i := range t.few {
		if t.few[i].level.text == this {
			best = t.few[i].node.next(rest, more, n, best)
			break
		}
	}
	if t.plus != nil && !plain {
		best = t.plus.next(rest, more, n, best)
	}
	for i := range t.names {
		if t.names[i].node.min < best && t.names[i].level.matches(this, n) {
			best = t.names[i].node.next(rest, more, n, best)
		}
	}
	return best
}

// next is first for the levels that follow the one that led to t, if more do.
func (t *node) next(rest string, more bool, n *names, best int32) int32 {
	switch {
	case t.min >= best:
		return best
	case more:
		return t.first(rest, n, best, false)
	}
	return min(best, t.end, t.hash)
}
