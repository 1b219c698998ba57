package relay

// ChangeKind names what a Change does to the state that must survive.
type ChangeKind byte

const (
	// Enqueued: Message waits in the queue of Session.
	Enqueued ChangeKind = iota + 1
	// Received: Session has received PacketID at QoS 2 and not released it.
	Received
	// Released: Session has released PacketID (PUBREL).
	Released
	// Acked: the client of Session has acknowledged Message in full.
	Acked
	// Retained: Message is its topic's retained message; with an empty
	// payload the topic has none.
	Retained
	// Subscribed and Unsubscribed: Session holds, or no longer holds, Filter.
	Subscribed
	Unsubscribed
)

// Change is one step of the state that must survive a crash.
type Change struct {
	Kind     ChangeKind
	Session  string
	PacketID uint16
	Message  *Message
	Filter   Subscription
}

// Done is told, once, what became of a Commit. A nil error means that the
// changes are kept. It may be called on any goroutine, also before Commit
// returns, but not before the Done of any Commit that had returned before this
// one was called: a client that reconnects is not to be told that a message is
// kept which it has sent on the earlier connection.
type Done interface {
	Committed(err error)
}

// Store keeps session state beyond the process. A Relay without a Store keeps
// everything in memory and acknowledges at once.
//
// Commit must not block and must not keep changes after it has told done. It
// is called by many goroutines. What an acknowledgement promises is in the
// same Commit as the acknowledgement waits for.
type Store interface {
	Commit(changes []Change, done Done)
}
