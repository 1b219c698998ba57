package relay

import (
	"slices"
	"strings"
)

// Aside is a second way for what a session gets: another session that takes it
// instead, as long as somebody is connected there and little waits. What that
// does not take, the session has itself, behind what waits there. Each message is
// in one of the two.
//
// Retained messages that are passed on as such do not go aside, lest an old one
// be the last that arrives, and neither does what the program says to itself, on
// topics below StandingPrefix. Drain.Latest knows of one of the two sessions only.
type Aside struct {
	Port     *Port // of the other session
	Messages int   // that may wait there; beyond them it takes nothing until none does
	Bytes    int64 // their size in the same way; a single one may be larger
}

// aside is an Aside that is in force.
type aside struct {
	to       *Session
	messages int
	bytes    int64
	full     bool // it takes nothing until nothing waits there; the mu of to guards it
}

// asides puts in force what list says, and nothing else. The caller holds the mu
// of all sessions in list.
func asides(list []Wanted) {
	for _, w := range list {
		w.Port.session.aside.Store(nil)
		w.Port.session.takes = nil
	}
	for _, w := range list {
		if w.Aside == nil {
			continue
		}
		a := &aside{to: w.Aside.Port.session, messages: w.Aside.Messages, bytes: w.Aside.Bytes}
		a.to.takes = a
		w.Port.session.aside.Store(a)
	}
}

// validAside reports whether the Aside of w leads to another session of list, and
// no further.
func validAside(w Wanted, list []Wanted) bool {
	return w.Aside == nil || w.Aside.Port != w.Port &&
		slices.ContainsFunc(list, func(to Wanted) bool { return to.Port == w.Aside.Port && to.Aside == nil })
}

// pass gives of ds, which are of one topic, what may go aside to a, and returns
// the rest in its order, in the memory of ds.
func (p *publisher) pass(a *aside, ds []delivery) []delivery {
	if strings.HasPrefix(ds[0].msg.Topic, StandingPrefix) {
		return ds
	}
	need := Memory
	for i := range ds {
		if ds[i].qos > 0 {
			need = max(need, ds[i].msg.level)
		}
	}
	left, flush := a.take(ds)
	if flush {
		p.touch(a.to)
	}
	a.to.commitChunks()
	if len(left) < len(ds) && a.to.recorded.Load() != 0 {
		p.promised(need)
	}
	clear(ds[len(left):])
	return left
}

// take is enqueue for what may go aside; it returns the rest.
func (a *aside) take(ds []delivery) (left []delivery, flush bool) {
	s := a.to
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.openLocked() {
		return ds, false
	}
	left = ds[:0]
	for i := range ds {
		d := ds[i]
		if d.retain {
			left = append(left, d)
			continue
		}
		fits, any := a.fitsLocked(&d)
		if fits {
			any = s.pushLocked(d) || any
		} else {
			left = append(left, d)
		}
		flush = flush || any
	}
	return left, s.pumpLocked() || flush
}

// openLocked reports whether anything goes to a now. When the store is full, its
// messages are to give way to each other, which they do in one queue only.
func (a *aside) openLocked() bool {
	s := a.to
	return s.takes == a && !s.ended.Load() && s.live.Load() != nil && (s.relay.store == nil || s.relay.store.Room() == Ample)
}

// fitsLocked reports whether d may wait in a, which sends what it can before it is
// full; any reports whether it has sent something.
func (a *aside) fitsLocked(d *delivery) (fits, any bool) {
	s, size := a.to, d.msg.size()
	if !a.roomyLocked(size) && !a.full {
		any = s.pumpLocked()
	}
	fits = a.roomyLocked(size) && s.fitsLocked(d.msg, s.keepsLocked(d))
	a.full = !fits
	return fits, any
}

// roomyLocked reports whether so many bytes more may wait by what a says.
func (a *aside) roomyLocked(size int64) bool {
	s := a.to
	n, bytes := s.queue.len()+s.spill.len(), s.queue.bytes+s.spill.bytes+s.spill.tail.bytes
	return n == 0 || !a.full && n < a.messages && bytes+size <= a.bytes
}

// goesAside reports whether a message on topic would go aside now.
func (s *Session) goesAside(topic string, retain bool) bool {
	a := s.aside.Load()
	if a == nil || retain || strings.HasPrefix(topic, StandingPrefix) {
		return false
	}
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	return a.openLocked() && a.roomyLocked(0)
}
