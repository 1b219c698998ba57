package bridge

import (
	"slices"

	"github.com/synthetism/edgebroker/relay"
)

// drains reports whether some rule says how messages wait.
func (rs Rules) drains() bool {
	return slices.ContainsFunc(rs, func(r Rule) bool { return r.TTL > 0 || r.Latest || r.Elsewhere || r.Kept })
}

// drain is how messages of the i-th rule wait; nil if none of the rules says. Its
// rank makes the first rule that fits a topic count here, too.
func (rs Rules) drain(i int) *relay.Drain {
	if !rs.drains() {
		return nil
	}
	return &relay.Drain{Rank: i + 1, TTL: rs[i].TTL, Latest: rs[i].Latest, Never: rs[i].Elsewhere, Kept: rs[i].Kept}
}
