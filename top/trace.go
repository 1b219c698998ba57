package top

import (
	"strings"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// The quantities of which it is shown how they change.
const (
	received = iota
	sent
	bytesIn
	bytesOut
	dropped
	connects

	traceCount
)

// counter is the total of which trace i follows the growth.
func counter(i int, s *statsd.Snapshot) uint64 {
	return [traceCount]uint64{s.Received.Messages, s.Sent.Messages, s.Received.Bytes, s.Sent.Bytes, s.Dropped.Total, s.Connections.Total}[i]
}

// traceLength is how many values are remembered: more than are shown anywhere.
const traceLength = 120

// trace is how much there was per second at the latest instants, the latest last.
type trace struct{ values []float64 }

func (t *trace) add(v float64) {
	t.values = append(t.values, max(v, 0))
	if n := len(t.values) - traceLength; n > 0 {
		t.values = append(t.values[:0], t.values[n:]...)
	}
}

// gap forgets the past: there is nothing with which to compare what is next.
func (t *trace) gap() { t.values = t.values[:0] }

// latest is the newest value; ok is false if there is none.
func (t *trace) latest() (v float64, ok bool) {
	if len(t.values) == 0 {
		return 0, false
	}
	return t.values[len(t.values)-1], true
}

// spark draws the latest width values, the highest of them as high as it goes. A
// value that is not 0 is always seen, and 0 differs from what is not known.
func (t *trace) spark(width int, ascii bool) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if ascii {
		levels = []rune("_.:-=+*#")
	}
	shown := t.values[max(0, len(t.values)-width):]
	var top float64
	for _, v := range shown {
		top = max(top, v)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", max(0, width-len(shown))))
	for _, v := range shown {
		level := 0
		if v > 0 {
			level = 1 + int(v/top*float64(len(levels)-2)+0.5)
		}
		b.WriteRune(levels[min(level, len(levels)-1)])
	}
	return b.String()
}

// meter tells from totals, by name, how much there was per second between the
// latest two times they were read.
type meter struct {
	at, before time.Time
	last, now  map[string][2]uint64
}

// begin starts a reading at a time, add takes in the totals of one name, and end
// finishes it.
func (r *meter) begin(at time.Time) {
	r.before, r.at = r.at, at
	r.last, r.now = r.now, make(map[string][2]uint64, len(r.now))
}

func (r *meter) add(name string, a, b uint64) { r.now[name] = [2]uint64{a, b} }

func (r *meter) end() {
	if r.before.IsZero() || !r.at.After(r.before) {
		r.last = nil
	}
}

// perSecond is how much there was of name. ok is false if it was not there the last
// two times, or has begun to count anew.
func (r *meter) perSecond(name string) (a, b float64, ok bool) {
	last, ok1 := r.last[name]
	now, ok2 := r.now[name]
	if !ok1 || !ok2 || now[0] < last[0] || now[1] < last[1] {
		return 0, 0, false
	}
	seconds := r.at.Sub(r.before).Seconds()
	return float64(now[0]-last[0]) / seconds, float64(now[1]-last[1]) / seconds, true
}

// ready reports whether there are two readings to compare.
func (r *meter) ready() bool { return r.last != nil }
