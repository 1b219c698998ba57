package relay

import (
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// Policy says what a session that has no room does with a new message.
type Policy byte

const (
	// DropOldest makes room by dropping from the front of the queue: the
	// newest state of the plant survives.
	DropOldest Policy = iota
	// DropNewest drops the message that does not fit: the history survives.
	DropNewest
	// Refuse does not take on a message from its publisher while the session,
	// if the store knows it, has no room. Others drop the oldest.
	Refuse
)

// Config holds the limits of a Relay. The zero value is not useful; start
// from DefaultConfig.
type Config struct {
	MaxInflight       int           // QoS>0 messages sent to a client and not yet acknowledged, per session
	ReceiveMaximum    uint16        // QoS>0 publishes of a v5 client not yet acknowledged [MQTT-3.3.4-7]
	MaxTopicAlias     uint16        // topic aliases a v5 client may define per connection
	MaxTopicLevels    int           // levels of a topic name or filter
	MaxOutbound       int           // bytes waiting in a Link beyond which QoS 0 to it is dropped; as many of QoS 0 may wait in its queue
	MaxSubscriptions  int           // of a session; 0: no limit
	FlushBytes        int           // appended to all links by one publisher before they are flushed, at the end of a run; 0: no limit
	MaxFilterBytes    int64         // memory that the subscriptions of a session may take
	TotalFilterBytes  int64         // memory that those of all sessions may take; 0: no limit
	Queue             QueueRules    // of a session, if there is no QueueFor
	TotalQueuedBytes  int64         // their size, all sessions, large bodies once; a quarter is kept for those that hold under 1/128
	SpillBytes        int64         // messages of a session beyond which further ones are kept in the store only, if there is one
	RefuseWait        time.Duration // how long a 3.x client is held back that cannot be told so, before it is disconnected
	Rate              Rate          // of publishes, per client
	MaxSessions       int           // sessions beyond which no new one is made that would be kept; 0: no limit
	MaxSessionExpiry  time.Duration // cap on how long a session is kept without a connection; 0: no cap
	MaxRetained       int           // retained messages
	MaxRetainedBytes  int64         // their size
	RouteCacheEntries int           // topics whose targets and publishers are remembered; the targets of up to four times as many, if these are few
	ForgetTopics      bool          // do not remember who publishes on which topics, and how much

	// AccessOf, if not nil, makes an Access for a session that was recovered,
	// until its client connects.
	AccessOf func(Terms) Access

	// OutboundRoom, if not nil, tells how many bytes of memory are left for what
	// waits in all Links. No more than that may wait in one of them before QoS 0
	// to it is dropped. It must be cheap and safe for concurrent use.
	OutboundRoom func() int64

	// QueueFor, if not nil, is asked for the rules of a session whenever its
	// client connects. It must be cheap and safe for concurrent use, and what
	// it returns must not change afterwards.
	QueueFor func(clientID, username string) *QueueRules

	// Rest is stirred by whatever publishes; nil for one that nobody else has. It is
	// that of New for as long as the Relay lives.
	Rest *rest.Rest
}

// QueueRules bound the queue of a session.
type QueueRules struct {
	MaxQueued      int    // messages waiting
	MaxQueuedBytes int64  // their size
	WhenFull       Policy // what gives way when the queue is full
}

// conf is the Config in force.
func (r *Relay) conf() *Config { return r.cfg.Load() }

// Reconfigure puts cfg in force, for sessions that are there, too. What is told
// clients in CONNACK, ReceiveMaximum and MaxTopicAlias, and MaxInflight count
// from a client's next connection on. What is beyond a bound that has become
// lower stays until it goes by itself. RouteCacheEntries and ForgetTopics stay as they were.
func (r *Relay) Reconfigure(cfg Config) {
	r.cfg.Store(&cfg)
	r.retained.bound(cfg.MaxRetained, cfg.MaxRetainedBytes)
	for _, s := range r.all() {
		s.mu.Lock()
		s.rules.Store(r.rulesFor(s.id, s.username))
		if !s.ended.Load() {
			s.weighLocked()
		}
		s.mu.Unlock()
	}
	r.subs.moved() // the levels of topics are counted when a route is made
}

func (r *Relay) rulesFor(clientID, username string) *QueueRules {
	c := r.conf() // once: the next may have no QueueFor any more
	if c.QueueFor != nil {
		return c.QueueFor(clientID, username)
	}
	return &c.Queue
}

// DefaultConfig returns limits for a gateway with 256 MB of memory.
func DefaultConfig() Config {
	return Config{
		MaxInflight:       256,
		ReceiveMaximum:    1024,
		MaxTopicAlias:     32,
		MaxTopicLevels:    128,
		MaxOutbound:       1 << 20,
		MaxFilterBytes:    16 << 20,
		Queue:             QueueRules{MaxQueued: 100_000, MaxQueuedBytes: 16 << 20, WhenFull: DropOldest},
		TotalQueuedBytes:  64 << 20,
		SpillBytes:        512 << 10,
		RefuseWait:        10 * time.Second,
		MaxSessions:       20_000,
		MaxSessionExpiry:  7 * 24 * time.Hour,
		MaxRetained:       100_000,
		MaxRetainedBytes:  64 << 20,
		RouteCacheEntries: 4096,
	}
}
