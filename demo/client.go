package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// answerWait bounds connecting, and each write.
const answerWait = 10 * time.Second

// client is one MQTT client: a device, or somebody who looks. It connects again
// whenever it has lost its connection, and does what MQTT asks of it: it sends
// again what was not acknowledged, in order, and takes a QoS 2 message once.
type client struct {
	id, user, password string
	version            wire.Version
	kept               bool          // its session outlives its connections
	keepAlive          time.Duration // 0: it sends no pings
	will               *wire.Will
	filters            []wire.Filter
	address            func() string
	retry              time.Duration
	arrived            func(m *wire.Delivery) // of each message, in order; it must not call c
	connected          func() []outgoing      // what to publish when a connection begins; nil: nothing

	mu       sync.Mutex // guards what follows; no frame is handled and none sent without it
	link     *link.Link // nil: not connected
	ready    bool       // it has subscribed
	leaving  bool       // DISCONNECT has been sent, or is the next to be
	hold     chan struct{}
	silent   bool // see vanish
	expected bool // the connection will break, and not by chance
	pending  []*pending
	halves   map[uint16]bool // received at QoS 2, not yet released
	lastID   uint16
	counts   counts
	failure  error // what ends the demo: a subscription was refused
	ended    chan struct{}
}

// outgoing is a message to be published.
type outgoing struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
}

// pending is a message on its way to the broker.
type pending struct {
	outgoing
	id    uint16
	taken bool // QoS 2: PUBREC has come, PUBREL is due
	sent  bool // on the connection there is
}

// counts is what a client has counted, in PUBLISH packets.
type counts struct {
	sent    uint64 // by it, those that were sent again included
	limbo   uint64 // of these, those without an answer when the connection broke: only the broker knows
	refused uint64 // of these, those that the broker has refused
	read    uint64 // sent to it
	again   uint64 // of these, those marked as sent before
	broken  int    // connections that ended by chance
}

// start lets c connect, until leave or the end of ctx.
func (c *client) start(ctx context.Context) {
	ended := make(chan struct{})
	c.mu.Lock()
	c.leaving, c.ended = false, ended
	c.mu.Unlock()
	go func() {
		defer close(ended)
		for ctx.Err() == nil && !c.left() {
			_ = c.once(ctx) // it broke, or the broker is not there: try again
			if c.left() {
				return
			}
			_ = pause(ctx, c.retry)
		}
	}()
}

func (c *client) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving || c.failure != nil
}

// up reports whether c is connected and has subscribed.
func (c *client) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil && c.ready
}

// failed is why c has given up, or nil.
func (c *client) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// idle reports whether everything that c has published has been answered.
func (c *client) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 0
}

func (c *client) count() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// expectBreak says that the connection there is will end.
func (c *client) expectBreak() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = c.link != nil
}

// once lives through one connection.
func (c *client) once(ctx context.Context) error {
	con := wire.Connect{
		Version: c.version, ClientID: c.id, CleanStart: !c.kept, KeepAlive: uint16(c.keepAlive / time.Second), Will: c.will,
		HasUsername: c.user != "", Username: c.user, HasPassword: c.password != "", Password: []byte(c.password),
	}
	if c.kept && c.version == wire.V5 {
		con.SessionExpiry = 3600
	}
	l, ack, err := link.Open(ctx, c.address(), &con, answerWait)
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	stop := context.AfterFunc(ctx, func() { l.Conn.Close() })
	defer stop()
	if err := c.begin(l, ack.SessionPresent); err != nil {
		return err
	}
	gone := make(chan struct{})
	var pings sync.WaitGroup
	if c.keepAlive > 0 {
		pings.Go(func() { c.ping(l, gone) })
	}
	err = c.listen(ctx, l)
	close(gone)
	l.Conn.Close()
	pings.Wait()
	c.end()
	return err
}

// begin takes l over, and says what is to be said on a new connection.
func (c *client) begin(l *link.Link, present bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return l.Write(wire.AppendDisconnect(nil, c.version, wire.Success, ""))
	}
	c.link, c.ready = l, present || len(c.filters) == 0
	if !present {
		c.halves = nil
	}
	var out []byte
	if !c.ready {
		out = wire.AppendSubscribe(out, c.version, &wire.Subscribe{PacketID: 0xFFFF, Filters: c.filters}) // an identifier that no message has
	}
	for _, p := range c.pending {
		p.taken = p.taken && present
		if p.taken {
			out = wire.AppendAck(out, wire.PUBREL, c.version, p.id, wire.Success)
			continue
		}
		out = c.appendLocked(out, p, present && p.sent)
	}
	if c.connected != nil {
		for _, m := range c.connected() {
			out = c.appendLocked(out, c.enterLocked(m), false)
		}
	}
	return l.Write(out)
}

// end notes what the end of a connection leaves open.
func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return
	}
	c.link = nil
	for _, p := range c.pending {
		if p.sent && !p.taken {
			c.counts.limbo++
		}
	}
	if !c.leaving && !c.expected {
		c.counts.broken++
	}
	c.expected = false
}

func (c *client) enterLocked(m outgoing) *pending {
	c.lastID = c.lastID%60000 + 1
	p := &pending{outgoing: m, id: c.lastID}
	c.pending = append(c.pending, p)
	return p
}

// appendLocked encodes p, and counts it as sent.
func (c *client) appendLocked(out []byte, p *pending, dup bool) []byte {
	p.sent = true
	c.counts.sent++
	return wire.AppendPublish(out, &wire.Out{Version: c.version, QoS: p.qos, Dup: dup, Retain: p.retain, Topic: []byte(p.topic), Payload: p.payload}, p.id)
}

