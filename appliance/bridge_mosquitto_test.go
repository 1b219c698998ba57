package appliance_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// mosquitto is a broker of another make.
type mosquitto struct {
	t       testing.TB
	address string
	path    string
	conf    string
	cmd     *exec.Cmd
}

// startMosquitto starts one that has more in its configuration, or skips the
// test where it is not installed.
func startMosquitto(t testing.TB, more string) *mosquitto {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !installed(path) {
			t.Skip("mosquitto is not installed")
		}
	}
	m := &mosquitto{t: t, address: brokertest.Ports(t, 1)[0]}
	_, port, err := net.SplitHostPort(m.address)
	if err != nil {
		t.Fatal(err)
	}
	m.conf = filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n%s\n", port, more)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.path = path
	m.start()
	t.Cleanup(m.stop)
	return m
}

func installed(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(m.path, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	brokertest.WaitFor(m.t, "mosquitto", func() bool {
		nc, err := net.Dial("tcp", m.address)
		if err != nil {
			return false
		}
		return nc.Close() == nil
	})
}

func (m *mosquitto) stop() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
	m.cmd = nil
}

// The default canary suits mosquitto, where nobody who subscribes to # sees it.
func TestUplinkCanaryMosquitto(t *testing.T) {
	brokertest.NoLeaks(t)
	far := startMosquitto(t, "")
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.address, appliance.BridgeTopic{Filter: "#", QoS: 1})}
	cfg.Bridges[0].Canary = appliance.BridgeCanary{}
	near := launch(t, cfg)
	if st := is(t, near, bridge.Up); st.LastTrip.At.IsZero() || st.Canaries != 1 || st.CanaryNote != "" {
		t.Errorf("got %+v", st)
	}
}

// A canary is in the books of both sides.
func TestUplinkCanaryEdgebroker(t *testing.T) {
	brokertest.NoLeaks(t)
	far := launch(t, config(t))
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(address(far), appliance.BridgeTopic{Filter: "#", QoS: 1})}
	cfg.Bridges[0].Canary = appliance.BridgeCanary{Topic: "gateway/canary"}
	near := launch(t, cfg)
	if st := is(t, near, bridge.Up); st.LastTrip.At.IsZero() || st.CanaryNote != "" {
		t.Errorf("got %+v", st)
	}
	relayed(t, near)
	balanced(t, near)
}
