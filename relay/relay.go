package relay

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/wire"
)

// Relay routes messages between sessions. All methods may be called from any
// goroutine.
type Relay struct {
	cfg     atomic.Pointer[Config] // see conf
	bus     *events.Bus
	log     *slog.Logger
	store   Store // nil: memory only
	rest    *rest.Rest
	started time.Time
	offset  time.Duration // of now, when the relay started

	subs     subscriptions
	routes   *routes
	flows    *flows
	forget   bool // Config.ForgetTopics
	ticker   ticker
	coarse   atomic.Uint32 // seconds, as of the last tick
	retained retained
	system   retained // what the broker says of itself, without bounds: see Tell

	house       house
	own         traffic // published by the broker itself, wills included
	delivery    deliveryTimes
	sizes       sizes
	dropped     [dropReasons]atomic.Uint64
	losses      ledger
	refused     atomic.Uint64
	expired     atomic.Uint64 // sessions whose client did not come back in time
	queuedBytes atomic.Int64  // of all sessions, unacknowledged messages included
	heldAgain   atomic.Int64  // of these, bodies that are there once and counted for each that holds them: see queued
	stuffed     atomic.Int64  // sessions whose queues are at a limit
	shed        shed
	closed      atomic.Bool
	pulse       pulse
	still       atomic.Bool // see Still

	slowed      atomic.Uint64
	setRetained func(m, old *Message) // records a retained message; nil without a store
	sessionIDs  atomic.Uint64         // the last number given to a session that the store knows
	failures    atomic.Uint64         // commits that have failed
	healed      atomic.Uint64         // of these, how many have no effect any more, since all was recorded anew
	purging     atomic.Bool           // a goroutine is about to look for messages that were not stored
	relieving   atomic.Bool           // messages are being taken out of memory
	loading     sync.Mutex            // guards shut, and loads against growing after it
	shut        bool
	loads       sync.WaitGroup // goroutines that read or write chunks
	moving      sync.RWMutex   // held for reading while messages are between two sessions
	bodies      sync.RWMutex   // guards where bodies lie: Message.ref, while it is read to be recorded

	mu       sync.Mutex // guards everything that follows
	sessions map[string]*Session
	ending   map[*Session]struct{} // have left sessions and are not in retired yet
	ports    map[*Port]struct{}    // have not ended
	retired  retiredTraffic
	sweeper  *time.Timer
}

// retiredTraffic is the traffic of sessions that have ended.
type retiredTraffic struct {
	received, sent Traffic
	books          books
	tally          tally // of connections
}

// sweepInterval is how often retained messages are looked through for expired
// ones, and the fronts of queues for what has waited too long. They are not sent
// after their time in any case; this frees memory.
const sweepInterval = time.Minute

// New returns a Relay that reports to bus. store may be nil; see Store.
func New(cfg Config, store Store, bus *events.Bus, log *slog.Logger) *Relay {
	r := &Relay{bus: bus, log: log, store: store, started: time.Now(), sessions: make(map[string]*Session), ports: make(map[*Port]struct{}), ending: make(map[*Session]struct{})}
	r.cfg.Store(&cfg)
	if r.rest = cfg.Rest; r.rest == nil {
		r.rest = rest.New()
	}
	r.flows, r.forget = newFlows(cfg.RouteCacheEntries), cfg.ForgetTopics
	r.coarse.Store(r.seconds())
	r.routes = newRoutes(&r.subs, r.flows, cfg.RouteCacheEntries)
	r.retained = retained{maxCount: cfg.MaxRetained, maxBytes: cfg.MaxRetainedBytes, now: r.now}
	r.system = retained{now: r.now}
	if store != nil {
		r.offset, r.subs.level = store.Clock(), store.Level
		r.setRetained, r.retained.replaced = r.recordRetained, r.replaced
	}
	r.mu.Lock()
	r.sweeper = time.AfterFunc(r.rest.Until(sweepInterval), r.sweep)
	r.mu.Unlock()
	return r
}

// now is the time by which things expire: that of the store, or since the
// relay started. It goes by the monotonic clock: setting the wall clock expires
// nothing.
func (r *Relay) now() time.Duration { return r.offset + time.Since(r.started) }

// expiresAt turns a message expiry interval into a point in time.
func (r *Relay) expiresAt(seconds uint32) time.Duration {
	return max(1, r.now()+time.Duration(seconds)*time.Second)
}

func (r *Relay) sweep() {
	r.retained.sweep()
	r.expireWaiting()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed.Load() {
		r.sweeper.Reset(r.rest.Until(sweepInterval))
	}
}

