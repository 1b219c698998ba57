package relay

import (
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Store keeps session state and retained messages beyond the process. A Relay
// without one keeps everything in memory and acknowledges at once.
//
// Record, Hold and Release are called under the relay's locks, by many
// goroutines, once for each step and in the order in which the steps take
// effect on a session or topic. They must not block, call back, or keep what
// they are given.
type Store interface {
	// Level says what is promised for messages on topic; for "", what is
	// promised for the rest: sessions and subscriptions.
	Level(topic string) Level

	// Record adds c to the log. It returns where that lies, which counts for
	// bodies and chunks.
	Record(c Change) Ref

	// Hold and Release say how often the body or chunk at ref, of about so
	// many bytes, is needed. What is not held may be gone after the next
	// Snapshot.
	Hold(ref Ref, bytes int)
	Release(ref Ref, bytes int)

	// Vacate reports whether the body or chunk at ref should be recorded anew,
	// since little else that is needed lies near it. It may be true during
	// Relay.Snapshot only.
	Vacate(ref Ref) bool

	// Commit tells done when everything recorded before is as safe as level
	// says; with Memory, when all Commits before have been told.
	Commit(level Level, done Done)

	// Near reports whether two bodies lie so near each other that a claim on
	// one keeps the other as well.
	Near(a, b Ref) bool

	// Load reads a chunk that was recorded as Spilled, with the messages of its
	// entries, those that are left; an error says what is not. It may block.
	Load(ref Ref) ([]Entry, error)

	// Room says whether messages can be taken on.
	Room() Room

	// AwaitBacklog waits while more has been recorded and not written than is
	// good for the memory, unless the store has failed.
	AwaitBacklog()

	// Clock is the time by which messages and sessions expire. It goes on
	// where it stopped when the process starts anew. [MQTT-3.1.2-23]
	Clock() time.Duration
}

// Level is what an acknowledgement promises.
type Level byte

const (
	Memory Level = iota // nothing beyond the life of the process: it is not recorded
	Flush               // it is recorded, and stable a bounded time after
	Sync                // it is recorded and stable
)

// Room is what a Store can take on.
type Room byte

const (
	Ample  Room = iota
	Full        // what is kept must become less before it takes on more messages
	Broken      // whatever is recorded now is likely to be lost
)

// Ref is where a Store keeps something; 0 is nowhere.
type Ref uint64

// ChangeKind names what a Change does to the state that must survive.
type ChangeKind byte

const (
	// Body: the bytes of Message, which queues and topics refer to.
	Body ChangeKind = iota + 1
	// Opened: Session has the Terms, from now on.
	Opened
	// Attached and Detached: Session has a connection, or lost it at Clock.
	Attached
	Detached
	// Ended: Session is gone with all that it holds.
	Ended
	// Subscribed and Unsubscribed: Session holds, or no longer holds, Filter.
	Subscribed
	Unsubscribed
	// Enqueued: Entry waits in the queue of Session.
	Enqueued
	// Sent: the entries of Session up to Seq have been sent once.
	Sent
	// Renumbered: the entry Seq of Session uses PacketID.
	Renumbered
	// HalfAcked: the client of Session has sent PUBREC for the entry Seq.
	HalfAcked
	// Settled: the entries Seq to Last of Session are no longer needed.
	Settled
	// Received: Session has received PacketID at QoS 2 with the body Ref, and
	// the entries that this has caused count from now on.
	Received
	// Released: Session has released PacketID (PUBREL).
	Released
	// Retained: the body Ref is the retained message of Topic; with Ref 0 the
	// topic has none.
	Retained
	// WillWaits: Will is to be published for Session at Clock. WillGone: no more.
	WillWaits
	WillGone
	// Spilled: Entries of Session's queue, which Chunk describes, are no longer
	// in memory and are to be read from here; also if they were in another
	// chunk that began with the same entry.
	Spilled
	// Whole: State is all there is of Session. It replaces what was recorded.
	Whole
	// Drops: so many messages have been dropped, by reason.
	Drops
	// Moved: what refers to the body at Ref means that at To from now on, also
	// where that was recorded since the last Snapshot began.
	Moved
)

// Change is one step of the state that must survive a crash. Kind says which
// of the other fields count.
type Change struct {
	Kind      ChangeKind
	Session   uint64
	Seq, Last uint64
	PacketID  uint16
	Ref, To   Ref
	Clock     time.Duration
	Topic     string
	Message   *Message
	Filter    Subscription
	Entry     Entry
	Entries   []Entry
	Chunk     Chunk
	Terms     Terms
	Will      *wire.Will
	State     *SessionState
	Drops     map[string]uint64
}

// Terms are what a kept session was made with.
type Terms struct {
	ClientID string
	Username string
	Owner    string // see Connect
	Subject  string
	Expiry   uint32 // seconds
}

// Entry is one QoS>0 message in the queue of a kept session. Its packet
// identifier follows from Seq unless PacketID says otherwise.
type Entry struct {
	Seq      uint64 // place in the order of the session
	PacketID uint16 // 0: that of Seq
	Body     Ref
	Message  *Message // what Body refers to; nil if HalfAcked
	QoS      byte
	Retain   bool
	// Open: it came at QoS 2 and counts only if Received follows; else the
	// publisher sends it again.
	Open      bool
	HalfAcked bool
	IDs       []uint32
	Share     string        // filter of the shared subscription it was chosen by
	Latest    bool          // it is not sent if a newer one on its topic waits
	Until     time.Duration // when it has waited for too long, by Clock; 0: never
}

// Chunk is a stretch of a session's queue that is on disk only.
type Chunk struct {
	Ref     Ref
	First   uint64 // Seq of its first entry
	Last    uint64
	Entries int
	Bytes   int64         // what its messages would be charged with in memory
	Shared  bool          // some entry was chosen by a shared subscription
	Latest  bool          // some entry is not sent if a newer one on its topic waits
	Until   time.Duration // when all entries have waited for too long; 0: never
	Holds   []Hold
}

// Hold is a claim on bodies that lie near each other.
type Hold struct {
	Ref   Ref
	Bytes int
}

// SessionState is all that is kept of one session: what Snapshot records and
// Restore takes.
type SessionState struct {
	ID       uint64
	Terms    Terms
	Attached bool
	Detached time.Duration // when it lost its connection, if not Attached
	NextSeq  uint64
	Sent     uint64
	Subs     []Subscription
	Inbound  []uint16 // QoS 2 identifiers that its client has not released
	Front    []Entry  // unacknowledged and next to be sent, in order
	Chunks   []Chunk  // then these
	Tail     []Entry  // then these
	Will     *wire.Will
	WillDue  time.Duration
}

// Done is told, once, what became of a Commit. A nil error means that the
// changes are kept. It may be called on any goroutine, also before Commit
// returns, but not before the Done of any Commit that had returned before this
// one was called: a client that reconnects is not to be told that a message is
// kept which it has sent on the earlier connection.
type Done interface {
	Committed(err error)
}

// Outcome is a Done to wait for, by receiving from it. It must have room for one.
type Outcome chan error

// Committed implements Done.
func (o Outcome) Committed(err error) { o <- err }
