package bench

import (
	"testing"
)

func TestMedians(t *testing.T) {
	run := func(qos byte, msgs float64, p99 Seconds, lost uint64) Result {
		return Result{Scenario: Pairs, QoS: qos, MsgsPerSec: msgs, Latency: Latency{P99: p99}, Lost: lost}
	}
	got := Medians([]Result{run(0, 5, 1, 0), run(1, 50, 10, 2), run(0, 1, 9, 0), run(1, 70, 30, 3), run(0, 3, 2, 0)})
	if len(got) != 2 {
		t.Fatalf("%d kinds of runs", len(got))
	}
	// Each figure by itself: 3 and 2 are of the same run, by chance of another.
	if got[0].MsgsPerSec != 3 || got[0].Latency.P99 != 2 || got[0].Lost != 0 {
		t.Errorf("of three: %+v", got[0])
	}
	if got[1].MsgsPerSec != 60 || got[1].Latency.P99 != 20 || got[1].Lost != 5 || got[1].QoS != 1 {
		t.Errorf("of two: %+v", got[1])
	}
}

func TestMediansOfConnectsAndIdle(t *testing.T) {
	connect := func(n, failed uint64, us float64) Result {
		return Result{Scenario: Connect, Connects: &Connects{Made: n, Failed: failed, BrokerCPUMicros: us, Reasons: map[string]uint64{"x": failed}}}
	}
	idle := func(us float64, ended uint64) Result {
		return Result{Scenario: Idle, Idle: &IdleCost{Clients: 7, CPUMicros: us, Ended: ended}}
	}
	all := []Result{connect(1, 1, 30), idle(5, 0), connect(3, 2, 10), idle(9, 4), connect(2, 0, 20), idle(7, 0)}
	got := Medians(all)
	if len(got) != 2 || got[0].Connects.Made != 2 || got[0].Connects.Failed != 3 || got[0].Connects.BrokerCPUMicros != 20 || got[1].Idle.CPUMicros != 7 || got[1].Idle.Ended != 4 {
		t.Errorf("got %+v", got)
	}
	if all[0].Connects.Made != 1 || all[0].Connects.Reasons["x"] != 1 || all[1].Idle.CPUMicros != 5 {
		t.Error("the results themselves have changed")
	}
}

// What a share of saturation is in messages differs each time; what a rate is does not.
func TestKindred(t *testing.T) {
	a, b := Result{Rate: 100, RateShare: 0.5}, Result{Rate: 101, RateShare: 0.5}
	if !kindred(a, b) {
		t.Error("two repetitions at the same share are apart")
	}
	a.RateShare, b.RateShare = 0, 0
	if kindred(a, b) {
		t.Error("two rates are taken for one")
	}
}
