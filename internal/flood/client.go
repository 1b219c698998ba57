package main

import (
	"context"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// replyWait bounds connecting, and each write of a healthy client.
const replyWait = 20 * time.Second

// connect makes an MQTT 5 connection that is let in. It keeps a session for expiry
// seconds.
func connect(ctx context.Context, address, id string, expiry uint32) (*link.Link, error) {
	l, _, err := link.Open(ctx, address, &wire.Connect{Version: wire.V5, CleanStart: true, ClientID: id, SessionExpiry: expiry, KeepAlive: healthyAlive}, replyWait)
	return l, err
}

func subscribe(l *link.Link, filter string, qos byte) error {
	s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: filter, QoS: qos}}}
	return l.Write(wire.AppendSubscribe(nil, wire.V5, &s))
}
