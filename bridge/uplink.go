package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Uplink is one connection to another broker, kept up. Its methods may be
// called from any goroutine.
type Uplink struct {
	cfg      Config
	near     near
	far      far
	exchange exchange
	dead     *dead     // what the far side has not taken
	pacer    pacer     // of attempts to connect
	lanes    []*Uplink // of the same New, this one included
	calm     pacer     // of attempts to send what was refused
	counts   counts
	trips    trips
	canary   canary
	suspect  suspect
	buried   buried
	log      *slog.Logger
	bus      *events.Bus
	started  time.Time
	heardAt  atomic.Int64 // by now; 0 if never
	said     atomic.Int64 // when complain has logged last, by now
	unsaid   atomic.Int64 // complaints since
	tasks    sync.WaitGroup

	mu   sync.Mutex // guards what follows
	is   condition
	stop context.CancelFunc // of the connection; nil while paused or stopped
	done chan struct{}      // closed when the connection is over
	line *conn              // of the connection, nil if there is none
}

// New makes an uplink to r and the lanes of it, whose sessions are there when New
// returns, so that nothing which is published from then on is missed. Start
// connects them.
func New(cfgs []Config, r *relay.Relay, bus *events.Bus, log *slog.Logger) ([]*Uplink, error) {
	var list []*Uplink
	var nears []*near
	for _, cfg := range cfgs {
		u := newUplink(cfg, r, bus, log)
		list, nears = append(list, u), append(nears, &u.near)
		if cfg.Of == "" {
			if err := u.dead.open(); err != nil {
				return nil, fmt.Errorf("uplink %q: %w", cfg.Name, err)
			}
		}
	}
	for _, u := range list {
		u.lanes = list
	}
	if err := pairUp(list); err != nil {
		return nil, err
	}
	if err := openAll(r, nears); err != nil {
		return nil, fmt.Errorf("uplink %q: %w", cfgs[0].Name, err)
	}
	return list, nil
}

func newUplink(cfg Config, r *relay.Relay, bus *events.Bus, log *slog.Logger) *Uplink {
	u := &Uplink{cfg: cfg, log: log, bus: bus, started: time.Now(), pacer: pacer{Backoff: cfg.Backoff}, calm: pacer{Backoff: cfg.Backoff}}
	u.near = near{relay: r, id: SessionPrefix + cfg.Name, rules: cfg.Rules}
	if cfg.Live != nil {
		u.near.rules = nil // it gets nothing by itself
	}
	u.canary.local = u.near.id + canarySuffix
	u.exchange = exchange{up: u, asked: make(map[uint16]chan<- packets.ControlPacket)}
	u.far = u.newFar()
	u.is = condition{state: Connecting, since: time.Now()}
	u.dead = newDead(r, SessionPrefix+cfg.upper())
	if cfg.Of == "" {
		u.near.replay = u.dead.again
	}
	return u
}

// Name is Config.Name.
func (u *Uplink) Name() string { return u.cfg.Name }

// Settings is what the uplink was made of.
func (u *Uplink) Settings() Config { return u.cfg }

func (u *Uplink) rules() Rules { return u.cfg.Rules }

// out finds the rule for a topic of this broker, or for one that is replayed,
// and what it is called on the far side.
func (u *Uplink) out(topic string) (remote string, r *Rule) {
	if rest, again := strings.CutPrefix(topic, u.dead.again); again {
		topic = rest
	}
	return u.rules().out(topic)
}

// throttle is what SendRate and SendBytes say; wake is called when more may go.
func (u *Uplink) throttle(wake func()) throttle {
	now := u.now()
	t := throttle{rates: ratesOf(u.cfg.SendRate, u.cfg.SendBytes, now), now: u.now, wake: wake}
	for _, s := range []*Share{u.cfg.Own, u.cfg.Share} {
		if s != nil {
			t.seats = append(t.seats, s.join(u.cfg.Rank, u.near.writable))
		}
	}
	return t
}

// now is a clock that nobody sets.
func (u *Uplink) now() int64 { return int64(time.Since(u.started)) + 1 }

func (u *Uplink) heard() { u.heardAt.Store(u.now()) }

func (u *Uplink) background(f func()) { u.tasks.Go(f) }

