package acl

import "slices"

// Comparison tells for which subjects two policies are the same. It holds a
// number for each rule; subjects may be many. It never changes.
type Comparison struct {
	p, q         *Policy
	mine, theirs []int32 // of each rule of p and q, what it says: the same number for the same text
	same         bool    // p and q are, from the first rule to the last
}

// Compare compares p and q. A nil Policy allows everything.
func Compare(p, q *Policy) *Comparison {
	c := &Comparison{p: p, q: q}
	if p == nil || q == nil {
		c.same = p == q
		return c
	}
	numbers := make(map[string]int32, len(p.rules))
	number := func(rules []Rule) []int32 {
		list := make([]int32, len(rules))
		for i := range rules {
			text := rules[i].String()
			n, ok := numbers[text]
			if !ok {
				n = int32(len(numbers))
				numbers[text] = n
			}
			list[i] = n
		}
		return list
	}
	c.mine, c.theirs = number(p.rules), number(q.rules)
	c.same = slices.Equal(c.mine, c.theirs)
	return c
}

// Agree reports whether those rules of both policies that fit s are the same, in
// the same order, so that s may do the same by both. If they are not, that may
// still be so.
func (c *Comparison) Agree(s Subject) bool {
	if c.same || c.p == nil || c.q == nil {
		return c.same
	}
	return slices.EqualFunc(c.p.fitting(&s), c.q.fitting(&s), func(i, j int32) bool { return c.mine[i] == c.theirs[j] })
}

// fitting are the numbers of the rules that fit s, in order.
func (p *Policy) fitting(s *Subject) []int32 {
	var list []int32
	consider := func(rules []int32) {
		for _, i := range rules {
			if p.compiled[i].misfit(s) == selectors {
				list = append(list, i)
			}
		}
	}
	consider(p.rest)
	consider(p.byName[anchor{byUser, s.User}])
	consider(p.byName[anchor{byClient, s.ClientID}])
	consider(p.byName[anchor{byCert, s.CertName}])
	for _, g := range s.Groups {
		consider(p.byName[anchor{byGroup, g}])
	}
	slices.Sort(list)
	return slices.Compact(list) // a group may be named twice
}
