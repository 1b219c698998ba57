package lab_test

import (
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/lab"
	"github.com/synthetism/edgebroker/wire"
)

// A gateway whose root cannot be written to, with its state in memory, works: the
// broker writes to its own folders alone, and comes back from a kill with what is
// there.
func TestReadOnlyRoot(t *testing.T) {
	lab.Need(t)
	c := gateway(t, lab.Options{Suite: "bookworm", ReadOnly: []string{"/var/lib/edgebroker", "/var/log"}})
	if out, err := c.Try("touch", "/etc/edgebroker/x", "/var/x"); err == nil {
		t.Fatalf("the root can be written to: %s", out)
	}
	c.Run("systemctl", "start", "edgebroker")
	pub := brokertest.Dial(t, c.Address(1883), brokertest.Clean(wire.V5, "pub"))
	pub.Publish("state", "kept", 1, true)
	c.Run("edgebroker", "stats")
	c.Run("systemctl", "reload", "edgebroker")
	pid := property(t, c, "MainPID")
	c.Run("sh", "-c", "kill -9 "+pid)
	lab.Until(t, "a new process", brokertest.Patience, func() bool {
		now := property(t, c, "MainPID")
		return now != pid && now != "0" && property(t, c, "ActiveState") == "active"
	})
	expectKept(t, c)
}
