package e2e_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// natsSystem is a NATS server, its URL, and a client of it.
func natsSystem(t *testing.T) (url string, nc *nats.Conn) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(brokertest.Patience) {
		t.Fatal("the NATS server does not come up")
	}
	if nc, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return s.ClientURL(), nc
}

// inFleet is an uplink to NATS in event mode that takes part in a fleet.
func inFleet(url, name string) appliance.BridgeConfig {
	return appliance.BridgeConfig{Name: name, Address: url, ClientID: name, RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		NATS: appliance.BridgeNATS{Events: appliance.EventLevels, Fleet: true}, Topics: []appliance.BridgeTopic{{Filter: "nats/#", QoS: 1}}}
}
