package appliance

import (
	"context"
	"io"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
)

// Stats reads the broker's counters. Before Start they are all zero.
func (b *Broker) Stats() statsd.Snapshot {
	if !b.assembled() {
		return statsd.Snapshot{Version: b.version, Storage: statsd.Storage{State: statsd.StorageNone}}
	}
	return b.snapshot(b.listening(), b.certificateStats())
}

// snapshot is Stats when the parts exist. It takes no lock of b.
func (b *Broker) snapshot(listening []statsd.Listener, certificates []statsd.Certificate) statsd.Snapshot {
	t, g, s := b.relay.Totals(), b.gate.Totals(), b.sessions.Counters()
	snap := statsd.Snapshot{
		Version:      b.version,
		Listeners:    listening,
		ClientCount:  int64(s.Connected),
		MessageCount: t.Received.Messages() + t.Own.Messages(),
		Connections: statsd.Connections{
			Current: int64(s.Connected), Maximum: int64(s.MaxConnected), Total: s.Connections,
			Refused: sum(g.Refused) + b.access.Refused() + s.Refused, Sockets: int64(g.Connections), Opened: g.Accepted,
		},
		Sessions:       statsd.Sessions{Total: int64(t.Sessions), Connected: int64(t.Connected), Kept: int64(t.Sessions - t.Connected), Expired: t.Expired},
		Subscriptions:  statsd.Subscriptions{Total: int64(t.Subs), Shared: int64(t.Shared)},
		Retained:       statsd.Store{Messages: int64(t.Retained), Bytes: t.RetainedB},
		Received:       traffic(t.Received, g.Traffic.PacketsIn, g.Traffic.BytesIn),
		Sent:           traffic(t.Sent, g.Traffic.PacketsOut, g.Traffic.BytesOut),
		Dropped:        statsd.Dropped{Total: sum(t.Dropped), ByReason: t.Dropped},
		Delivery:       statsd.NewDelivery(t.Delivery.Buckets[:], t.Delivery.Total),
		PayloadSizes:   t.Sizes[:],
		Queued:         statsd.Queued{Messages: int64(t.Queued), Bytes: t.QueuedB, Inflight: int64(t.Inflight)},
		Outbound:       statsd.Outbound{Packets: int64(g.Waiting.Packets), Bytes: int64(g.Waiting.Bytes)},
		Events:         statsd.EventStats{Published: b.bus.Published(), Dropped: b.bus.Dropped(), Listeners: b.listenersOfEvents(), Unrecorded: b.unrecorded()},
		Storage:        b.storageStats(),
		Certificates:   certificates,
		Bridges:        b.bridgeStats(),
		Sinks:          b.sinkStats(),
		Budget:         b.budgetStats(g, t),
		Disconnections: s.Disconnections,
		Refusals: refusals(g.Refused, map[string]uint64{
			"connect": b.access.Refused() + s.Refused, "publish": t.Refused, "subscribe": b.access.Denied(), "publish_rate": t.Slowed,
		}),
	}
	if b.pusher != nil {
		snap.Push = b.pusher.Stats()
	}
	if b.exporter != nil {
		snap.OTLP = b.exporter.Stats()
	}
	b.sampler.Fill(&snap)
	return snap
}

// certificateStats is Certificates for statistics.
func (b *Broker) certificateStats() []statsd.Certificate {
	var out []statsd.Certificate
	now := time.Now()
	for _, c := range b.Certificates() {
		state := statsd.CertificateOK
		switch {
		case !c.NotAfter.IsZero() && now.After(c.NotAfter):
			state = statsd.CertificateExpired
		case c.Expiring:
			state = statsd.CertificateExpiring
		}
		out = append(out, statsd.Certificate{Listener: c.Listener, Role: c.Role, Subject: c.Subject, Path: c.Path, NotAfter: c.NotAfter, State: state})
	}
	return out
}

// listenersOfEvents is how many listen to events, the broker's own recorder and
// sinks not counted.
func (b *Broker) listenersOfEvents() int {
	n := len(b.bus.Stats()) - len(b.sinks)
	if b.recorder != nil {
		n--
	}
	return max(n, 0) // while the broker stops nobody is left
}

// refusals adds to counts sockets that were turned away, by why.
func refusals(sockets, counts map[string]uint64) map[string]uint64 {
	for why, n := range sockets {
		counts[why] += n
	}
	return counts
}

// assembled reports whether the parts that have counters exist.
func (b *Broker) assembled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sampler != nil
}

// listening describes the listeners that clients can reach now.
func (b *Broker) listening() []statsd.Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != started {
		return nil
	}
	out := make([]statsd.Listener, len(b.endpoints))
	for i, e := range b.endpoints {
		out[i] = statsd.Listener{Name: e.cfg.Name, Type: e.listen.Protocol(), Address: e.listen.Address(), Sockets: int64(e.listen.Connections())}
	}
	return out
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func traffic(t relay.Traffic, packets, bytes uint64) statsd.Traffic {
	return statsd.Traffic{Messages: t.Messages(), QoS0: t.QoS[0], QoS1: t.QoS[1], QoS2: t.QoS[2],
		PayloadBytes: t.Bytes, Packets: packets, Bytes: bytes}
}

