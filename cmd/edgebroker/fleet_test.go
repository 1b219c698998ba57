package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

func TestWriteFleet(t *testing.T) {
	now := time.Now()
	f := statsd.Fleet{Unasked: []string{"cloud"}, Cut: []string{"site"}, Gateways: []statsd.FleetGateway{
		{Name: "a", ClientID: "id-a", Version: "1.2.3", Uptime: 90, Clients: 1234, Received: 1.26, Sent: 2, Dropped: 3, Here: true, Answers: true, LastSeen: now,
			Uplinks: []statsd.FleetUplink{{Name: "site", State: "up"}, {Name: "cloud", State: "down", Queued: 1204}}},
		{Name: "b\x1b[2J", Version: "1", Answers: true, LastSeen: now, Uplinks: []statsd.FleetUplink{{Name: "x", State: "up"}}},
		{Name: "c", Version: "1", LastSeen: now.Add(-250 * time.Second), Uplinks: []statsd.FleetUplink{{Name: "x", State: "down"}}},
	}}
	want := `GATEWAY   CLIENT ID  SEEN            VERSION  UPTIME  CLIENTS  IN/s  OUT/s  DROPPED  UPLINKS
a         id-a       here            1.2.3    1m30s   1,234    1.3   2.0    3        site up, cloud down (1,204 waiting)
b\x1b[2J             now             1        0s      0        0.0   0.0    0        x up
c                    away for 4m10s  1        0s      0        0.0   0.0    0        x down
uplink cloud is down, so nobody could be asked by it
more gateways answer by uplink site than are taken: not all are listed, or seem to be away
`
	var got bytes.Buffer
	if err := writeFleet(&got, f, now); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
