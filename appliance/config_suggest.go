package appliance

import (
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// didYouMean is advice for somebody who wrote got where one of known belongs:
// the one that looks like it or, introduced by list, all of them.
func didYouMean(got string, known []string, list string) string {
	if best := closest(got, known); best != "" {
		return "did you mean " + best + "?"
	}
	if n := len(known); n > 1 {
		return list + strings.Join(known[:n-1], ", ") + " or " + known[n-1]
	}
	return list + strings.Join(known, "")
}

// closest is the word of known that is most like got, or empty if none is
// like it. Case, dashes and underscores make no difference.
func closest(got string, known []string) string {
	if len(got) > 64 { // no word of ours is near, and the comparison is quadratic
		return ""
	}
	plain := strings.NewReplacer("-", "", "_", "", " ", "")
	norm := func(s string) string { return plain.Replace(strings.ToLower(s)) }
	best, least := "", 0
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := smetrics.WagnerFischer(norm(got), norm(k), 1, 1, 1)
		if d <= max(1, len(k)/4) && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}
