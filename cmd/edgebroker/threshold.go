package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// threshold is a range of good values as monitoring plugins write it: "10" is 0
// to 10, "10:" is 10 and more, "~:10" is 10 and less, "10:20" is what it says,
// and "@10:20" is everything else. The zero threshold is "", by which all is
// good.
type threshold struct {
	text     string
	low      float64
	high     float64
	inverted bool
}

func parseThreshold(text string) (threshold, error) {
	t := threshold{text: text, high: math.Inf(1)}
	bad := fmt.Errorf("%q is no range; write 10 (0 to 10), 10: (at least 10), ~:10 (at most 10), 10:20 or @10:20 (not between)", text)
	rest, inverted := strings.CutPrefix(text, "@")
	t.inverted = inverted
	low, high, ranged := strings.Cut(rest, ":")
	if !ranged {
		low, high = "0", rest
		if high == "" {
			return t, bad
		}
	}
	number := func(s string) (float64, bool) {
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	var ok bool
	switch {
	case low == "~":
		t.low = math.Inf(-1)
	case low == "":
		return t, bad
	default:
		if t.low, ok = number(low); !ok {
			return t, bad
		}
	}
	if high != "" {
		if t.high, ok = number(high); !ok {
			return t, bad
		}
	}
	if t.low > t.high {
		return t, bad
	}
	return t, nil
}

// good reports whether v is as it should be.
func (t threshold) good(v float64) bool {
	return t.text == "" || (v >= t.low && v <= t.high) != t.inverted
}

// thresholds are those of one value.
type thresholds struct{ warning, critical threshold }

// parseThresholds reads "WARNING,CRITICAL", of which one may be empty.
func parseThresholds(text string) (out thresholds, err error) {
	warning, critical, _ := strings.Cut(text, ",")
	if warning != "" {
		if out.warning, err = parseThreshold(warning); err != nil {
			return out, err
		}
	}
	if critical != "" {
		out.critical, err = parseThreshold(critical)
	}
	return out, err
}
