package statsd

import "strings"

// tracker keeps something of every series of the broker's metrics, from one
// Snapshot to the next. It is for one goroutine.
type tracker[T any] struct {
	table []metric
	known []map[string]*T // by place in table, then by the values of the labels
	fresh func(d *description, labels []string) *T
}

// newTracker returns a tracker that asks fresh what to keep of a series which it
// has not seen before.
func newTracker[T any](fresh func(d *description, labels []string) *T) *tracker[T] {
	t := &tracker[T]{table: allMetrics(), fresh: fresh}
	t.known = make([]map[string]*T, len(t.table))
	for i := range t.known {
		t.known[i] = make(map[string]*T)
	}
	return t
}

// each calls emit for every series of s. Those of one metric come together, and
// metrics in the order of the table.
func (t *tracker[T]) each(s *Snapshot, emit func(m *metric, of *T, value float64)) {
	for i := range t.table {
		m := &t.table[i]
		m.samples(s, func(value float64, labels ...string) {
			key := strings.Join(labels, "\x00")
			of := t.known[i][key]
			if of == nil {
				of = t.fresh(&m.desc, labels)
				t.known[i][key] = of
			}
			emit(m, of, value)
		})
	}
}
