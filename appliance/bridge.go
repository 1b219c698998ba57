package appliance

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
)

// uplink is a bridge.Uplink, or a lane of one, and what it was made of.
type uplink struct {
	*bridge.Uplink
	line
}

// settings is c as package bridge takes it.
func (c BridgeConfig) settings(node, epoch string, most ByteSize) bridge.Config {
	s := bridge.Config{
		Name: c.Name, URL: c.Address, ClientID: c.ClientName(), Username: c.Username,
		KeepAlive:     cmp.Or(c.KeepAlive, bridgeKeepAlive),
		SessionExpiry: cmp.Or(c.SessionExpiry, bridgeSessionExpiry),
		AckTimeout:    cmp.Or(c.AckTimeout, bridgeAckTimeout),
		Backoff:       c.backoff(),
		Canary:        c.canary(),
		SendRate:      c.SendRate,
		SendBytes:     int(min(c.SendBytes, math.MaxInt32)),
		Dial:          c.dial,
		Version:       bridgeVersions[c.Version],
		Proxy:         c.proxyName,
		NATS:          c.far(epoch),
		MaxPacket:     int(most),
	}
	if c.Password != "" {
		s.Password = func() ([]byte, error) {
			secret, err := c.Password.read()
			if err != nil {
				return nil, fmt.Errorf("password: %w", err)
			}
			return secret.Reveal(), nil
		}
	}
	if len(c.PasswordCommand) > 0 {
		k := &tokens{args: c.PasswordCommand, lifetime: c.TokenLifetime}
		s.Password, s.Renewal, s.Refused = k.get, k.renewal, k.forget
		if s.NATS != nil && c.Username == "" {
			s.NATS.Token = k.get
		}
	}
	if c.LoopGuard == nil || *c.LoopGuard {
		s.Origin, s.MaxHops = node, bridgeHops
	}
	for _, t := range c.Topics {
		s.Rules = append(s.Rules, bridge.Rule{Direction: directions[t.Direction], Filter: t.Filter, QoS: byte(t.QoS),
			LocalPrefix: t.LocalPrefix, RemotePrefix: t.RemotePrefix, Retain: t.Retain == nil || *t.Retain, TTL: t.TTL, Latest: t.Keep == KeepLatest, Group: t.Group, Kept: c.keepsRetained(t)})
	}
	return s
}

// dial reads the certificates anew for each connection.
func (c BridgeConfig) dial(ctx context.Context) (net.Conn, error) {
	address, _ := strings.CutPrefix(c.Address, "mqtt://")
	through, _, err := c.through(c.farAddress())
	if err != nil {
		return nil, err
	}
	if !c.encrypted() {
		return dial.Through(ctx, through, address, dialTimeout, nil)
	}
	config, err := clientTLS(c.CA, c.Certificate, c.PrivateKey)
	if err != nil {
		return nil, err
	}
	return dial.Through(ctx, through, address, dialTimeout, config)
}

const dialTimeout = 10 * time.Second

// queue are the bounds of the uplink's queue.
func (c BridgeConfig) queue() *relay.QueueRules {
	return &relay.QueueRules{
		MaxQueued:      cmp.Or(c.MaxQueuedMessages, bridgeMessages),
		MaxQueuedBytes: int64(cmp.Or(c.MaxQueuedBytes, bridgeBytes)),
		WhenFull:       relayPolicies[cmp.Or(c.WhenFull, DropOldest)],
	}
}

// links are the uplinks that there are.
func (b *Broker) links() []*uplink {
	if list := b.uplinks.Load(); list != nil {
		return *list
	}
	return nil
}

// setUplinks makes the uplinks those of c, and has new ones connect.
func (b *Broker) setUplinks(c Config, connect bool) {
	next := b.changeUplinks(b.links(), c, connect)
	b.uplinks.Store(&next)
}

