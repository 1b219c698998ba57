package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// counts is the totals of a run so far.
type counts struct {
	messages, accepted, refusals     uint64
	deliveries, repeats, afterRefuse uint64
}

func (b *books) counts() counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return counts{b.messages, b.accepted, b.refusals, b.deliveries, b.repeats, b.afterRefuse}
}

// summary is the totals in one line.
func (b *books) summary() string {
	c := b.counts()
	return fmt.Sprintf("%d sent, %d acknowledged, %d refused, %d delivered", c.messages, c.accepted, c.refusals, c.deliveries)
}

func (b *books) anyBroken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken != [promises]uint64{}
}

// anyWrong is anyBroken apart from what took too long, after which there is
// still something to be learnt.
func (b *books) anyWrong() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := b.broken
	wrong[readyInTime] = 0
	return wrong != [promises]uint64{}
}

// report writes the table and, if a promise was broken, the evidence.
func (r *run) report() {
	b := r.fleet.books
	c := b.counts()
	w := r.out
	fmt.Fprintf(w, "mode %s, seed %d, %.0f s\n", r.mode, r.seed, time.Since(r.begin).Seconds())
	for _, kind := range slices.Sorted(maps.Keys(r.kinds)) {
		fmt.Fprintf(w, "  %-42s %12d\n", kind, r.kinds[kind])
	}
	fmt.Fprintf(w, "\n%-44s %12s\n", "messages", "")
	for _, line := range []struct {
		what string
		n    uint64
	}{
		{"sent", c.messages}, {"acknowledged", c.accepted}, {"refused", c.refusals}, {"delivered", c.deliveries},
		{"of these repeated, as QoS 1 may be", c.repeats}, {"of these refused, and delivered all the same", c.afterRefuse},
	} {
		fmt.Fprintf(w, "  %-42s %12d\n", line.what, line.n)
	}
	fmt.Fprintf(w, "\n%-52s %5s %8s %8s %8s %8s\n", "until ready, in ms", "times", "median", "p90", "p99", "most")
	for _, what := range slices.Sorted(maps.Keys(r.times)) {
		t := slices.Sorted(slices.Values(r.times[what]))
		at := func(q float64) float64 { return float64(t[int(q*float64(len(t)-1))]) / 1e6 }
		fmt.Fprintf(w, "  %-50s %5d %8.1f %8.1f %8.1f %8.1f\n", what, len(t), at(0.5), at(0.9), at(0.99), at(1))
	}
	fmt.Fprintf(w, "\n%-60s %12s %8s\n", "promise", "checked", "broken")
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range promises {
		fmt.Fprintf(w, "  %-58s %12d %8d\n", p, b.checked[p], b.broken[p])
	}
	if len(b.found) == 0 {
		return
	}
	fmt.Fprintf(w, "\nEvidence (the seed was %d; with the same one the same is done, but not at the same moments):\n", r.seed)
	for _, v := range b.found {
		fmt.Fprintf(w, "  broken: %v\n    %s\n%s", v.promise, v.what, v.evidence)
	}
	if r.broker != nil && r.broker.life != nil {
		fmt.Fprintf(w, "  last lines of the broker's log:\n%s\n", r.broker.life.Log)
	}
}
