package relay

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Loss is what one client has missed on one branch of topics for one reason.
type Loss struct {
	Client string    // "": nobody in particular, or too many to tell apart
	Branch string    // the first two levels of the topics, "" where that is not known
	Reason string    // a word of DropReason
	Count  uint64    // messages
	Last   time.Time // about when the last of them was lost
}

// maxLosses bounds the lines of the ledger. What does not fit is counted by
// reason alone, so that the sum is always right.
const maxLosses = 4096

// ledger counts what is lost, by whom it was to reach. A session remembers the
// line that it has counted on last, so that one which loses without end costs an
// addition.
type ledger struct {
	mu    sync.Mutex // guards everything that follows
	lines map[lossKey]*lossLine
}

type lossKey struct {
	client, branch string
	reason         DropReason
}

type lossLine struct {
	lossKey
	n atomic.Uint64

	seen uint64 // of n, when somebody last looked; the ledger's mu guards it and what follows
	told uint64 // of n, by NewLosses
	last time.Time
}

// branchOf is the first two levels of a topic.
func branchOf(topic string) string {
	const longest = 128 // bytes; the rest of a longer one tells nobody anything
	i := strings.IndexByte(topic, '/')
	if i >= 0 {
		if k := strings.IndexByte(topic[i+1:], '/'); k >= 0 {
			topic = topic[:i+1+k]
		}
	}
	return topic[:min(len(topic), longest)]
}

// line is where losses of that kind are counted.
func (l *ledger) line(k lossKey) *lossLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := l.lines[k]; line != nil {
		return line
	}
	if len(l.lines) >= maxLosses {
		k.client, k.branch = "", ""
		if line := l.lines[k]; line != nil {
			return line
		}
	}
	if l.lines == nil {
		l.lines = make(map[lossKey]*lossLine)
	}
	k.client, k.branch = strings.Clone(k.client), strings.Clone(k.branch) // not the whole topic
	line := &lossLine{lossKey: k}
	l.lines[k] = line
	return line
}

// lose counts n messages lost by s.
func (s *Session) lose(reason DropReason, topic string, n int) {
	k := lossKey{s.id, branchOf(topic), reason}
	line := s.loses.Load()
	if line == nil || line.lossKey != k {
		line = s.relay.losses.line(k)
		s.loses.Store(line)
	}
	line.n.Add(uint64(n))
}

// lookLocked notes what has been lost since somebody last looked.
func (line *lossLine) lookLocked(now time.Time) Loss {
	if n := line.n.Load(); n != line.seen {
		line.seen, line.last = n, now
	}
	return Loss{line.client, line.branch, line.reason.String(), line.seen, line.last}
}

// Losses are all that has been lost since the relay was made, in no order. Their
// counts add up to Totals.Dropped, but for DropNoSubscribers, which nobody has
// missed.
func (r *Relay) Losses() []Loss {
	return r.losses.collect(func(*lossLine) (uint64, bool) { return 0, true })
}

// NewLosses are those since its last call, with what was lost in between.
func (r *Relay) NewLosses() []Loss {
	return r.losses.collect(func(line *lossLine) (before uint64, any bool) {
		before, line.told = line.told, line.seen
		return before, line.seen > before
	})
}

func (l *ledger) collect(since func(*lossLine) (before uint64, any bool)) []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, list := time.Now(), make([]Loss, 0, len(l.lines))
	for _, line := range l.lines {
		loss := line.lookLocked(now)
		if before, any := since(line); any {
			loss.Count -= before
			list = append(list, loss)
		}
	}
	return list
}