// background runs f on a goroutine of its own, for which Close waits; after
// Close it does nothing.
func (r *Relay) background(f func()) {
	r.loading.Lock()
	defer r.loading.Unlock()
	if !r.shut {
		r.loads.Go(f)
	}
}

// Close stops the relay's timers. Sessions are not ended and wills that wait
// are not published: the broker stops, its clients have not failed.
func (r *Relay) Close() {
	r.loading.Lock()
	r.shut = true
	r.loading.Unlock()
	defer r.loads.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed.Store(true)
	r.sweeper.Stop()
	r.ticker.stop()
	for _, s := range r.sessions {
		s.mu.Lock()
		s.stopTimersLocked()
		s.mu.Unlock()
	}
}

// Open makes a Port for a connection whose CONNECT was accepted: on the
// session of that client identifier if there is one and the client wants it
// to go on, else on a new one. The earlier connection of the same client must
// have ended; Ports of one client identifier are opened one after the other.
// The error is ErrSessions or ErrNotOwner, and then nothing has changed.
func (r *Relay) Open(c Connect) (*Port, error) {
	if !c.Standing {
		c.Expiry = min(c.Expiry, r.longestExpiry())
	}
	p := &Port{connect: c, told: r.conf()}
	p.publisher = publisher{relay: r, id: c.ClientID, source: newSource(c.ClientID, c.Username, c.Remote), version: c.Version, access: access{c.Access}}

	if !c.Standing && strings.HasPrefix(c.ClientID, StandingPrefix) {
		return nil, ErrNotOwner
	}
	r.mu.Lock()
	s := r.sessions[c.ClientID]
	if s != nil && !s.belongsTo(c.Owner) {
		r.mu.Unlock()
		return nil, ErrNotOwner
	}
	if most := r.conf().MaxSessions; s == nil && c.Expiry > 0 && !c.Standing && most > 0 && len(r.sessions) >= most {
		r.mu.Unlock()
		return nil, ErrSessions
	}
	var old *Session
	if s != nil && c.CleanStart { // [MQTT-3.1.2-4]
		old, s = s, nil
		r.ending[old] = struct{}{}
	}
	p.present = s != nil
	if s == nil {
		s = &Session{relay: r, id: c.ClientID, created: time.Now()}
		r.sessions[c.ClientID] = s
	}
	p.session = s
	r.ports[p] = struct{}{}
	s.mu.Lock()
	s.stopTimersLocked()
	s.carried = nil
	s.dropWillLocked() // [MQTT-3.1.3-9] the client is back before it was due
	s.port = p
	s.opened++
	p.serial = s.opened
	s.live.Store(nil)
	s.window.current = 0
	s.starved.Store(false)
	s.holding = false
	s.username, s.owner, s.subject = c.Username, c.Owner, c.Subject
	moved := s.setAccessLocked(c.Access)
	s.rules.Store(r.rulesFor(c.ClientID, c.Username))
	s.weighLocked()
	s.expiry.Store(c.Expiry)
	s.queued0.Store(int32(s.queue.n0))
	s.termsLocked(true)
	catchUp := s.catchUpLocked()
	s.scanLocked()
	s.mu.Unlock()
	r.mu.Unlock()
	if moved {
		r.subs.moved()
	}
	if catchUp != nil {
		r.store.Commit(r.store.Level(""), catchUp)
	}

	if old != nil {
		known := old.recorded.Load() != 0
		old.end()
		if known { // it must not come back after the client has been told that it is gone
			r.await()
		}
	}
	return p, nil
}

// Why Open refuses.
var (
	// ErrSessions: the session would be new and kept, and there are
	// Config.MaxSessions already. Sessions that end with their connection take
	// a connection's place only.
	ErrSessions = errors.New("no room for another kept session")
	// ErrNotOwner: the session belongs to another identity.
	ErrNotOwner = errors.New("the client identifier is another identity's")
)

// belongsTo reports whether owner may have the session. One that nobody has
// proven to own may be claimed.
func (s *Session) belongsTo(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner == "" || s.owner == owner
}

// await waits until what has been recorded is as safe as sessions are, or the
// store has failed.
func (r *Relay) await() {
	w := make(awaited)
	r.store.Commit(r.store.Level(""), w)
	<-w
}

// awaited is a Done that is closed when it is told.
type awaited chan struct{}

// Committed implements Done.
func (w awaited) Committed(error) { close(w) }

// End tells how a Port's connection ended.
type End struct {
	// Will publishes the will: the client has not said DISCONNECT with
	// reason code 0. [MQTT-3.1.2-8]
	Will bool
	// Expiry is the session expiry interval of the client's DISCONNECT, nil
	// if it sent none (section 3.14.2.2.2 of MQTT 5).
	Expiry *uint32
}

