package appliance_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
)

// httpProxy is a proxy for who has a password. All tunnels lead to one address.
func httpProxy(t *testing.T, to string) (address string, tunnels *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tunnels = new(atomic.Int32)
	t.Cleanup(func() { l.Close() })
	serve := func(nc net.Conn) {
		defer nc.Close()
		req, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil || req.Method != http.MethodConnect || !strings.HasPrefix(req.Host, "far.example:") {
			return
		}
		req.Header.Set("Authorization", req.Header.Get("Proxy-Authorization"))
		if user, password, _ := req.BasicAuth(); user != "gw" || password != "s3cret" {
			_, _ = io.WriteString(nc, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer far.Close()
		tunnels.Add(1)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, nc); far.Close() }()
		_, _ = io.Copy(nc, far)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	return l.Addr().String(), tunnels
}

func proxied(t *testing.T, b appliance.BridgeConfig, proxy string) appliance.BridgeConfig {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Proxy, b.ProxyUsername, b.ProxyPassword = "http://"+proxy, "gw", appliance.SecretRef("file:"+secret)
	return b
}

// An uplink goes through a proxy, which knows the name of the far side as this
// broker does not.
func TestUplinkThroughProxy(t *testing.T) {
	far := newFarSide(t)
	proxy, tunnels := httpProxy(t, far.l.Addr().String())
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{proxied(t, uplinkTo("far.example:1883", appliance.BridgeTopic{Filter: "#", QoS: 1}), proxy)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	client(t, near, "pub").Publish("t", "through", 1, false)
	relayed(t, near)
	if got := far.payloads(); got != "through" || tunnels.Load() != 1 {
		t.Errorf("got %q by %d tunnels", got, tunnels.Load())
	}
	done := probeOf(t, cfg.Bridges[0], false)
	if !done.OK || !strings.Contains(said(done), "proxy ok: goes through http://"+proxy) || strings.Contains(said(done), "s3cret") {
		t.Errorf("got\n%s", said(done))
	}
}

// What the environment says goes, unless the config says otherwise.
func TestUplinkProxyFromEnvironment(t *testing.T) {
	far := newFarSide(t)
	proxy, tunnels := httpProxy(t, far.l.Addr().String())
	t.Setenv("HTTPS_PROXY", "http://gw:s3cret@"+proxy)
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	b := uplinkTo("far.example:1883", appliance.BridgeTopic{Filter: "#", QoS: 1})
	if done := probeOf(t, b, false); !done.OK || tunnels.Load() != 1 || strings.Contains(said(done), "s3cret") {
		t.Errorf("%d tunnels:\n%s", tunnels.Load(), said(done))
	}
	b.Proxy = appliance.NoProxy
	b.Address = "mqtt://nowhere.invalid:1883"
	if done := probeOf(t, b, false); done.OK || tunnels.Load() != 1 || !strings.Contains(said(done), "resolve failed") {
		t.Errorf("%d tunnels:\n%s", tunnels.Load(), said(done))
	}
}

// NATS goes through a proxy as well.
func TestUplinkToNATSThroughProxy(t *testing.T) {
	o := natsOptions(t)
	s := natsServer(t, o)
	proxy, tunnels := httpProxy(t, s.Addr().String())
	cfg := config(t)
	b := proxied(t, uplinkToNATS(o, "", appliance.BridgeTopic{Filter: "#", QoS: 1}), proxy)
	b.Address = "nats://far.example:4222"
	cfg.Bridges = []appliance.BridgeConfig{b}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	client(t, near, "pub").Publish("t", "through", 1, false)
	relayed(t, near)
	if tunnels.Load() == 0 {
		t.Error("it did not go through the proxy")
	}
}
