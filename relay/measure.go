package relay

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// What DeliveryTimes and Totals.Sizes tell apart.
const (
	deliveryBuckets = 26 // the last begins at 16.8 seconds
	sizeBuckets     = 13 // the last ends at 256 MiB, beyond what a packet holds
)

// DeliveryTimes is how long publishes have taken from when the relay took them
// on until their frames were made for the links of subscribers, one count for
// each subscriber.
//
// Measured is, of every 17th time that a connection has something to read, and of
// the first, the first publish, which waits longest for the others; and each that
// the broker publishes itself. It counts for the subscribers whose connections
// were there when it was taken on, whatever keeps it from them: its place in the
// queue, their Receive Maximum, a backlog of the network, the store that must have
// it first. Not counted are messages that have waited for a client that was away,
// or outside of memory, what is sent again, what a session gets in place of another
// that has ended, retained messages sent to new subscriptions, and what Tell says.
type DeliveryTimes struct {
	// Buckets counts by duration: bucket i is those of less than 2^i
	// microseconds and no less than half of that; the last has the rest.
	Buckets [deliveryBuckets]uint64
	Total   time.Duration
}

// deliveryTimes is DeliveryTimes as they are counted.
type deliveryTimes struct {
	buckets [deliveryBuckets]atomic.Uint64
	nanos   atomic.Uint64
}

// add counts n deliveries that have taken d.
func (t *deliveryTimes) add(d time.Duration, n int) {
	d = max(d, 0)
	t.buckets[min(bits.Len64(uint64(d/time.Microsecond)), deliveryBuckets-1)].Add(uint64(n))
	t.nanos.Add(uint64(d) * uint64(n))
}

func (t *deliveryTimes) read() DeliveryTimes {
	out := DeliveryTimes{Total: time.Duration(t.nanos.Load())}
	for i := range t.buckets {
		out.Buckets[i] = t.buckets[i].Load()
	}
	return out
}

// Of what is measured, since to read the clock takes as long as to relay a message
// or two.
const (
	// measureEvery is of how many flushes the messages before one are measured. It
	// is a prime: what devices send has cycles.
	measureEvery = 17
	// clockEvery is for how many links of one run the clock is read once: those
	// before the last count as if they had got the run when it did.
	clockEvery = 32
)

// takenOn is the time now if the message that is being taken on is measured, else
// 0. Of a run of frames only the first may be.
func (p *publisher) takenOn() time.Duration {
	if p.unmeasured > 0 {
		return 0
	}
	return p.readClock()
}

func (p *publisher) readClock() time.Duration {
	p.unmeasured = measureEvery
	return max(1, p.relay.now())
}

// handed counts a link that has got a run which is measured.
func (p *publisher) handed() {
	if p.run.links++; p.run.links == clockEvery {
		p.readHanded()
	}
}

// readHanded reads the clock for the links counted.
func (p *publisher) readHanded() {
	p.relay.delivery.add(p.relay.now()-p.run.taken, p.run.links)
	p.run.links = 0
}

// sizes is Totals.Sizes as they are counted.
type sizes [sizeBuckets]atomic.Uint64

func (s *sizes) read() (out [sizeBuckets]uint64) {
	for i := range s {
		out[i] = s[i].Load()
	}
	return out
}

// sizeBucket is where payloads of n bytes count.
func sizeBucket(n int) int { return min((bits.Len(uint(max(n, 16)-1))-3)/2, sizeBuckets-1) }

// weigh counts a payload of n bytes, for all to see after the next flush. Those of
// one publisher mostly have one size.
func (p *publisher) weigh(n int) {
	if n != p.weight {
		p.reweigh(n)
	}
	p.weights++
}

// reweigh begins to count another size. Inlined, it would slow down those who have
// one size by two nanoseconds a message.
//
//go:noinline
func (p *publisher) reweigh(n int) {
	p.weighed()
	p.weight = n
}

// weighed shows to all what weigh has counted.
func (p *publisher) weighed() {
	if p.weights > 0 {
		p.relay.sizes[sizeBucket(p.weight)].Add(p.weights)
		p.weights = 0
	}
}
