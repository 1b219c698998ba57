package relay

import (
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// retained holds the last retained message of each topic.
type retained struct {
	maxCount int
	maxBytes int64
	now      func() time.Duration

	mu    sync.RWMutex // guards everything that follows
	root  kept
	count int
	bytes int64
}

// kept is a level of the topic tree.
type kept struct {
	children map[string]*kept
	msg      *Message
}

// set makes m its topic's retained message, or, with an empty payload,
// removes it. [MQTT-3.3.1-6]
func (r *retained) set(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		}
		n = c
	}
	r.replaceLocked(n, m)
}

func (r *retained) replaceLocked(n *kept, m *Message) {
	if n.msg != nil {
		r.count--
		r.bytes -= n.msg.size()
	}
	n.msg = m
	if m != nil {
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
	if c.msg == nil && len(c.children) == 0 {
		delete(n.children, level)
	}
}

// room reports whether pub can be retained. A topic that has a retained
// message already may always replace it.
func (r *retained) room(pub *wire.Publish) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.count < r.maxCount && r.bytes+int64(len(pub.Payload)+len(pub.Topic))+messageOverhead <= r.maxBytes {
		return true
	}
	n := &r.root
	for level := range strings.SplitSeq(string(pub.Topic), "/") {
		if n = n.children[level]; n == nil {
			return false
		}
	}
	return n.msg != nil && len(pub.Payload) <= len(n.msg.Payload)
}

// match calls found for each retained message whose topic matches filter and
// whose expiry interval has not passed.
func (r *retained) match(filter string, found func(*Message)) {
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.matchNode(&r.root, filter, true, true, func(m *Message) {
		if _, alive := m.remaining(now); alive {
			found(m)
		}
	})
}

func (r *retained) matchNode(n *kept, rest string, more, first bool, found func(*Message)) {
	if !more {
		if n.msg != nil {
			found(n.msg)
		}
		return
	}
	level, tail, deeper := strings.Cut(rest, "/")
	switch level {
	case "#":
		r.all(n, first, found)
	case "+":
		for name, c := range n.children {
			if !first || !strings.HasPrefix(name, "$") { // [MQTT-4.7.2-1]
				r.matchNode(c, tail, deeper, false, found)
			}
		}
	default:
		if c := n.children[level]; c != nil {
			r.matchNode(c, tail, deeper, false, found)
		}
	}
}

// all finds n and everything below it: "#" includes its parent level.
func (r *retained) all(n *kept, first bool, found func(*Message)) {
	if n.msg != nil {
		found(n.msg)
	}
	for name, c := range n.children {
		if !first || !strings.HasPrefix(name, "$") {
			r.all(c, false, found)
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
		if c.msg == nil && len(c.children) == 0 {
			delete(n.children, name)
		}
	}
}

func (r *retained) totals() (count int, bytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count, r.bytes
}