// changeUplinks makes of those that there are those of c: it starts what is
// new, ends what is gone, and begins again with what has changed, whose queue
// stays. An uplink that cannot be made is reported; the others are not touched.
func (b *Broker) changeUplinks(before []*uplink, c Config, connect bool) (next []*uplink) {
	for _, want := range c.Bridges {
		var old []*uplink
		for _, u := range before {
			if u.BridgeConfig.Name == want.Name {
				old = append(old, u)
			}
		}
		if len(old) > 0 && reflect.DeepEqual(old[0].BridgeConfig, want) {
			next = append(next, b.withoutDrained(old)...)
			continue
		}
		stopAll(old)
		made, err := b.makeUplink(want, c)
		if err != nil {
			b.log.Error("uplink cannot be made", "bridge", want.Name, "error", err)
			b.system(events.SystemBridgeFailed, err.Error())
			continue
		}
		next = append(next, made...)
		for _, u := range made {
			i := slices.IndexFunc(old, func(o *uplink) bool { return o.lane == u.lane })
			if i < 0 { // live messages are as the lane that they are of
				i = slices.IndexFunc(old, func(o *uplink) bool { return o.lane == u.of })
			}
			if i < 0 && len(old) > 0 {
				i = 0 // a new lane is as its uplink
			}
			switch {
			case i >= 0 && old[i].Status().State == bridge.Paused:
				u.Pause() // until somebody resumes it
			case connect:
				u.Start()
			}
		}
	}
	for _, u := range before {
		gone := !slices.ContainsFunc(c.Bridges, func(want BridgeConfig) bool { return want.Name == u.BridgeConfig.Name })
		if gone && u.lane == "" {
			b.giveUp(u.BridgeConfig.Name, func() {
				stopAll(slices.DeleteFunc(slices.Clone(before), func(o *uplink) bool { return o.BridgeConfig.Name != u.BridgeConfig.Name }))
			})
		}
	}
	return next
}

// makeUplink makes an uplink and its lanes.
func (b *Broker) makeUplink(want BridgeConfig, c Config) ([]*uplink, error) {
	lines := want.lines(b.leftovers(want))
	var settings []bridge.Config
	var share *bridge.Share
	if len(lines) > 1 {
		share = bridge.NewShare(want.SendRate, int(min(want.SendBytes, math.MaxInt32)))
	}
	own := make(map[string]*bridge.Share) // of lanes and their live messages
	for _, l := range lines {
		if rates := l.settled(); l.live && (rates.SendRate > 0 || rates.SendBytes > 0) {
			own[l.of] = bridge.NewShare(rates.SendRate, int(min(rates.SendBytes, math.MaxInt32)))
		}
	}
	for _, l := range lines {
		s := l.settings(c.Sys.NodeName(), b.epoch(), c.Limits.MaxPacketSize)
		if s.Own = own[l.of]; s.Own != nil {
			s.SendRate, s.SendBytes = 0, 0
		}
		if s.Share, s.Rank = share, l.rank; share != nil && l.lane == "" {
			s.SendRate, s.SendBytes = 0, 0
		}
		if s.NATS != nil && l.lane == "" {
			s.NATS.Report = b.reporter(want)
		}
		settings = append(settings, s)
	}
	list, err := bridge.New(settings, b.relay, b.bus, b.log.With("component", "bridge"))
	if err != nil {
		return nil, err
	}
	var made []*uplink
	for i, u := range list {
		made = append(made, &uplink{u, lines[i]})
	}
	return b.withoutDrained(made), nil // now that they get nothing more
}

// Uplinks describes the uplinks, in the order of the configuration.
func (b *Broker) Uplinks() []bridge.Status {
	list := b.links()
	out := make([]bridge.Status, len(list))
	for i, u := range list {
		out[i] = u.Status()
	}
	return out
}

// giveUpLeftovers ends the sessions of uplinks that were in the configuration
// when the broker ran last, and are not any more.
func (b *Broker) giveUpLeftovers(c Config) {
	for _, s := range b.relay.Sessions() {
		name, ok := strings.CutPrefix(s.ClientID, bridge.SessionPrefix)
		if ok && !strings.Contains(name, "/") && !slices.ContainsFunc(c.Bridges, func(want BridgeConfig) bool { return want.Name == name }) {
			b.giveUp(name, func() {})
		}
	}
}

