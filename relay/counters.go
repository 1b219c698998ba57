package relay

import "sync/atomic"

// DropReason names why a message did not reach a session, or nobody.
type DropReason byte

// The reasons, with the words of EMQX where it has one: why a message was not
// delivered. docs/REFERENCE.md lists them by these comments, and the dashboard
// shows how they begin.
const (
	DropNoSubscribers   DropReason = iota // nobody had subscribed to its topic; nobody has missed it
	DropQueueFull                         // the queue of the session was full, or that of all: `sessions.max_queued_messages`, `max_queued_bytes`, `total_queued_bytes`, `when_full`
	DropQoS0                              // it had QoS 0, and the client was not connected
	DropSlowConsumer                      // it had QoS 0, and the client did not take what waited for it: `limits.max_outbound_bytes`
	DropExpired                           // its message expiry interval was over, or its time to live for an uplink (`ttl`)
	DropTooLarge                          // it was larger than the client takes (Maximum Packet Size)
	DropDiscarded                         // the session ended while it waited
	DropRefusedByClient                   // the client has answered it with a failure
	DropNotStored                         // it could not be stored; its publisher was not told that it was
	DropStoreFull                         // the store was full, and the session's rule is to drop
	DropDamaged                           // what was stored of it cannot be read any more
	DropNotAuthorized                     // the client may not have it any more
	DropMemory                            // it had QoS 0, the client did not keep up, and memory was short: docs/MEMORY.md
	DropSuperseded                        // a newer message on its topic waited for the uplink as well, which takes only the latest
	dropReasons
)

var dropWords = [dropReasons]string{
	"no_subscribers", "queue_full", "qos0_msg", "slow_consumer", "expired", "packet_too_large", "discarded", "refused_by_client",
	"not_stored", "store_full", "store_damaged", "not_authorized", "memory_pressure", "superseded",
}

func (r DropReason) String() string { return dropWords[r] }

// traffic counts the publishes of one session in one direction. Written by
// batch, so that counting costs nothing per message.
type traffic struct {
	messages [3]atomic.Uint64 // by QoS
	bytes    atomic.Uint64    // payload bytes
}

func (t *traffic) add(qos byte, n int, bytes int) {
	t.messages[qos].Add(uint64(n))
	t.bytes.Add(uint64(bytes))
}

// addAll is add for messages of any QoS together.
func (t *traffic) addAll(n [3]int, bytes int) {
	for qos, k := range n {
		if k > 0 {
			t.messages[qos].Add(uint64(k))
		}
	}
	t.bytes.Add(uint64(bytes))
}

// Traffic is publishes counted in one direction.
type Traffic struct {
	QoS   [3]uint64 // messages by QoS
	Bytes uint64    // payload bytes
}

// Messages is the number of messages of every QoS.
func (t Traffic) Messages() uint64 { return t.QoS[0] + t.QoS[1] + t.QoS[2] }

func (t *Traffic) accumulate(from *traffic) {
	for q := range t.QoS {
		t.QoS[q] += from.messages[q].Load()
	}
	t.Bytes += from.bytes.Load()
}

// Totals is what the relay has counted since it was made. Each field is
// exact; fields are read one after the other, so sums across fields may be
// off by messages on their way.
type Totals struct {
	Received Traffic           // publishes accepted from clients
	Own      Traffic           // publishes by the broker itself, wills included
	Sent     Traffic           // publishes handed to connections, redeliveries included
	Dropped  map[string]uint64 // by DropReason; one per session that misses the message
	Delivery DeliveryTimes
	// Sizes counts Received by payload: entry i is those of at most 16*4^i
	// bytes and, but for the first, more than a quarter of that.
	Sizes     [sizeBuckets]uint64
	Refused   uint64 // publishes answered with a failure reason code, or ignored for 3.x
	Slowed    uint64 // how often a client has come to the limit of its Rate
	Sessions  int    // connected or kept
	Connected int
	Expired   uint64 // sessions that have ended because their clients did not come back in time
	Subs      int    // subscriptions, shared ones included
	Shared    int
	Retained  int
	RetainedB int64 // bytes of retained messages
	Queued    int   // messages waiting in sessions
	QueuedB   int64 // their bytes
	Inflight  int   // sent at QoS>0 and not yet acknowledged

	ShedRetained uint64 // messages that were not retained while memory was short
	ShedSpilled  uint64 // messages that went to the store early while memory was short
}
