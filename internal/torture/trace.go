package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// shown is how many events of each client are kept.
const shown = 80

// trace keeps the last events of every client and of the broker, to be shown
// when a promise is broken.
type trace struct {
	begin time.Time
	mu    sync.Mutex
	rings map[string]*ring
}

type ring struct {
	events [shown]event
	n      int
}

// event is something that a client did or saw. It is worded only when shown.
type event struct {
	at     time.Duration
	format string
	args   [4]any
	n      int
}

func newTrace() *trace { return &trace{begin: time.Now(), rings: map[string]*ring{}} }

// brokerTrace is the name under which the broker's own events are kept.
const brokerTrace = "broker"

func (t *trace) note(who, format string, args ...any) {
	e := event{at: time.Since(t.begin), format: format, n: min(len(args), 4)}
	copy(e.args[:], args)
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rings[who]
	if r == nil {
		r = &ring{}
		t.rings[who] = r
	}
	r.events[r.n%shown] = e
	r.n++
}

// show is the last events of some clients and of the broker, in the order in
// which they happened, a line each. A nil trace has none.
func (t *trace) show(who ...string) string {
	if t == nil {
		return ""
	}
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	t.mu.Lock()
	for _, name := range append(slices.Clone(who), brokerTrace) {
		r := t.rings[name]
		if r == nil {
			continue
		}
		for i := max(0, r.n-shown); i < r.n; i++ {
			e := r.events[i%shown]
			lines = append(lines, line{e.at, name + ": " + fmt.Sprintf(e.format, e.args[:e.n]...)})
		}
	}
	t.mu.Unlock()
	slices.SortStableFunc(lines, func(a, b line) int { return int(a.at - b.at) })
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "    %10.3f ms  %s\n", float64(l.at)/1e6, l.text)
	}
	return b.String()
}