// giveUp ends an uplink and its lanes, and drops what waits for them.
func (b *Broker) giveUp(name string, stop func()) {
	stop()
	waiting, id := 0, bridge.SessionPrefix+name
	for _, s := range b.relay.Sessions() {
		if s.ClientID != id && !strings.HasPrefix(s.ClientID, id+"/") {
			continue
		}
		if s.ClientID != id+bridge.DeadSuffix {
			waiting += s.Queued + s.Inflight
		}
		b.relay.Discard(s.ClientID)
	}
	b.log.Warn("uplink is gone from the configuration", "bridge", name, "messages_dropped", waiting)
	b.system(events.SystemBridgeRemoved, fmt.Sprintf("bridge %s, with %d messages that waited for it", name, waiting))
}

// bridgeStats is Uplinks for statistics.
func (b *Broker) bridgeStats() []statsd.Bridge {
	var out []statsd.Bridge
	for _, u := range b.Uplinks() {
		out = append(out, statsd.Bridge{Name: u.Name, Address: u.URL, ClientID: u.ClientID, State: string(u.State), Why: u.Why, Since: u.Since,
			LastError: u.LastError, LastErrorAt: u.LastErrorAt, LastHeard: u.LastHeard, Attempts: u.Attempts, Connects: u.Connects,
			Queued: statsd.Store{Messages: int64(u.Queued), Bytes: u.QueuedBytes}, Inflight: int64(u.InFlight), Unanswered: u.Unanswered.Seconds(),
			Sent: statsd.Count{Messages: u.Sent, PayloadBytes: u.SentBytes}, Acked: u.Acked, Retried: u.Retried, Duplicates: u.Duplicates, Repeated: u.Repeated,
			Received: statsd.Count{Messages: u.Received, PayloadBytes: u.ReceivedSize}, RoundTrip: u.LastTrip.Took.Seconds(), RoundTripAt: u.LastTrip.At, Canaries: u.Canaries, CanaryNote: u.CanaryNote,
			Dead: u.Dead, Refused: u.Refused, Loops: u.Loops, Dropped: u.Dropped, Overrun: u.Overrun,
			Persistent: b.store != nil, Events: eventCounts(u.Events)})
	}
	return out
}

// linked are the uplink of that name and its lanes, or the lane UPLINK/LANE, each
// with its live messages.
func (b *Broker) linked(name string) ([]*uplink, error) {
	var list []*uplink
	for _, u := range b.links() {
		if u.title() == name || strings.HasPrefix(u.title(), name+"/") {
			list = append(list, u)
		}
	}
	if len(list) == 0 || !b.runs() {
		return nil, fmt.Errorf("%w: %q", statsd.ErrNoBridge, name)
	}
	return list, nil
}

// link is the uplink of that name, with which the dead letters of its lanes are.
func (b *Broker) link(name string) (*uplink, error) {
	list, err := b.linked(name)
	if err != nil {
		return nil, err
	}
	list, err = b.linked(list[0].BridgeConfig.Name)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (b *Broker) deadLetters(name string) (statsd.DeadLetters, error) {
	out := statsd.DeadLetters{Letters: []statsd.DeadLetter{}}
	u, err := b.link(name)
	if err != nil {
		return out, err
	}
	list, total, err := u.DeadLetters()
	out.Total = total
	for _, l := range list {
		out.Letters = append(out.Letters, statsd.DeadLetter{Topic: l.Topic, Why: l.Why, Time: l.Time, Size: l.Size, Payload: l.Payload})
	}
	return out, err
}

func (b *Broker) endDeadLetters(name string, replay bool) (int, error) {
	u, err := b.link(name)
	if err != nil {
		return 0, err
	}
	if replay {
		return u.Replay()
	}
	return u.Discard()
}

// pauseUplink disconnects an uplink, or lets it connect again.
func (b *Broker) pauseUplink(name string, pause bool) error {
	b.reloading.Lock() // which would start it again
	defer b.reloading.Unlock()
	list, err := b.linked(name)
	if err != nil {
		return err
	}
	for _, u := range list {
		if pause {
			u.Pause()
		} else {
			u.Resume()
		}
	}
	return nil
}

func (b *Broker) stopUplinks() { stopAll(b.links()) }

func stopAll(list []*uplink) {
	var all sync.WaitGroup // a far side that does not read takes a while
	for _, u := range list {
		all.Go(u.Stop)
	}
	all.Wait()
}
