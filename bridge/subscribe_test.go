package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// A far side that takes eight filters in a SUBSCRIBE gets no more at once, and
// all of them.
func TestFiltersAtOnce(t *testing.T) {
	inBoth(t, func(t *testing.T, v wire.Version) {
		r := newRig(t, func(c *Config) {
			c.Version, c.Rules = v, nil
			for i := range 20 {
				c.Rules = append(c.Rules, Rule{Direction: In, Filter: fmt.Sprint(i%19, "/#"), QoS: 1})
			}
		})
		r.latency = 100 * time.Millisecond
		asked := make(map[string]int)
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.SUBSCRIBE {
				s, _ := wire.DecodeSubscribe(f, v)
				for _, f := range s.Filters {
					asked[f.Filter]++
				}
				if len(s.Filters) > 8 {
					return nil, false
				}
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		st := r.after(10 * time.Second)
		if st.State != Up || st.Connects != 1 || len(asked) != 19 || asked["0/#"] != 1 {
			t.Errorf("%v: %+v, %v", v, st, asked)
		}
	})
}
