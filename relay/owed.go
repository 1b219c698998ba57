package relay

import "strings"

// owed is what a subscription is yet to get of retained messages: the queue has
// had no room for all at once. Only topics are remembered; what they hold is
// looked up when it is their turn, so that it is never older than what the client
// has got meanwhile. It ends with the process: who takes over is not told of it.
type owed struct {
	filter string
	topics []string
}

// What is given of it at once: little enough that what is published meanwhile
// does not wait for long.
const (
	instalment      = 256
	instalmentBytes = 256 << 10
)

// owedCost is the memory that a topic is charged with.
func owedCost(topic string) int64 { return int64(len(topic)) + 16 }

// roomyLocked reports whether a retained message may go into the queue at once.
// Half of what that may hold, and of what all may, is for what is published.
func (s *Session) roomyLocked(m *Message) bool {
	rules, size := s.rules.Load(), m.size()
	n, own := s.waitingLocked()
	return n < max(1, rules.MaxQueued/2) && own+size <= rules.MaxQueuedBytes/2 &&
		s.relay.queuedWith(m) <= s.relay.conf().TotalQueuedBytes/2 && s.fitsLocked(m, false)
}

// oweLocked remembers the topic for later. It reports false if that takes too
// much memory as well.
func (s *Session) oweLocked(o *owed, topic string) bool {
	cost, total := owedCost(topic), s.relay.conf().TotalQueuedBytes
	if s.live.Load() == nil || s.owedBytes+cost > s.rules.Load().MaxQueuedBytes/2 || s.relay.queued()+cost > total-total/4 {
		return false
	}
	o.topics = append(o.topics, topic)
	s.owedBytes += cost
	s.relay.queuedBytes.Add(cost)
	return true
}

func (s *Session) paidLocked(topic string) {
	s.owedBytes -= owedCost(topic)
	s.relay.queuedBytes.Add(-owedCost(topic))
}

// forgetOwedLocked is for a filter whose subscription is to get it anew, or not
// at all.
func (s *Session) forgetOwedLocked(filter string) {
	for i := len(s.owed) - 1; i >= 0; i-- {
		if s.owed[i].filter == filter {
			for _, topic := range s.owed[i].topics {
				s.paidLocked(topic)
			}
			s.owed = append(s.owed[:i], s.owed[i+1:]...)
		}
	}
}

// dropOwedLocked gives up all of it: what is retained by now is dropped.
func (s *Session) dropOwedLocked() {
	for _, o := range s.owed {
		for _, topic := range o.topics {
			if m, sub := s.relay.retainedOn(topic), s.subs[o.filter]; m != nil && sub != nil && s.mayReceive(topic) {
				qos := min(m.QoS, sub.QoS)
				s.books.made[classOf(qos)]++
				s.dropLocked(DropQueueFull, m.origin(qos), 1)
			}
		}
	}
	s.forgetAllOwedLocked()
}

// forgetAllOwedLocked is for a session that ends.
func (s *Session) forgetAllOwedLocked() {
	s.relay.queuedBytes.Add(-s.owedBytes)
	s.owed, s.owedBytes = nil, 0
}

// payLaterLocked sees to it that the next instalment comes, when the client has
// been sent all that waited.
func (s *Session) payLaterLocked() {
	if s.paying || s.queue.len() > 0 || !s.spill.empty() || s.window.bytes > s.rules.Load().MaxQueuedBytes/2 {
		return
	}
	s.paying = true
	s.relay.background(s.pay)
}

// pay gives the session the next of what it is owed.
func (s *Session) pay() {
	s.mu.Lock()
	s.paying = false
	if s.live.Load() == nil || s.ended.Load() {
		s.mu.Unlock()
		return
	}
	s.queued0.Add(1) // as in Subscribe: what is newer comes after what is looked up now
	var bytes int64
	for n := 0; n < instalment && bytes < instalmentBytes && len(s.owed) > 0; {
		o := &s.owed[0]
		sub := s.subs[o.filter]
		if len(o.topics) == 0 || sub == nil {
			s.forgetOwedLocked(o.filter)
			continue
		}
		topic := o.topics[0]
		if m := s.relay.retainedOn(topic); m != nil && s.mayReceive(topic) {
			if n > 0 && !s.roomyLocked(m) {
				break
			}
			s.giveRetainedLocked(m, &sub.Subscription, idsOf(&sub.Subscription))
			n, bytes = n+1, bytes+m.size()
		}
		o.topics = o.topics[1:]
		s.paidLocked(topic)
	}
	sent := s.pumpLocked()
	s.queued0.Add(-1)
	s.weighLocked()
	s.mu.Unlock()
	s.commitEntered()
	s.commitChunks()
	if sent {
		s.flush()
	}
}

func idsOf(sub *Subscription) []uint32 {
	if sub.ID == 0 {
		return nil
	}
	return []uint32{sub.ID}
}

// retainedOn returns what is retained on topic and has not expired, nil if
// nothing is.
func (r *Relay) retainedOn(topic string) *Message {
	if m := r.retained.alive(topic); m != nil || !strings.HasPrefix(topic, SystemRoot) {
		return m
	}
	return r.system.alive(topic)
}

// alive returns the retained message of topic, nil if it has none or that has
// expired.
func (r *retained) alive(topic string) *Message {
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.getLocked(topic)
	if m == nil {
		return nil
	}
	if _, alive := m.remaining(now); !alive {
		return nil
	}
	return m
}

// giveRetainedLocked puts m into the queue, as what sub asks for.
func (s *Session) giveRetainedLocked(m *Message, sub *Subscription, ids []uint32) {
	d := delivery{msg: m, ids: ids, qos: min(m.QoS, sub.QoS), retain: true}
	if sub.Drain != nil {
		drain := s.drainLocked(m.Topic)
		if drain.Never {
			return
		}
		drain.apply(&d, s.relay.now())
	}
	s.books.made[classOf(d.qos)]++
	s.enterLocked(d)
}
