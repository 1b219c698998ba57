package main

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// stream is what order holds for: the messages of one publisher on one topic at
// one QoS. Its messages are numbered 1, 2, 3, ...
type stream struct {
	publisher int
	topic     int
	qos       byte
}

func (s stream) String() string {
	return fmt.Sprintf("publisher %d, topic %d, QoS %d", s.publisher, s.topic, s.qos)
}

// promise is one of the things that a run checks.
type promise int

const (
	notLost promise = iota
	once
	inOrder
	notRolledBack
	sessionKept
	intact
	answered
	readyInTime
	alive
	balanced
	flat
	promises // how many there are
)

func (p promise) String() string {
	return [promises]string{
		notLost:       "what was acknowledged reaches every kept session",
		once:          "QoS 2 is once, from end to end",
		inOrder:       "order per publisher, topic and QoS",
		notRolledBack: "retained values never go back behind an ack",
		sessionKept:   "kept sessions are present",
		intact:        "messages arrive as they were sent, and none else",
		answered:      "what is sent is answered in the end",
		readyInTime:   "ready again in time",
		alive:         "the broker ends only when it is killed",
		balanced:      "the broker's own accounts balance at rest",
		flat:          "memory, descriptors, goroutines and disk stay flat",
	}[p]
}

// violation is a promise that was broken, with the last events of those who
// had a part in it.
type violation struct {
	promise  promise
	what     string
	evidence string
}

const (
	maxViolations = 20 // of each promise are kept; the rest is counted
	maxEvidence   = 3  // of each promise come with their evidence
)

// books knows what was sent, what was acknowledged and what arrived, and what
// must follow from that. It judges each arrival when it is entered, and what
// has not arrived when Close is called. All methods may be called from any
// goroutine; their caller sees to it that what happened first is entered first:
// a message is entered as sent before it is written, as arrived before it is
// acknowledged.
type books struct {
	trace *trace

	mu       sync.Mutex
	sent     map[stream]*sentStream
	got      map[string]map[stream]*gotStream // by subscriber
	topics   map[string]map[int]struct{}      // by subscriber: topics subscribed
	cells    map[cell]*cellState
	promised map[string]bool // sessions that must be present

	checked  [promises]uint64
	broken   [promises]uint64
	found    []violation
	suspects map[suspect]string // evidence of the moment when messages were passed over

	messages, accepted, refusals     uint64
	deliveries, repeats, afterRefuse uint64

	ahead atomic.Int64 // deliveries due and not made
}

// sentStream is the publisher's side of a stream.
type sentStream struct {
	last    uint64              // number of the newest message
	settled uint64              // all up to here have been answered
	later   map[uint64]struct{} // answered beyond settled
	refused map[uint64]struct{}
}

// gotStream is one subscriber's side of a stream.
type gotStream struct {
	from    uint64              // must get messages from this one on
	last    uint64              // number of the newest that arrived
	missing map[uint64]struct{} // from from on, passed over by last
}

// suspect is a subscriber that has been sent a message while an earlier
// acknowledged one of the stream is missing.
type suspect struct {
	subscriber string
	stream     stream
}

func newBooks(t *trace) *books {
	return &books{
		trace:    t,
		suspects: map[suspect]string{},
		sent:     map[stream]*sentStream{},
		got:      map[string]map[stream]*gotStream{},
		topics:   map[string]map[int]struct{}{},
		cells:    map[cell]*cellState{},
		promised: map[string]bool{},
	}
}

// breachLocked enters that a promise was broken. The last events of the clients
// are the evidence.
func (b *books) breachLocked(p promise, clients []string, format string, args ...any) {
	evidence := ""
	if b.broken[p] < maxEvidence {
		evidence = b.trace.show(clients...)
	}
	b.breachWithLocked(p, evidence, format, args...)
}

func (b *books) breachWithLocked(p promise, evidence, format string, args ...any) {
	b.broken[p]++
	if b.broken[p] <= maxViolations {
		b.found = append(b.found, violation{p, fmt.Sprintf(format, args...), evidence})
	}
}

