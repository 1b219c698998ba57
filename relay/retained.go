package relay

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// retained holds the last retained message of each topic.
type retained struct {
	now      func() time.Duration
	replaced func(*Message) // told of a message that is no longer retained; nil for nobody

	mu       sync.RWMutex // guards everything that follows
	maxCount int
	maxBytes int64
	root     kept
	count    int
	bytes    int64 // of the messages
	nodes    int   // below root
}

// nodeOverhead is about what a level of the topic tree costs: few topics have
// levels of their own, but a client may make all of them so.
const nodeOverhead = 200

// kept is a level of the topic tree.
type kept struct {
	children map[string]*kept
	msg      *Message
	since    time.Duration // when msg was set, negative if by an earlier process
}

// set makes m its topic's retained message, or, with an empty payload,
// removes it. [MQTT-3.3.1-6] record, if not nil, is called while nobody else
// can set one, with the message that m replaces or nil.
func (r *retained) set(m *Message, record func(m, old *Message)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !m.recovered {
		m.since = max(1, r.now())
	}
	if record != nil {
		record(m, r.getLocked(m.Topic))
	}
	if len(m.Payload) == 0 {
		r.removeLocked(&r.root, m.Topic, true)
		return
	}
	n := &r.root
	for level := range strings.SplitSeq(m.Topic, "/") {
		c := n.children[level]
		if c == nil {
			if n.children == nil {
				n.children = make(map[string]*kept)
			}
			c = &kept{}
			n.children[level] = c
			r.nodes++
		}
		n = c
	}
	r.replaceLocked(n, m)
}

// bound sets what new topics must fit into.
func (r *retained) bound(count int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.maxCount, r.maxBytes = count, bytes
}

// getLocked returns the retained message of topic, nil if it has none.
func (r *retained) getLocked(topic string) *Message {
	if n := r.nodeLocked(topic); n != nil {
		return n.msg
	}
	return nil
}

func (r *retained) replaceLocked(n *kept, m *Message) {
	if n.msg != nil {
		r.count--
		r.bytes -= n.msg.size()
		if r.replaced != nil {
			r.replaced(n.msg)
		}
	}
	n.msg = m
	if m != nil {
		n.since = -1
		if !m.recovered {
			n.since = m.since
		}
		r.count++
		r.bytes += m.size()
	}
}

// removeLocked removes the message that rest leads to below n, and the
// branches that are empty afterwards.
func (r *retained) removeLocked(n *kept, rest string, more bool) {
	if !more {
		r.replaceLocked(n, nil)
		return
	}
	level, tail, deeper := strings.Cut(rest, "/")
	c := n.children[level]
	if c == nil {
		return
	}
	r.removeLocked(c, tail, deeper)
	r.pruneLocked(n, level, c)
}

// pruneLocked removes c from its parent n if nothing is left of it.
func (r *retained) pruneLocked(n *kept, level string, c *kept) {
	if c.msg == nil && len(c.children) == 0 {
		delete(n.children, level)
		r.nodes--
	}
}

// room reports whether pub can be retained. What is not larger may always take
// the place of its topic's retained message. Publishers ask one by one and set
// afterwards, so that the limits may be exceeded by one message for each of
// them that runs at the same time.
func (r *retained) room(pub *wire.Publish) bool {
	size := int64(len(pub.Topic)+len(pub.Payload)+len(pub.Props)) + messageOverhead
	r.mu.RLock()
	defer r.mu.RUnlock()
	most := r.nodes + bytes.Count(pub.Topic, []byte("/")) + 1
	if r.count < r.maxCount && r.bytes+size+int64(most)*nodeOverhead <= r.maxBytes {
		return true
	}
	n, missing := &r.root, 0
	for level := range strings.SplitSeq(string(pub.Topic), "/") {
		if n != nil {
			n = n.children[level]
		}
		if n == nil {
			missing++
		}
	}
	used := r.bytes + int64(r.nodes+missing)*nodeOverhead
	if n == nil || n.msg == nil {
		return r.count < r.maxCount && used+size <= r.maxBytes
	}
	old := n.msg.size()
	return size <= old || used-old+size <= r.maxBytes
}

// has reports whether topic has a retained message.
func (r *retained) has(topic string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.getLocked(topic) != nil
}

// mayRetain reports whether there is room to retain pub.
func (r *Relay) mayRetain(pub *wire.Publish) bool {
	if r.under(ShedQueues) && !r.retained.has(string(pub.Topic)) {
		r.shed.retained.Add(1)
		return false
	}
	return r.retained.room(pub)
}

// match calls found for each retained message whose topic matches filter and
// whose expiry interval has not passed. It returns how many levels of the tree
// it has looked at.
func (r *retained) match(filter string, found func(*Message)) (visited int) {
	return r.look(filter, func(n *kept) { found(n.msg) })
}

// look is match that tells more.
func (r *retained) look(filter string, found func(*kept)) (visited int) {
	w := walk{now: r.now(), found: found}
	r.mu.RLock()
	defer r.mu.RUnlock()
	w.match(&r.root, filter, true, true)
	return w.visited
}

// walk is one search of the topic tree.
type walk struct {
	now     time.Duration
	found   func(*kept)
	visited int
}

func (w *walk) visit(n *kept) {
	if n.msg == nil {
		return
	}
	if _, alive := n.msg.remaining(w.now); alive {
		w.found(n)
	}
}

func (w *walk) match(n *kept, rest string, more, first bool) {
	w.visited++
	if !more {
		w.visit(n)
		return
	}
	level, tail, deeper := strings.Cut(rest, "/")
	switch level {
	case "#":
		w.all(n, first)
	case "+":
		for name, c := range n.children {
			if !first || !strings.HasPrefix(name, "$") { // [MQTT-4.7.2-1]
				w.match(c, tail, deeper, false)
			}
		}
	default:
		if c := n.children[level]; c != nil {
			w.match(c, tail, deeper, false)
		}
	}
}

// all finds n and everything below it: "#" includes its parent level.
func (w *walk) all(n *kept, first bool) {
	w.visited++
	w.visit(n)
	for name, c := range n.children {
		if !first || !strings.HasPrefix(name, "$") {
			w.all(c, false)
		}
	}
}

// sweep removes the messages whose expiry interval has passed.
func (r *retained) sweep() {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepNode(&r.root, now)
}

func (r *retained) sweepNode(n *kept, now time.Duration) {
	if n.msg != nil {
		if _, alive := n.msg.remaining(now); !alive {
			r.replaceLocked(n, nil)
		}
	}
	for name, c := range n.children {
		r.sweepNode(c, now)
		r.pruneLocked(n, name, c)
	}
}

func (r *retained) totals() (count int, bytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count, r.bytes
}
