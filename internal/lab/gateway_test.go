package lab_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/lab"
	"github.com/synthetism/edgebroker/wire"
)

const (
	unit = "edgebroker.service"
	conf = "/etc/edgebroker/edgebroker.yml"
)

// scratch is a folder that goes with the tests.
var scratch string

// built is the broker of this tree, as it is shipped. It is built once, by the first
// test that needs it.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "edgebroker")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../../cmd/edgebroker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "edgebroker-lab"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// openConfig lets devices in from other machines, without a password: the network
// is this test's.
const openConfig = `
listeners:
  - name: devices
    address: 0.0.0.0:1883
    allow_anonymous: true
`

// gateway is a container with the unit of this tree, which is not started.
func gateway(t *testing.T, o lab.Options) *lab.Container {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, binary)
	}
	c := lab.New(t, o)
	c.Copy(binary, "/usr/bin/edgebroker", 0o755)
	c.Copy("../../systemd/edgebroker.service", "/usr/lib/systemd/system/"+unit, 0o644)
	c.Copy("../../packaging/edgebroker.sysusers", "/usr/lib/sysusers.d/edgebroker.conf", 0o644)
	if out, err := exec.Command("systemd-sysusers", "--root="+c.Path("/"), "edgebroker.conf").CombinedOutput(); err != nil {
		t.Fatalf("make the user: %v: %s", err, out)
	}
	if o.Suite != "bookworm" {
		c.Copy("../../systemd/254.conf", "/usr/lib/systemd/system/"+unit+".d/254.conf", 0o644)
	}
	c.Write(conf, openConfig, 0o644)
	c.Boot()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.Try("journalctl", "--no-pager", "-u", unit, "-o", "short-monotonic", "-n", "60")
			t.Logf("the journal:\n%s", out)
		}
	})
	return c
}

func property(t *testing.T, c *lab.Container, name string) string {
	t.Helper()
	return c.Run("systemctl", "show", "--value", "--property="+name, unit)
}

// The unit starts, is ready when it says so, shows how it does, reloads, and comes
// back from whatever kills it, with what it has acknowledged.
func TestUnit(t *testing.T) {
	lab.Need(t)
	for _, suite := range suites(t) {
		t.Run(suite, func(t *testing.T) {
			c := gateway(t, lab.Options{Suite: suite})
			c.Write("/etc/systemd/system/"+unit+".d/soon.conf", "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n", 0o644)
			c.Run("systemctl", "daemon-reload")
			c.Run("systemctl", "start", "edgebroker")
			// Whoever connects once start has returned is served.
			keeper := brokertest.Dial(t, c.Address(1883), brokertest.Kept(wire.V5, "keeper"))
			keeper.Subscribe(2, "t/#")
			keeper.Disconnect()
			pub := brokertest.Dial(t, c.Address(1883), brokertest.Clean(wire.V5, "pub"))
			for _, m := range []string{"1", "2", "3"} {
				pub.Publish("t/x", m, 2, false)
			}
			pub.Publish("state", "kept", 1, true)
			lab.Until(t, "a line of status", brokertest.Patience, func() bool {
				status := property(t, c, "StatusText")
				return strings.HasPrefix(status, "1 client, ") && strings.Contains(status, " msg/s, journal ")
			})
			out, _ := c.Try("systemctl", "status", "--no-pager", unit)
			t.Log(out)
			wantExposure(t, c)

			t.Run("reload", func(t *testing.T) { reloads(t, c) })

			pid := property(t, c, "MainPID")
			c.Run("sh", "-c", "kill -9 "+pid)
			brought := func(how string) {
				t.Helper()
				lab.Until(t, "a new process after "+how, brokertest.Patience, func() bool {
					now := property(t, c, "MainPID")
					return now != "0" && now != pid && property(t, c, "ActiveState") == "active"
				})
				pid = property(t, c, "MainPID")
			}
			brought("kill -9")
			keeper = brokertest.Dial(t, c.Address(1883), brokertest.Kept(wire.V5, "keeper"))
			for _, m := range []string{"1", "2", "3"} {
				keeper.ExpectMessage("t/x", m)
			}
			keeper.Subscribe(1, "state")
			keeper.ExpectMessage("state", "kept")
			keeper.ExpectNothing()
			keeper.Disconnect()

			c.Run("sh", "-c", "kill -STOP "+pid)
			brought("SIGSTOP, by the watchdog")
			if out := c.Run("journalctl", "--no-pager", "-u", unit); !strings.Contains(out, "Watchdog timeout") {
				t.Errorf("the journal does not say why:\n%s", out)
			}
			brokertest.Dial(t, c.Address(1883), brokertest.Clean(wire.V311, "again")).Disconnect()

			c.Write(conf, "listeners: nonsense\n", 0o644)
			c.Run("sh", "-c", "kill -9 "+pid)
			lab.Until(t, "it to give up with a configuration that is wrong", brokertest.Patience, func() bool {
				return property(t, c, "ActiveState") == "failed"
			})
			if got := property(t, c, "ExecMainStatus"); got != "2" {
				t.Errorf("exit status %s", got)
			}
			c.Write(conf, openConfig, 0o644)
			c.Run("systemctl", "start", "edgebroker")
			c.Run("systemctl", "stop", "edgebroker")
			if got := property(t, c, "Result"); got != "success" {
				t.Errorf("the stop was a %s", got)
			}
		})
	}
}

// reloads looks that a reload is over when systemctl returns, and says what is
// wrong.
func reloads(t *testing.T, c *lab.Container) {
	pid := property(t, c, "MainPID")
	c.Write(conf, openConfig+"  - name: more\n    address: 0.0.0.0:1884\n    allow_anonymous: true\n", 0o644)
	c.Run("systemctl", "reload", "edgebroker")
	brokertest.Dial(t, c.Address(1884), brokertest.Clean(wire.V5, "more")).Disconnect()
	c.Write(conf, openConfig+"nonsense: 1\n", 0o644)
	if out, err := c.Try("systemctl", "reload", "edgebroker"); err == nil {
		t.Errorf("a reload that failed looks well: %s", out)
	}
	if got := property(t, c, "ActiveState"); got != "active" {
		t.Errorf("it is %s", got)
	}
	if out := c.Run("journalctl", "--no-pager", "-u", unit); !strings.Contains(out, `unknown key`) && !strings.Contains(out, "nonsense") {
		t.Errorf("the journal does not say what is wrong:\n%s", out)
	}
	brokertest.Dial(t, c.Address(1884), brokertest.Clean(wire.V5, "still")).Disconnect()
	c.Write(conf, openConfig, 0o644)
	c.Run("systemctl", "reload", "edgebroker")
	if got := property(t, c, "MainPID"); got != pid {
		t.Errorf("it was process %s and is %s", pid, got)
	}
}

// wantExposure looks that the unit is as closed as it was.
func wantExposure(t *testing.T, c *lab.Container) {
	t.Helper()
	out, err := c.Try("systemd-analyze", "security", "--no-pager", "--threshold=12", unit)
	if lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n")); err != nil {
		t.Errorf("exposed: %v\n%s", err, out)
	} else {
		t.Logf("%s", lines[len(lines)-1])
	}
}

// suites are those of Debian that are to be tested.
func suites(t *testing.T) []string {
	if s := os.Getenv("EDGEBROKER_LAB_SUITES"); s != "" {
		return strings.Fields(s)
	}
	return []string{"bookworm"}
}
