package bridge

import (
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// State is how an uplink is.
type State string

const (
	Connecting State = "connecting" // it has not been up since it was started, or resumed
	Up         State = "up"         // the far side answers
	Stalled    State = "stalled"    // it is connected, and has not answered about a message for half of AckTimeout or refuses some for now
	Down       State = "down"       // it was up; it tries again and again
	Paused     State = "paused"     // until somebody resumes it
)

// Status describes an uplink at one instant.
type Status struct {
	Name, URL, ClientID string
	State               State
	Why                 string // what is wrong, unless it is up
	Since               time.Time
	LastError           string
	LastErrorAt         time.Time
	LastHeard           time.Time // when the far side last answered about a message, or let one in
	LastTrip            Trip
	Canaries            uint64 // sent since it was started
	CanaryNote          string // what the far side has against canaries; empty: nothing
	Attempts            uint64 // to connect, since it was started
	Connects            uint64 // of these, those that succeeded

	Queued       int   // messages that wait here
	QueuedBytes  int64 // their size, those in flight included
	InFlight     int   // sent, and not acknowledged
	Unanswered   time.Duration
	Sent         uint64
	SentBytes    uint64 // of payloads
	Acked        uint64
	Retried      uint64 // of Sent, those that may have been sent before
	Duplicates   uint64 // of Sent, those that the far side says it had: a stream of NATS does, others do not say
	Received     uint64
	Repeated     uint64       // of Received, those that the far side may have sent before
	ReceivedSize uint64       // bytes of payloads
	Overrun      uint64       // that came faster than they were taken in, and were lost: core NATS does not wait
	Dead         int          // dead letters that wait for somebody to decide
	Refused      uint64       // that the far side does not want, or that cannot be sent to it
	Loops        uint64       // that had passed this broker before
	Dropped      uint64       // by the limits of its queue, expiry and the like
	Events       *EventCounts // nil unless it is in event mode
}

type counts struct {
	attempts, connects                       atomic.Uint64
	sent, sentBytes, acked, retried, refused atomic.Uint64
	received, receivedBytes, loops           atomic.Uint64
	duplicates, repeated, overrun            atomic.Uint64
}

// condition is what changes with the state. Uplink's mu guards it.
type condition struct {
	state   State
	why     string
	since   time.Time
	lastErr string
	errAt   time.Time
}

// become changes the state, and tells of it if it is another.
func (u *Uplink) become(s State, why string) { u.becomeOn(nil, s, why) }

// becomeOn is become for what goes for one connection: nothing changes when
// that, if not nil, is over.
func (u *Uplink) becomeOn(line *conn, s State, why string) {
	u.mu.Lock()
	if line != nil && u.line != line {
		u.mu.Unlock()
		return
	}
	changed := u.is.state != s || u.is.why != why && s != Up
	if u.is.state != s {
		u.is.since = time.Now()
	}
	u.is.state, u.is.why = s, why
	if why != "" && s != Paused {
		u.is.lastErr, u.is.errAt = why, time.Now()
	}
	u.mu.Unlock()
	if !changed {
		return
	}
	u.log.Info("uplink", "bridge", u.cfg.Name, "state", string(s), "why", why)
	u.bus.Publish(events.New(events.Bridge, events.Source, events.BridgeData{Bridge: u.cfg.Name, URL: u.cfg.URL, State: string(s), Why: why}))
}

// Status reads how the uplink is.
func (u *Uplink) Status() Status {
	c := &u.counts
	st := Status{Name: u.cfg.Name, URL: u.cfg.URL, ClientID: u.cfg.ClientID,
		Attempts: c.attempts.Load(), Connects: c.connects.Load(), Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), Acked: c.acked.Load(), Retried: c.retried.Load(),
		Duplicates: c.duplicates.Load(), Repeated: c.repeated.Load(),
		Received: c.received.Load(), ReceivedSize: c.receivedBytes.Load(), Refused: c.refused.Load(), Loops: c.loops.Load(), Overrun: c.overrun.Load()}
	u.mu.Lock()
	st.State, st.Why, st.Since = u.is.state, u.is.why, u.is.since
	st.LastError, st.LastErrorAt = u.is.lastErr, u.is.errAt
	u.mu.Unlock()
	if at := u.heardAt.Load(); at != 0 {
		st.LastHeard = u.started.Add(time.Duration(at))
	}
	st.LastTrip, st.Canaries, st.CanaryNote = u.trip(), u.canary.sent.Load(), u.canaryNote()
	if u.cfg.Of == "" {
		st.Dead = u.dead.count()
	}
	if info, _, ok := u.near.relay.Session(u.near.id); ok {
		st.Queued, st.QueuedBytes, st.Dropped = info.Queued, info.QueuedBytes, info.Dropped
		st.InFlight = info.Inflight
	}
	st.Unanswered = u.far.unanswered()
	if f, ok := u.far.(*natsFar); ok && u.saysWhoComes() {
		n := f.control.counts()
		st.Events = &n
	}
	return st
}
