package bridge

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// A connection is made anew before its token expires, at once, and nothing is
// lost by that.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, at := 0, time.Time{}
		var seen []string
		r := newRig(t, func(c *Config) {
			c.Username = "gw"
			c.Password = func() ([]byte, error) { made++; at = time.Now(); return fmt.Append(nil, "token ", made), nil }
			c.Renewal = func() time.Time { return at.Add(10 * time.Minute) }
		})
		r.latency = 50 * time.Millisecond
		r.answer = func(_ int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.CONNECT {
				c, _ := wire.DecodeConnect(f)
				seen = append(seen, string(c.Password))
			}
			return nil, true
		}
		r.up.Start()
		defer r.stop()
		n := 0
		for range 600 { // an hour
			r.publish("t", fmt.Sprint(n), 1)
			n++
			r.after(6 * time.Second)
		}
		st := r.after(10 * time.Second)
		if st.State != Up || st.Connects < 6 || st.Connects > 7 || seen[len(seen)-1] != fmt.Sprint("token ", len(seen)) {
			t.Errorf("got %+v, %v", st, seen)
		}
		if r.once() != upTo(n) || st.Queued+st.InFlight != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A token that is refused is not used again.
func TestRefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		r := newRig(t, func(c *Config) { c.Refused = func() { refused++ } })
		r.connack.Reason = wire.BadUserNameOrPassword
		r.up.Start()
		defer r.stop()
		if r.after(5 * time.Second); refused == 0 {
			t.Error("nobody was told")
		}
	})
}
