package bridge

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Canary says how an uplink shows, when it has been silent, that messages still
// get to the far side: by one that is for nobody, or to NATS by a question. Any
// answer to it will do, a refusal as well.
type Canary struct {
	Every time.Duration // for how long no message was answered; 0: there are no canaries
	Topic string        // on the far side; of no use with NATS
}

// Trip is a message, or a canary, that was answered.
type Trip struct {
	At   time.Time     // when it was answered; zero: none was since the uplink was made
	Took time.Duration // from when it was written to its answer
}

// trips notes the last Trip.
type trips struct{ at, took atomic.Int64 }

// tripped notes an answer to what was written at a time of u.now.
func (u *Uplink) tripped(written int64) {
	now := u.now()
	u.trips.took.Store(now - written)
	u.trips.at.Store(now)
}

func (u *Uplink) trip() (t Trip) {
	if at := u.trips.at.Load(); at != 0 {
		t = Trip{u.started.Add(time.Duration(at)), time.Duration(u.trips.took.Load())}
	}
	return t
}

// canary is the state of an uplink's canaries to a broker. A canary is queued in
// the session like any message, and so has a packet identifier and a place in
// the window of the far side; but it goes on the connection that it is made for,
// or not at all.
type canary struct {
	local string // topic in this broker

	mu      sync.Mutex
	box     *outbox // of the connection that one is made for; nil: none is on its way
	hangups int     // connections in a row that have ended at it
	rests   int64   // by now: until then there are none
	note    string  // what the far side has against them
	sent    atomic.Uint64
}

const (
	canarySuffix  = "/canary"
	canaryHangups = 3  // after so many connections that have ended at one
	canaryRest    = 12 // there are none for so many times Every
)

// silent reports whether a canary is due.
func (u *Uplink) silent() bool {
	every, now, at := u.cfg.Canary.Every, u.now(), u.trips.at.Load()
	if every == 0 || at != 0 && time.Duration(now-at) < every {
		return false
	}
	u.canary.mu.Lock()
	defer u.canary.mu.Unlock()
	return now >= u.canary.rests
}

// prove sends a canary by box if one is due and nothing else waits. It reports
// whether an answer, to that or to another message, is yet to show that the far
// side takes messages.
func (u *Uplink) prove(box *outbox) (open bool) {
	if box.accepts.maxQoS == 0 || !u.silent() {
		return false
	}
	info, _, _ := u.near.relay.Session(u.near.id)
	if info.Queued+info.Inflight > 0 {
		return true
	}
	u.canary.mu.Lock()
	on := u.canary.box == box
	u.canary.box = box
	u.canary.mu.Unlock()
	if on && box.flies() {
		return true
	}
	err := u.near.relay.Publish(relay.Outgoing{Topic: u.canary.local, QoS: 1, Expiry: uint32(u.cfg.Canary.Every/time.Second) + 1}, nil)
	if err != nil {
		u.log.Error("uplink: a canary cannot be queued", "bridge", u.cfg.Name, "error", err)
	}
	return err == nil
}

// flies reports whether a canary has not been answered.
func (o *outbox) flies() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.canary != 0
}

// takeCanary sends d if it is for this connection.
func (o *outbox) takeCanary(d relay.Delivery) {
	u := o.up
	u.canary.mu.Lock()
	mine := u.canary.box == o
	u.canary.mu.Unlock()
	if !mine || d.Dup || d.QoS == 0 || o.flies() {
		o.settle(d)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.canary = d.PacketID
	o.buf = wire.AppendPublish(o.buf, &wire.Out{Version: o.version(), QoS: 1, Topic: []byte(u.cfg.Canary.Topic)}, d.PacketID)
	o.flewLocked(d.PacketID, d.Message, 0)
	u.canary.sent.Add(1)
}

// canaryAnswered takes what the far side says of a canary.
func (u *Uplink) canaryAnswered(r wire.Reason) {
	u.canary.mu.Lock()
	defer u.canary.mu.Unlock()
	u.canary.box, u.canary.hangups, u.canary.note = nil, 0, ""
	if r >= wire.UnspecifiedError {
		u.canary.note = "the far side answers canaries, and refuses them: " + r.String()
	}
}

// canaryEnded takes note that box is over, and whether the far side has ended it
// while nothing but a canary was to be answered.
func (u *Uplink) canaryEnded(box *outbox, hungUp bool) {
	c := &u.canary
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == box {
		c.box = nil
	}
	if !hungUp {
		return
	}
	if c.hangups++; c.hangups < canaryHangups {
		return
	}
	c.hangups = 0
	rest := canaryRest * u.cfg.Canary.Every
	c.rests = u.now() + int64(rest)
	c.note = "the far side ends the connection at canaries: there are none for " + rest.String() + "; set canary.topic to one that this client may publish to, or canary.enabled to false"
	u.log.Warn("uplink: the far side ends the connection at canaries", "bridge", u.cfg.Name, "topic", u.cfg.Canary.Topic, "none_for", rest)
}

func (u *Uplink) canaryNote() string {
	u.canary.mu.Lock()
	defer u.canary.mu.Unlock()
	return u.canary.note
}

// shown reports whether this is the first answer that shows that the far side takes
// messages, where there was a doubt.
func (o *outbox) shown() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open || o.held {
		return false
	}
	o.open = false
	return true
}

// doubt says that nothing shows yet that the far side takes messages.
func (o *outbox) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = true
}

// doubtful reports whether that is so.
func (o *outbox) doubtful() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}