// publish sends a message, and reports whether it did. At QoS 1 and 2 it always
// does, in the end.
func (c *client) publish(m outgoing) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	able := c.link != nil && !c.leaving && !c.silent
	if m.qos == 0 {
		if !able {
			return false
		}
		return c.link.Write(c.appendLocked(nil, &pending{outgoing: m}, false)) == nil
	}
	p := c.enterLocked(m)
	if able {
		_ = c.link.Write(c.appendLocked(nil, p, false)) // if it is broken, its reader notices
	}
	return true
}

// ping keeps the connection alive until gone is closed.
func (c *client) ping(l *link.Link, gone <-chan struct{}) {
	tick := time.NewTicker(c.keepAlive / 2)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return
		case <-tick.C:
		}
		c.mu.Lock()
		if !c.silent && !c.leaving {
			_ = l.Write(wire.AppendPing(nil, wire.PINGREQ))
		}
		c.mu.Unlock()
	}
}

// listen handles what comes until the connection ends.
func (c *client) listen(ctx context.Context, l *link.Link) error {
	for {
		f, err := l.Read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !c.held(ctx) {
				return err
			}
		case err != nil:
			return err
		default:
			if err := c.handle(l, f); err != nil {
				return err
			}
		}
	}
}

// held waits while c does not read, and reports whether it then does again.
func (c *client) held(ctx context.Context) bool {
	c.mu.Lock()
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dead := c.silent
	c.silent = false
	return !dead && ctx.Err() == nil
}

// stall makes c read nothing more, until resume.
func (c *client) stall() { c.stop(false) }

// vanish makes c do nothing more, as without power: it neither reads nor writes,
// and nobody is told. After resume it connects anew.
func (c *client) vanish() { c.stop(true) }

func (c *client) stop(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold != nil || c.link == nil {
		return
	}
	c.hold, c.silent, c.expected = make(chan struct{}), silent, silent
	_ = c.link.Conn.SetReadDeadline(time.Unix(1, 0))
}

// resume ends stall and vanish.
func (c *client) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold == nil {
		return
	}
	if c.link != nil && !c.silent {
		_ = c.link.Conn.SetReadDeadline(time.Time{})
	}
	close(c.hold)
	c.hold = nil
}

// leave says goodbye, and returns when the broker has closed the connection, too.
// What the broker sends meanwhile is not taken, so that it is sent again.
func (c *client) leave(ctx context.Context) error {
	c.resume()
	c.mu.Lock()
	c.leaving = true
	if c.link != nil {
		_ = c.link.Write(wire.AppendDisconnect(nil, c.version, wire.Success, ""))
	}
	ended := c.ended
	c.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handle takes a frame from the broker.
func (c *client) handle(l *link.Link, f wire.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Type {
	case wire.PUBLISH:
		return c.takeLocked(l, f)
	case wire.SUBACK:
		_, codes, err := wire.DecodeSuback(f, c.version)
		if err != nil {
			return err
		}
		for i, code := range codes {
			if code >= wire.UnspecifiedError && i < len(c.filters) {
				c.failure = fmt.Errorf("%s may not subscribe to %s: %v", c.id, c.filters[i].Filter, code)
				return c.failure
			}
		}
		c.ready = true
	case wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		id, reason, err := wire.DecodeAck(f, c.version)
		if err != nil {
			return err
		}
		if answer := c.settleLocked(f.Type, id, reason); answer != nil && !c.leaving {
			return l.Write(answer)
		}
	}
	return nil
}

func (c *client) takeLocked(l *link.Link, f wire.Frame) error {
	d, err := wire.DecodeDelivery(f, c.version)
	if err != nil {
		return err
	}
	c.counts.read++
	if d.Dup {
		c.counts.again++
	}
	if c.leaving { // it cannot be acknowledged any more, so it is not taken
		return nil
	}
	if !c.halves[d.PacketID] && c.arrived != nil {
		c.arrived(&d)
	}
	switch d.QoS {
	case 1:
		return l.Write(wire.AppendAck(nil, wire.PUBACK, c.version, d.PacketID, wire.Success))
	case 2:
		if c.halves == nil {
			c.halves = make(map[uint16]bool)
		}
		c.halves[d.PacketID] = true
		return l.Write(wire.AppendAck(nil, wire.PUBREC, c.version, d.PacketID, wire.Success))
	}
	return nil
}

// settleLocked carries an acknowledgement out, and returns the answer to it.
func (c *client) settleLocked(t wire.Type, id uint16, reason wire.Reason) []byte {
	if t == wire.PUBREL {
		delete(c.halves, id)
		return wire.AppendAck(nil, wire.PUBCOMP, c.version, id, wire.Success)
	}
	for i, p := range c.pending {
		if p.id != id {
			continue
		}
		bad := reason >= wire.UnspecifiedError
		if bad && t != wire.PUBCOMP {
			c.counts.refused++
		}
		if t == wire.PUBREC && !bad {
			p.taken = true
			return wire.AppendAck(nil, wire.PUBREL, c.version, id, wire.Success)
		}
		c.pending = append(c.pending[:i], c.pending[i+1:]...)
		return nil
	}
	if t == wire.PUBREC && reason < wire.UnspecifiedError { // of an exchange that is over here
		return wire.AppendAck(nil, wire.PUBREL, c.version, id, wire.Success)
	}
	return nil
}

// pause waits for d, or until ctx ends, which is then the error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
