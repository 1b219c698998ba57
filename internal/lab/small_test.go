package lab_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/lab"
)

// A gateway with 64 MiB of memory, systemd's included, and a quarter of a
// processor, serves 200 clients: nothing is lost, nothing is started anew, and
// memory stays what it is.
func TestSmallGateway(t *testing.T) {
	lab.Need(t)
	c := gateway(t, lab.Options{Suite: "bookworm", Memory: 64 << 20, CPU: 25})
	began := time.Now()
	c.Run("systemctl", "start", "edgebroker")
	t.Logf("systemctl start took %v; %d ms from the start of the process until it was ready", time.Since(began).Round(time.Millisecond),
		(monotonic(t, c, "ActiveEnter")-monotonic(t, c, "ExecMainStart"))/1000)
	ring, err := brokertest.JoinRing(brokertest.RingOptions{Addr: c.Address(1883), Members: 200, Every: 2 * time.Second, Name: "small"})
	if err != nil {
		t.Fatal(err)
	}
	var first int64
	for round := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		tally, err := ring.Run(ctx)
		cancel()
		now := resident(t, c)
		t.Logf("round %d: %+v, %d KiB resident", round, tally, now)
		if err != nil || tally.Lost+tally.Again+tally.Twice+tally.Disorder > 0 || tally.Acked < 200 {
			t.Fatalf("%+v: %v", tally, err)
		}
		if round == 0 {
			first = now
		} else if now > first+first/4 {
			t.Errorf("%d KiB were resident, and now %d are", first, now)
		}
	}
	if err := ring.Leave(); err != nil {
		t.Error(err)
	}
	if n := property(t, c, "NRestarts"); n != "0" {
		t.Errorf("started anew %s times", n)
	}
}

// monotonic is when something happened to the unit, in microseconds.
func monotonic(t *testing.T, c *lab.Container, what string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(property(t, c, what+"TimestampMonotonic"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// resident is how much memory the broker has, in KiB.
func resident(t *testing.T, c *lab.Container) int64 {
	t.Helper()
	for line := range strings.Lines(c.Run("cat", fmt.Sprintf("/proc/%s/status", property(t, c, "MainPID")))) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the process has no VmRSS")
	return 0
}