// breach is breachLocked for those who watch from outside.
func (b *books) breach(p promise, clients []string, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breachLocked(p, clients, format, args...)
}

// checks counts that a promise was looked at.
func (b *books) checks(p promise) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked[p]++
}

func publisherName(i int) string { return fmt.Sprintf("pub-%d", i) }

// subscribed enters that subscriber has been told that it is subscribed to a
// topic: it must get what is sent from now on.
func (b *books) subscribed(subscriber string, topic int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[subscriber] == nil {
		b.topics[subscriber] = map[int]struct{}{}
	}
	if _, ok := b.topics[subscriber][topic]; ok {
		return
	}
	for s, sent := range b.sent {
		if s.topic == topic {
			b.viewLocked(subscriber, s).from = sent.last + 1
		}
	}
	b.topics[subscriber][topic] = struct{}{}
}

// viewLocked is the subscriber's side of s. A stream that begins after the
// subscription is due from its first message on, one that the subscriber has
// not been told it is subscribed to is not due at all.
func (b *books) viewLocked(subscriber string, s stream) *gotStream {
	views := b.got[subscriber]
	if views == nil {
		views = map[stream]*gotStream{}
		b.got[subscriber] = views
	}
	v := views[s]
	if v == nil {
		v = &gotStream{from: 1, missing: map[uint64]struct{}{}}
		if _, ok := b.topics[subscriber][s.topic]; !ok {
			v.from = math.MaxUint64
		}
		views[s] = v
	}
	return v
}

// dueLocked counts the subscribers that must get the message.
func (b *books) dueLocked(s stream, n uint64) int64 {
	var due int64
	for subscriber, topics := range b.topics {
		if _, ok := topics[s.topic]; !ok {
			continue
		}
		if v := b.got[subscriber][s]; v == nil || n >= v.from {
			due++
		}
	}
	return due
}

// send gives the next message of s its number.
func (b *books) send(s stream) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.sent[s]
	if t == nil {
		t = &sentStream{later: map[uint64]struct{}{}, refused: map[uint64]struct{}{}}
		b.sent[s] = t
	}
	t.last++
	b.messages++
	b.ahead.Add(b.dueLocked(s, t.last))
	return t.last
}

// accept enters that the broker has taken over message n: PUBACK or PUBREC.
func (b *books) accept(s stream, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sent[s].settle(n) {
		b.accepted++
	}
}

// refuse enters that the broker has turned message n away, for good.
func (b *books) refuse(s stream, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.sent[s]
	if !t.settle(n) {
		return
	}
	b.refusals++
	t.refused[n] = struct{}{}
	b.ahead.Add(-b.dueLocked(s, n))
}

// settle enters that n was answered. It is false if that was known.
func (t *sentStream) settle(n uint64) bool {
	if t.isSettled(n) {
		return false
	}
	t.later[n] = struct{}{}
	for {
		if _, ok := t.later[t.settled+1]; !ok {
			return true
		}
		t.settled++
		delete(t.later, t.settled)
	}
}

func (t *sentStream) isSettled(n uint64) bool {
	_, later := t.later[n]
	return n <= t.settled || later
}

// receive enters that message n of s has arrived. qos is that of the delivery.
func (b *books) receive(subscriber string, s stream, n uint64, qos byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	who := []string{subscriber, publisherName(s.publisher)}
	b.deliveries++
	b.checked[intact]++
	t := b.sent[s]
	if t == nil || n == 0 || n > t.last {
		b.breachLocked(intact, who, "%s got message %d of %v, which was never sent", subscriber, n, s)
		return
	}
	if _, ok := t.refused[n]; ok {
		b.afterRefuse++
		return
	}
	b.checked[inOrder]++
	v := b.viewLocked(subscriber, s)
	due := n >= v.from
	_, missing := v.missing[n]
	switch {
	case n > v.last:
		for i := max(v.last+1, v.from); i < n; i++ {
			if _, ok := t.refused[i]; !ok {
				v.missing[i] = struct{}{}
				b.suspectLocked(subscriber, s, i)
			}
		}
		v.last = n
	case missing:
		delete(v.missing, n)
		b.breachLocked(inOrder, who, "%s got message %d of %v after message %d", subscriber, n, s, v.last)
	default:
		b.repeats++
		if qos == 2 && s.qos == 2 {
			b.breachLocked(once, who, "%s got message %d of %v again (the newest is %d)", subscriber, n, s, v.last)
		}
		return
	}
	if due {
		b.ahead.Add(-1)
	}
	if qos == 2 && s.qos == 2 {
		b.checked[once]++
	}
}