// End gives the session up. It must be called once for each Port, after the
// last Receive and Flush have returned; only the first call counts. What was
// received and not flushed is delivered: the client has sent it, and other
// publishers rely on the flush that this one has promised.
func (p *Port) End(e End) {
	s := p.session
	s.mu.Lock()
	if s.port == p {
		s.live.Store(nil) // what is settled now makes room for nothing
	}
	s.mu.Unlock()
	defer p.leave(e)
	p.giveUpHeld()
	p.concludeHolding()
	p.closeBooks()
}

// closeBooks keeps the counts of a connection that has ended.
func (p *Port) closeBooks() {
	r := p.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.ports[p]; open {
		delete(r.ports, p)
		r.retired.tally.add(&p.tally)
	}
}

func (p *Port) leave(e End) {
	s, r := p.session, p.relay
	s.mu.Lock()
	owned := s.detachLocked(p)
	if owned && e.Expiry != nil {
		s.expiry.Store(min(*e.Expiry, r.longestExpiry()))
		s.termsLocked(false)
	}
	if owned {
		s.detached = r.now()
		s.recordLocked(Change{Kind: Detached, Clock: s.detached})
	}
	expiry := s.expiry.Load()
	will := p.connect.Will
	if !e.Will {
		will = nil
	}
	p.connect.Will = nil
	keep := owned && expiry > 0
	timed := !r.closed.Load()
	serial := p.serial                                                // timers must not keep p, and its connection, for as long as the session
	if keep && will != nil && will.Delay > 0 && r.roomForWill(will) { // [MQTT-3.1.3-9]
		delay := min(will.Delay, expiry)
		s.setWillLocked(will)
		s.willAccess, will = p.access, nil
		s.willDue = r.now() + time.Duration(delay)*time.Second
		s.recordLocked(Change{Kind: WillWaits, Will: s.will, Clock: s.willDue})
		if timed {
			s.willing = time.AfterFunc(time.Duration(delay)*time.Second, func() { s.publishDelayed(serial) })
		}
	}
	if keep && timed && expiry != wire.NoExpiry {
		s.expiring = time.AfterFunc(time.Duration(expiry)*time.Second, func() { r.expire(s, serial) })
	}
	s.mu.Unlock()

	if will != nil {
		r.publishWill(p.id, p.connect.Username, will, p.access)
	}
	if owned && !keep {
		r.remove(s, p.serial)
	}
}

// longestExpiry caps the session expiry intervals of clients, in seconds.
func (r *Relay) longestExpiry() uint32 {
	if limit := r.conf().MaxSessionExpiry; limit > 0 {
		return uint32(min(limit/time.Second, wire.NoExpiry))
	}
	return wire.NoExpiry
}

// publishDelayed publishes the will when its delay has passed and the Port
// that left it is still the last.
func (s *Session) publishDelayed(last uint64) {
	s.mu.Lock()
	var will *wire.Will
	by, username := s.willAccess, s.username
	if s.opened == last {
		will = s.will
		s.setWillLocked(nil)
	}
	s.mu.Unlock()
	if will == nil {
		return
	}
	s.relay.publishWill(s.id, username, will, by)
	s.mu.Lock()
	if s.will == nil { // not before it is recorded what became of it
		s.recordLocked(Change{Kind: WillGone})
	}
	s.mu.Unlock()
}

func (s *Session) dropWillLocked() {
	if s.will != nil {
		s.setWillLocked(nil)
		s.recordLocked(Change{Kind: WillGone})
	}
}

// remove takes s out of the sessions and ends it, if it has no connection and
// has had none since the Port whose serial is last. It reports whether it did.
func (r *Relay) remove(s *Session, last uint64) bool {
	r.mu.Lock()
	s.mu.Lock()
	gone := r.sessions[s.id] == s && s.port == nil && s.opened == last
	s.mu.Unlock()
	if gone {
		delete(r.sessions, s.id)
		r.ending[s] = struct{}{}
	}
	r.mu.Unlock()
	if gone {
		s.end()
	}
	return gone
}

// expire is remove for a session whose time has passed.
func (r *Relay) expire(s *Session, last uint64) {
	if r.remove(s, last) {
		r.expired.Add(1)
	}
}

// retire keeps the counts of a session that has ended.
func (r *Relay) retire(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ending, s)
	r.retired.received.accumulate(&s.received)
	r.retired.sent.accumulate(&s.sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.retired.books.add(&s.books)
}
