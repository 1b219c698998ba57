package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/synthetism/edgebroker/wire"
)

// run keeps the connection up until ctx ends.
func (u *Uplink) run(ctx context.Context) {
	where := &url.URL{Scheme: "mqtt", Host: u.cfg.upper()} // autopaho wants one; Dial knows better
	was := Connecting
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:            []*url.URL{where},
		KeepAlive:             u.cfg.keepAlive(),
		SessionExpiryInterval: u.cfg.sessionExpiry(),
		ConnectTimeout:        connectTimeout,
		ReconnectBackoff: func(int) time.Duration {
			if u.pacer.wait(ctx) {
				return time.Hour // autopaho looks at ctx as well
			}
			return 0
		},
		AttemptConnection:    u.dial,
		ConnectPacketBuilder: u.connectPacket,
		OnConnectError:       func(err error) { u.become(was, u.wording(err)) },
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			was = Down
			u.connected()
			u.mu.Lock()
			line := u.line
			u.mu.Unlock()
			u.background(func() { u.subscribe(ctx, m, line) })
		},
		OnConnectionDown: func() bool {
			u.pacer.down()
			u.become(Down, u.wording(errors.New("the connection was lost")))
			return true
		},
		ClientConfig: paho.ClientConfig{
			ClientID:      u.cfg.ClientID,
			Session:       &u.exchange,
			PacketTimeout: connectTimeout,
			PingHandler:   newPinger(),
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				err := u.arrived(p.Packet.Packet())
				u.near.flush()
				return true, err
			}},
		},
	})
	if err != nil {
		u.become(Down, err.Error())
		return
	}
	<-manager.Done()
	u.exchange.end()
}

// dial is open for autopaho.
func (u *Uplink) dial(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	c, err := u.open(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// open makes one attempt.
func (u *Uplink) open(ctx context.Context) (*conn, error) {
	u.counts.attempts.Add(1)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	nc, err := u.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := newConn(nc, writeTimeout, u.near.flush)
	c.most = u.cfg.MaxPacket
	u.mu.Lock()
	u.line = c
	u.mu.Unlock()
	return c, nil
}

func (u *Uplink) connectPacket(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	if u.cfg.Username != "" {
		c.UsernameFlag, c.Username = true, u.cfg.Username
	}
	if u.cfg.Password != nil {
		password, err := u.cfg.Password()
		if err != nil {
			return nil, err
		}
		c.PasswordFlag, c.Password = true, password
	}
	if c.Properties == nil {
		c.Properties = &paho.ConnectProperties{}
	}
	most := u.near.receiveMaximum()
	c.Properties.ReceiveMaximum = &most
	size := u.cfg.maxPacket()
	c.Properties.MaximumPacketSize = &size
	return c, nil
}

// subscribe asks the far side for what may come in. Only then is the uplink up.
func (u *Uplink) subscribe(ctx context.Context, m *autopaho.ConnectionManager, line *conn) {
	var list []paho.SubscribeOptions
	known := make(map[string]bool)
	for i := range u.cfg.Rules {
		r := &u.cfg.Rules[i]
		if r.Direction&In == 0 || known[r.remote()] {
			continue
		}
		known[r.remote()] = true
		o := paho.SubscribeOptions{Topic: r.remote(), QoS: r.QoS, NoLocal: true, RetainAsPublished: r.Retain, RetainHandling: 2}
		if r.Retain {
			o.RetainHandling = 0 // what changed while this side was away comes as well
		}
		list = append(list, o)
	}
	for part := range slices.Chunk(list, filtersAtOnce) {
		ack, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: part})
		if ack != nil {
			for i, code := range ack.Reasons {
				if i < len(part) && code >= packets.SubackUnspecifiederror {
					err = fmt.Errorf("the far side refuses the subscription to %q: %v", part[i].Topic, wire.Reason(code))
				}
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				line.fail(err)
			}
			return
		}
		u.heard()
	}
	u.subscribed(line)
}

// subscribed says that the uplink is up, unless an answer must show that first.
func (u *Uplink) subscribed(line *conn) {
	box := u.exchange.current()
	if box == nil || box.line != line {
		return // it is over
	}
	box.doubt() // before a canary, whose answer may come at once
	if !u.prove(box) && box.shown() {
		u.becomeOn(line, Up, "")
	}
}

// lineWhy takes leave of a connection and says why this side has ended it, nil if
// it has not.
func (u *Uplink) lineWhy() error {
	u.mu.Lock()
	line := u.line
	u.line = nil
	u.mu.Unlock()
	if line == nil {
		return nil
	}
	line.once.Do(func() {}) // so that why is there to be read
	return line.why
}

// wording says what is wrong, the reason first that this side knows.
func (u *Uplink) wording(err error) string {
	if why := u.lineWhy(); why != nil {
		return why.Error()
	}
	var refused *autopaho.ConnackError
	if errors.As(err, &refused) {
		u.turnedDown(wire.Reason(refused.ReasonCode))
		why := "the far side refuses the connection: " + wire.Reason(refused.ReasonCode).String()
		if refused.Reason != "" {
			why += fmt.Sprintf(" (%q)", refused.Reason)
		}
		if wire.Reason(refused.ReasonCode) == wire.UnsupportedProtocolVersion {
			why += plainMend
		}
		return why
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	if cause := errors.Unwrap(err); cause != nil { // autopaho tells where it connects to, which is made up
		err = cause
	}
	return err.Error()
}

// watch sees to it that a connection on which nothing moves is given up, and
// begins again with the session when something was refused for now.
func (x *exchange) watch(box *outbox, c *conn, l limits) {
	u := x.up
	tick := time.NewTicker(u.cfg.AckTimeout / 8)
	defer tick.Stop()
	tried, was := false, uint64(0) // what was refused has been sent again, and how many had been acknowledged then
	for {
		select {
		case <-box.gone:
			return
		case <-tick.C:
		}
		open := u.prove(box)
		if u.renews() {
			c.fail(errRenewal)
			return
		}
		age, n := box.oldest()
		switch refused, drained := box.drained(); {
		case age > u.cfg.AckTimeout:
			c.fail(fmt.Errorf("the far side has not answered about a message for %v (%d are unanswered)", u.cfg.AckTimeout, n))
			return
		case drained:
			u.log.Warn("uplink: the far side refuses messages for now; they are sent again", "bridge", u.cfg.Name, "messages", refused)
			u.becomeOn(c, Stalled, "the far side refuses messages for now")
			if !u.rest(c) {
				return
			}
			tried, was = true, u.counts.acked.Load()
			if err := u.near.renew(box, l, box.release); err != nil {
				c.fail(err)
				return
			}
			box.Flush()
		case age > u.cfg.AckTimeout/2:
			u.becomeOn(c, Stalled, fmt.Sprintf("no answer about a message for %v", age.Round(time.Second)))
		default:
			u.mu.Lock()
			stalled := u.is.state == Stalled
			u.mu.Unlock()
			if tried && n > 0 && u.counts.acked.Load() == was { // it may refuse them again
				continue
			}
			if tried = false; !open && box.shown() || stalled && !box.doubtful() {
				u.becomeOn(c, Up, "")
			}
		}
	}
}

// rest waits before what was refused is sent again, longer each time. It
// reports false if the connection has ended meanwhile.
func (u *Uplink) rest(c *conn) bool {
	u.calm.down()
	timer := time.NewTimer(max(u.cfg.Backoff.Min, u.calm.next()))
	defer timer.Stop()
	select {
	case <-c.closed:
		return false
	case <-timer.C:
		u.calm.up()
		return true
	}
}