// suspectLocked keeps the evidence of the moment when message n was passed
// over, in case that it never comes.
func (b *books) suspectLocked(subscriber string, s stream, n uint64) {
	at := suspect{subscriber, s}
	if _, ok := b.suspects[at]; !ok && len(b.suspects) < 10*maxEvidence && b.sent[s].isSettled(n) {
		b.suspects[at] = fmt.Sprintf("    when message %d was passed over:\n", n) + b.trace.show(subscriber, publisherName(s.publisher))
	}
}

// connected enters the answer to a CONNECT that wants its session back.
func (b *books) connected(client string, present bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.promised[client] {
		return
	}
	b.checked[sessionKept]++
	if !present {
		b.breachLocked(sessionKept, []string{client}, "%s has connected again and its session is gone", client)
		b.promised[client] = false
	}
}

// keeps enters that the broker has acknowledged something that is part of the
// session: it must be there from now on.
func (b *books) keeps(client string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.promised[client] = true
}

// behind is how many deliveries are due and have not been made, those included
// that nobody has acknowledged yet.
func (b *books) behind() int64 { return b.ahead.Load() }

// awaited says which streams still owe deliveries, for a person.
func (b *books) awaited() (owed int, example string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owedLocked(func(subscriber string, s stream, first uint64, n int) {
		owed += n
		if example == "" {
			example = fmt.Sprintf("%s waits for message %d of %v", subscriber, first, s)
		}
	})
	return owed, example
}

// owedLocked calls f for each subscriber and stream with accepted messages that
// have not arrived: the number of the first, and how many.
func (b *books) owedLocked(f func(subscriber string, s stream, first uint64, n int)) {
	for subscriber, topics := range b.topics {
		for s, t := range b.sent {
			if _, ok := topics[s.topic]; !ok {
				continue
			}
			v := b.got[subscriber][s]
			if v == nil {
				v = &gotStream{from: 1}
			}
			var owed []uint64
			add := func(n uint64) {
				if _, refused := t.refused[n]; !refused && t.isSettled(n) {
					owed = append(owed, n)
				}
			}
			for n := range v.missing {
				add(n)
			}
			for n := max(v.last+1, v.from); n <= t.last; n++ {
				add(n)
			}
			if len(owed) > 0 {
				f(subscriber, s, slices.Min(owed), len(owed))
			}
		}
	}
}

// close judges what has not arrived and what was never answered. Nothing may
// be under way any more.
func (b *books) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for subscriber, topics := range b.topics {
		for s, t := range b.sent {
			if _, ok := topics[s.topic]; ok {
				from := uint64(1)
				if v := b.got[subscriber][s]; v != nil {
					from = v.from
				}
				b.checked[notLost] += t.last + 1 - min(from, t.last+1)
			}
		}
	}
	b.owedLocked(func(subscriber string, s stream, first uint64, n int) {
		evidence := b.suspects[suspect{subscriber, s}]
		if evidence == "" && b.broken[notLost] < maxEvidence {
			evidence = b.trace.show(subscriber, publisherName(s.publisher))
		}
		b.broken[notLost] += uint64(n - 1)
		b.breachWithLocked(notLost, evidence,
			"%s never got %d messages of %v, the first of them %d (sent %d, newest that arrived %d)",
			subscriber, n, s, first, b.sent[s].last, b.viewLocked(subscriber, s).last)
	})
	for s, t := range b.sent {
		b.checked[answered] += t.last
		if open := t.last - t.settled - uint64(len(t.later)); open > 0 {
			b.broken[answered] += open - 1
			b.breachLocked(answered, []string{publisherName(s.publisher)}, "%d messages of %v were never answered, the first of them %d", open, s, t.settled+1)
		}
	}
}
