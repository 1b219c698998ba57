package acl

import "slices"

// Agree reports whether those rules of p and q that fit s are the same, in the
// same order, so that s may do the same by both. If they are not, that may
// still be so. A nil Policy allows everything.
func Agree(p, q *Policy, s Subject) bool {
	if p == nil || q == nil {
		return p == q
	}
	mine, theirs := p.fitting(&s), q.fitting(&s)
	return slices.EqualFunc(mine, theirs, func(i, j int32) bool { return p.rules[i].String() == q.rules[j].String() })
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
