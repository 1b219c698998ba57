package appliance_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A clock that is set is told of. This sets the clock of the machine, by three seconds
// and back, and so is run only where that does no harm, with EDGEBROKER_SET_CLOCK=1.
func TestClockIsSet(t *testing.T) {
	if os.Getenv("EDGEBROKER_SET_CLOCK") == "" {
		t.Skip("EDGEBROKER_SET_CLOCK is not set")
	}
	told := make(chan string, 10)
	launch(t, config(t)).On(string(events.System), func(e events.Event) {
		if d := e.Data.(events.SystemData); d.What == events.SystemClockSet {
			told <- d.Detail
		}
	})
	for _, by := range []time.Duration{3 * time.Second, -3 * time.Second} {
		ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-told:
			d, err := time.ParseDuration(got[len("by "):])
			if err != nil || (d-by).Abs() > time.Second {
				t.Errorf("%q, want about %v", got, by)
			}
		case <-time.After(brokertest.Patience):
			t.Fatal("nobody was told")
		}
	}
}
