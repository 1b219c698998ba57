//go:build chromium

package dashboard_test

import (
	"net"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
)

// withUplinks configures an uplink to a broker that runs, and one to where nobody is.
func withUplinks(t *testing.T) func(*appliance.Config) {
	t.Helper()
	far, _ := start(t, users(t), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	return func(c *appliance.Config) {
		c.Bridges = []appliance.BridgeConfig{uplink("historian", far.mqtt), uplink("cloud", nobody)}
	}
}

func TestUplinkIsPaused(t *testing.T) {
	window := browser(t)
	b, _ := start(t, users(t), withUplinks(t))
	p := open(t, window, b.base, "/#/bridges", desktop)
	p.loginAs(adminName, adminPassword)
	card := `[...document.querySelectorAll(".uplink")].find((c) => c.querySelector("h2").textContent === "historian")`
	state := func(want string) {
		t.Helper()
		p.await(want, card+`?.querySelector(".tag").textContent === `+quoted(want))
	}
	state("up")
	p.click(`[aria-label="Pause historian"]`)
	p.await("a question", `document.querySelector("#confirm").open`)
	p.click("#confirm-yes")
	state("paused")
	if s := b.Uplinks()[0]; string(s.State) != "paused" {
		t.Errorf("the uplink is %v", s.State)
	}
	p.click(`[aria-label="Resume historian"]`)
	state("up")
}

func uplink(name, address string) appliance.BridgeConfig {
	return appliance.BridgeConfig{
		Name: name, Address: "mqtt://" + address,
		Topics: []appliance.BridgeTopic{{Filter: "plant/#", QoS: 1, RemotePrefix: "gateway/"}},
	}
}
