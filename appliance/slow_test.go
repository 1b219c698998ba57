package appliance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
)

// TestSlowWatch: a client becomes slow once, and recovers when it has been good
// for a while; what lies between is neither.
func TestSlowWatch(t *testing.T) {
	const s = time.Second
	gone := time.Duration(-1)
	for name, c := range map[string]struct {
		waited []time.Duration // each second; gone: it is not connected
		want   string          // what is told, with the second
	}{
		"never slow":              {[]time.Duration{0, s, 4 * s, 0, 4 * s}, ""},
		"slow":                    {[]time.Duration{0, 5 * s, 6 * s, 7 * s}, "1 slow"},
		"recovers":                {[]time.Duration{5 * s, 6 * s, 0, 0, 0, 0, 0, 0, 0, 0}, "0 slow, 7 recovered"},
		"recovers with a little":  {[]time.Duration{5 * s, s, s, s, s, s, s, s}, "0 slow, 6 recovered"},
		"not quite good":          {[]time.Duration{5 * s, 0, 0, 0, 3 * s, 0, 0, 0, 0, 0, 0}, "0 slow, 10 recovered"},
		"to and fro":              {[]time.Duration{5 * s, 0, 5 * s, 0, 5 * s, 0, 5 * s, 0, 5 * s}, "0 slow"},
		"slow again":              {[]time.Duration{5 * s, 0, 0, 0, 0, 0, 0, 6 * s}, "0 slow, 6 recovered, 7 slow"},
		"leaves":                  {[]time.Duration{5 * s, gone, gone, 0, 0, 0, 0, 0, 0}, "0 slow"},
		"leaves and is slow then": {[]time.Duration{5 * s, gone, 5 * s}, "0 slow, 2 slow"},
	} {
		var w slowWatch
		var got []string
		now := time.Unix(0, 0)
		for i, d := range c.waited {
			var lags []lagging
			if d > 0 {
				lags = []lagging{{relay.Lag{ClientID: "c"}, d}}
			}
			for _, e := range w.look(now, lags, func(string) bool { return d != gone }) {
				got = append(got, fmt.Sprint(i, " ", e.State))
			}
			now = now.Add(s)
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s: told %q; want %q", name, g, c.want)
		}
	}
}