// totals feeds the rates.
func (b *Broker) totals() statsd.Totals {
	t, g, s := b.relay.Totals(), b.gate.Totals(), b.sessions.Counters()
	return statsd.Totals{Received: t.Received.Messages(), Sent: t.Sent.Messages(), Dropped: sum(t.Dropped),
		Lost: sum(t.Dropped) - t.Dropped[relay.DropNoSubscribers.String()], BytesReceived: g.Traffic.BytesIn, BytesSent: g.Traffic.BytesOut, Connections: s.Connections}
}

// Clients describes every session, connected or kept, in no order.
func (b *Broker) Clients() []statsd.Client {
	if !b.assembled() {
		return nil
	}
	sessions := b.relay.Sessions()
	out := make([]statsd.Client, len(sessions))
	for i, s := range sessions {
		out[i] = b.describe(s)
	}
	return out
}

// Client describes one session with its subscriptions.
func (b *Broker) Client(id string) (statsd.Client, bool) {
	if !b.assembled() {
		return statsd.Client{}, false
	}
	s, subs, ok := b.relay.Session(id)
	if !ok {
		return statsd.Client{}, false
	}
	c := b.describe(s)
	for _, sub := range subs {
		c.Filters = append(c.Filters, statsd.ClientFilter{Filter: sub.Filter, QoS: sub.QoS})
	}
	return c, true
}

func (b *Broker) describe(s relay.SessionInfo) statsd.Client {
	c := statsd.Client{
		ID: s.ClientID, Username: s.Username, Connected: s.Connected, SessionExpiry: s.Expiry,
		Subscriptions: s.Subscriptions,
		Received:      statsd.Count{Messages: s.Received.Messages(), PayloadBytes: s.Received.Bytes},
		Sent:          statsd.Count{Messages: s.Sent.Messages(), PayloadBytes: s.Sent.Bytes},
		Queued:        statsd.Store{Messages: int64(s.Queued), Bytes: s.QueuedBytes},
		Inflight:      int64(s.Inflight), Dropped: s.Dropped,
		Pending: int64(s.Pending), Waited: max(s.Oldest, b.stalled(s.ClientID)).Seconds(), WaitedAtLeast: s.OldestAtLeast, Slow: b.isSlow(s.ClientID),
	}
	conn := b.sessions.Conn(s.ClientID)
	if conn == nil || !s.Connected {
		return c
	}
	con, t := conn.Connect(), conn.Traffic()
	c.ConnectedAt, c.Remote, c.Listener = conn.ConnectedAt(), conn.Remote(), conn.Listener()
	c.Protocol, c.KeepAlive, c.CleanStart = con.Version.String(), con.KeepAlive, con.CleanStart
	c.ReceivedBytes, c.SentBytes = t.BytesIn, t.BytesOut
	c.Stalls, _ = conn.Stalls()
	return c
}

// Kick disconnects a client and reports whether it was connected. Its session
// stays, if it is a kept one.
func (b *Broker) Kick(id string) bool { return b.assembled() && b.sessions.Kick(id) }

// backend is the broker as the control socket sees it.
type backend struct{ b *Broker }

var _ statsd.Backend = backend{}

func (k backend) Snapshot() statsd.Snapshot              { return k.b.Stats() }
func (k backend) Clients() []statsd.Client               { return k.b.Clients() }
func (k backend) Client(id string) (statsd.Client, bool) { return k.b.Client(id) }
func (k backend) Kick(id string) bool                    { return k.b.Kick(id) }

func (k backend) Reload(ctx context.Context, try bool) (statsd.Reloaded, error) {
	if try {
		return k.b.TryReload(ctx)
	}
	return k.b.Reload(ctx)
}

func (k backend) Bridges() []statsd.Bridge                  { return k.b.bridgeStats() }
func (k backend) PauseBridge(name string, pause bool) error { return k.b.pauseUplink(name, pause) }
func (k backend) TestBridge(ctx context.Context, name string, own bool) (statsd.BridgeTest, error) {
	return k.b.testUplink(ctx, name, own)
}
func (k backend) DeadLetters(name string) (statsd.DeadLetters, error) {
	return k.b.deadLetters(name)
}
func (k backend) EndDeadLetters(name string, replay bool) (int, error) {
	return k.b.endDeadLetters(name, replay)
}
func (k backend) Losses() []statsd.Loss { return k.b.Losses() }

func (k backend) History(ctx context.Context, q recorder.Query, f events.Filter, fn func(events.Event) error) error {
	return k.b.History(ctx, q, f, fn)
}

func (k backend) Backup(ctx context.Context, w io.Writer) error { return k.b.Backup(ctx, w) }

func (k backend) Events(f events.Filter, queue int, fn func(events.Event)) (func(), func() uint64) {
	sub := k.b.bus.Subscribe("control socket", f, queue, fn)
	return sub.Close, sub.Dropped
}

func (k backend) Health() statsd.Health {
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	h := statsd.Health{Live: true, Ready: k.b.state == started}
	if !h.Ready {
		h.Problems = []string{"the broker is stopping"}
	}
	if p := k.b.storageStats().Problem(); p != "" {
		h.Problems = append(h.Problems, p)
	}
	return h
}

// stopTimeout is how long a broker that nobody waits for may take to stop.
const stopTimeout = 10 * time.Second

// Run starts the broker, waits until ctx ends, and stops it.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return b.Stop(stop)
}