// Start connects, and goes on until Stop or Pause. It does not wait for the far
// side. It does nothing if the uplink is started.
func (u *Uplink) Start() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	u.stop, u.done = stop, make(chan struct{})
	done := u.done
	u.pacer.reset()
	go func() {
		defer close(done)
		u.far.run(ctx)
	}()
}

// Stop ends the connection in order, or at least soon; what waits stays in the
// session.
func (u *Uplink) Stop() {
	u.mu.Lock()
	stop, done := u.stop, u.done
	u.stop = nil
	u.mu.Unlock()
	if stop != nil {
		stop()
		late := time.AfterFunc(farewell, func() { u.fault("it was stopped and did not take DISCONNECT") })
		<-done
		late.Stop()
	}
	u.tasks.Wait()
}

// Pause is Stop until Resume; messages wait meanwhile.
func (u *Uplink) Pause() {
	u.Stop()
	u.become(Paused, "somebody has paused it")
}

// Resume starts an uplink that was paused, and does nothing with another.
func (u *Uplink) Resume() {
	u.mu.Lock()
	paused := u.is.state == Paused
	u.mu.Unlock()
	if paused {
		u.become(Connecting, "")
		u.Start()
	}
}

// fault ends the connection, which is tried again.
func (u *Uplink) fault(why string) {
	u.mu.Lock()
	line := u.line
	u.mu.Unlock()
	if line != nil {
		go line.fail(errors.New(why))
	}
}

// arrived takes in a publish of the far side. The near side answers it.
func (u *Uplink) arrived(p *packets.Publish) error {
	u.heard()
	u.counts.received.Add(1)
	u.counts.receivedBytes.Add(uint64(len(p.Payload)))
	if p.Duplicate {
		u.counts.repeated.Add(1)
	}
	out := wire.Out{Version: wire.V5, QoS: p.QoS, Dup: p.Duplicate, Payload: p.Payload}
	if pr := p.Properties; pr != nil {
		if pr.MessageExpiry != nil {
			out.HasExpiry, out.Expiry = true, *pr.MessageExpiry
		}
		pr.MessageExpiry, pr.SubscriptionIdentifier, pr.TopicAlias = nil, nil, nil
		out.Props = pr.Pack(packets.PUBLISH)
	}
	topic, rule := u.rules().in(p.Topic)
	switch {
	case rule == nil: // the far side still has a subscription that was given up
		return u.decline(p, wire.NotAuthorized)
	case u.cfg.seen(out.Props):
		u.counts.loops.Add(1)
		return u.decline(p, wire.Success)
	case len(topic) > maxTopic:
		return u.decline(p, wire.TopicNameInvalid)
	}
	out.Topic, out.Retain = []byte(topic), p.Retain && rule.Retain
	return u.near.receive(u.exchange.current(), wire.AppendPublish(nil, &out, p.PacketID))
}

// decline answers a publish that goes no further.
func (u *Uplink) decline(p *packets.Publish, r wire.Reason) error {
	box := u.exchange.current()
	if p.QoS == 0 || box == nil {
		return nil
	}
	box.Send(wire.AppendAck(nil, ackOf(p.QoS), wire.V5, p.PacketID, r))
	box.Flush()
	return nil
}

// complain logs what happens to single messages, and not more often than
// complainEvery: there may be thousands.
func (u *Uplink) complain(what string, args ...any) {
	now := u.now()
	u.unsaid.Add(1)
	last := u.said.Load()
	if last != 0 && time.Duration(now-last) < complainEvery || !u.said.CompareAndSwap(last, now) {
		return
	}
	u.log.Warn(what, append([]any{"bridge", u.cfg.Name, "messages", u.unsaid.Swap(0)}, args...)...)
}

const complainEvery = 10 * time.Second

// refused counts a message that the far side will never take.
func (u *Uplink) refused(f frame) {
	u.counts.refused.Add(1)
	u.complain("uplink: the far side has refused a message", "reason", f.reason.String())
}

// poison counts a message that cannot be sent to the far side.
func (u *Uplink) poison(d relay.Delivery, why string) {
	u.counts.refused.Add(1)
	u.complain("uplink: a message cannot be sent", "topic", d.Message.Topic, "why", why)
}
