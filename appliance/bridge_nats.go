package appliance

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/statsd"
)

// epoch is a name for what is stored: as long as the store is the same, so is
// it. Without a store it is another after each start, unless clients and what waits
// have been handed over.
func (b *Broker) epoch() string {
	if b.store != nil {
		id := b.store.Journal().ID()
		return hex.EncodeToString(id[:8])
	}
	return b.memoryEpoch
}

// newEpoch is an epoch for what is not stored.
func newEpoch() string { return "m" + strings.ToLower(rand.Text()[:15]) }

// far is the NATS part of c as package bridge takes it; nil if there is none.
func (c BridgeConfig) far(epoch string) *bridge.NATS {
	if !c.nats() {
		return nil
	}
	n := &bridge.NATS{InboxPrefix: c.NATS.InboxPrefix, Epoch: epoch, Stream: c.NATS.Stream, Domain: c.NATS.Domain,
		Durable: c.NATS.Durable, Retained: c.NATS.Retained, OnlyWriter: c.NATS.OnlyWriter, Window: c.NATS.Window, Events: bridge.EventNames(c.NATS.Events),
		Dial: c.dialTCP, Proxied: c.proxied}
	for _, s := range append([]string{c.Address}, c.NATS.Servers...) {
		if rest, secure := strings.CutPrefix(s, "natss://"); secure {
			s = "tls://" + rest
		}
		n.Servers = append(n.Servers, s)
	}
	if c.encrypted() {
		n.TLS = func() (*tls.Config, error) { return clientTLS(c.CA, c.Certificate, c.PrivateKey) }
	}
	if c.NATS.Creds != "" {
		n.Credentials = func() (string, error) { return ResolvePath(c.NATS.Creds) }
	}
	if c.NATS.NKey != "" {
		n.NKey = func() (string, error) { return ResolvePath(c.NATS.NKey) }
	}
	if c.NATS.Token != "" {
		n.Token = func() ([]byte, error) {
			secret, err := c.NATS.Token.read()
			if err != nil {
				return nil, fmt.Errorf("token: %w", err)
			}
			return secret.Reveal(), nil
		}
	}
	return n
}

// eventCounts are c for statistics.
func eventCounts(c *bridge.EventCounts) *statsd.BridgeEvents {
	if c == nil {
		return nil
	}
	return &statsd.BridgeEvents{Sent: c.Sent, Received: c.Received, Dropped: c.Dropped, Refused: c.Refused}
}
