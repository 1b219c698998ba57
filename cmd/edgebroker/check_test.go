package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/statsd"
)

func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		text string
		good []float64
		bad  []float64
	}{
		{"10", []float64{0, 10, 3.5}, []float64{-0.1, 10.1}},
		{"10:", []float64{10, 1e9}, []float64{9.9, -1}},
		{"~:10", []float64{-1e9, 10}, []float64{10.1}},
		{"10:20", []float64{10, 15, 20}, []float64{9, 21}},
		{"@10:20", []float64{9, 21}, []float64{10, 15, 20}},
		{"@10", []float64{-1, 11}, []float64{0, 10}},
		{"0", []float64{0}, []float64{1, -1}},
		{"-5:-1.5", []float64{-2}, []float64{-1, -6}},
		{"~:", []float64{-1e9, 1e9}, nil},
	} {
		got, err := parseThreshold(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		for _, v := range c.good {
			if !got.good(v) {
				t.Errorf("%q: %v is bad", c.text, v)
			}
		}
		for _, v := range c.bad {
			if got.good(v) {
				t.Errorf("%q: %v is good", c.text, v)
			}
		}
	}
	for _, text := range []string{"", "@", ":", ":10", "x", "10:x", "20:10", "1:2:3", "nan", "inf:", "~", "10 "} {
		if got, err := parseThreshold(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

// TestThresholdsNeverPanic: whatever is written is refused or means something.
func TestThresholdsNeverPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9@:~,.x-]{0,8}`).Draw(t, "text")
		got, err := parseThresholds(text)
		if err != nil {
			return
		}
		v := rapid.Float64().Draw(t, "value")
		for _, r := range []threshold{got.warning, got.critical} {
			if r.text != "" && !math.IsNaN(v) && r.good(v) == (threshold{text: r.text, low: r.low, high: r.high, inverted: !r.inverted}).good(v) {
				t.Fatalf("%q and its opposite agree on %v", r.text, v)
			}
		}
	})
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ready := statsd.Health{Live: true, Ready: true}
	full := statsd.Storage{BudgetBytes: 125, ReservedBytes: 25, UsedBytes: 99, HeldBytes: 96}
	cert := func(days int) []statsd.Certificate {
		return []statsd.Certificate{{Listener: "far", Role: "crl", NotAfter: now.AddDate(1, 0, 0)}, {Listener: "never", Role: "crl"},
			{Listener: "lan", Role: "certificate", NotAfter: now.AddDate(0, 0, days)}}
	}
	for name, c := range map[string]struct {
		snap   statsd.Snapshot
		health statsd.Health
		flags  map[string]string
		want   verdict
		words  string // begins so
		data   string // part of it
	}{
		"an empty broker":     {statsd.Snapshot{}, ready, nil, verdictOK, "0 clients, 0.0 lost/min", "clients=0;; drops=0;1;100"},
		"not ready":           {statsd.Snapshot{}, statsd.Health{Live: true}, nil, verdictCritical, "the daemon is not ready, 0 clients", ""},
		"a problem":           {statsd.Snapshot{}, statsd.Health{Live: true, Ready: true, Problems: []string{"the store has failed"}}, nil, verdictCritical, "the store has failed, ", ""},
		"too few clients":     {statsd.Snapshot{ClientCount: 3}, ready, map[string]string{"clients": "5:,1:"}, verdictWarning, "3 clients", "clients=3;5:;1:"},
		"far too few clients": {statsd.Snapshot{}, ready, map[string]string{"clients": "5:,1:"}, verdictCritical, "0 clients", ""},
		"only critical":       {statsd.Snapshot{}, ready, map[string]string{"clients": ",1:"}, verdictCritical, "0 clients", "clients=0;;1:"},
		"drops":               {statsd.Snapshot{Rates: statsd.Rates{Lost: statsd.Rate{Min5: 0.5}}}, ready, nil, verdictWarning, "30.0 lost/min, 0 clients", "drops=30;1;100"},
		"nobody misses it":    {statsd.Snapshot{Rates: statsd.Rates{Dropped: statsd.Rate{Min5: 1000}}}, ready, nil, verdictOK, "0 clients", ""},
		"the store":           {statsd.Snapshot{Storage: full}, ready, nil, verdictCritical, "store 96% full", "store=96%;80;95"},
		"certificate":         {statsd.Snapshot{Certificates: cert(10)}, ready, nil, verdictWarning, "certificate of lan ends in 10 days", "certificate_days=10;14:;3:"},
		"certificate ends":    {statsd.Snapshot{Certificates: cert(2)}, ready, nil, verdictCritical, "certificate of lan ends in 2 days", ""},
		"certificate ended":   {statsd.Snapshot{Certificates: cert(-2)}, ready, nil, verdictCritical, "certificate of lan has ended", ""},
		"certificate is good": {statsd.Snapshot{Certificates: cert(90)}, ready, nil, verdictOK, "0 clients, certificate of lan ends in 90 days", ""},
	} {
		limits := make(map[string]thresholds)
		for _, p := range probes() {
			text := p.preset
			if f, ok := c.flags[p.name]; ok {
				text = f
			}
			var err error
			if limits[p.name], err = parseThresholds(text); err != nil {
				t.Fatal(err)
			}
		}
		v, words, data := judge(&c.snap, c.health, limits, now)
		if v != c.want || !strings.HasPrefix(words, c.words) || !strings.Contains(strings.Join(data, " "), c.data) {
			t.Errorf("%s: %v %q %q; want %v %q... %q", name, v, words, data, c.want, c.words, c.data)
		}
	}
}

func TestBridgeLag(t *testing.T) {
	now := time.Now()
	up := statsd.Bridge{Name: "up", State: "up", Since: now.Add(-time.Hour)}
	owed := statsd.Bridge{Name: "owed", State: "up", Since: now.Add(-time.Hour), Unanswered: 7}
	down := statsd.Bridge{Name: "cloud", State: "down", Since: now.Add(-90 * time.Second)}
	paused := statsd.Bridge{Name: "paused", State: "paused", Since: now.Add(-time.Hour)}
	for _, tt := range []struct {
		bridges []statsd.Bridge
		v       float64
		words   string
		ok      bool
	}{
		{nil, 0, "", false},
		{[]statsd.Bridge{paused}, 0, "", false},
		{[]statsd.Bridge{paused, up}, 0, "uplinks up", true},
		{[]statsd.Bridge{up, owed}, 7, "uplink owed is owed an answer for 7 s", true},
		{[]statsd.Bridge{owed, down, up}, 90, "uplink cloud is down for 90 s", true},
	} {
		v, words, ok := bridgeLag(&statsd.Snapshot{Bridges: tt.bridges}, now)
		if v != tt.v || words != tt.words || ok != tt.ok {
			t.Errorf("%+v: %v, %q, %v; want %v, %q, %v", tt.bridges, v, words, ok, tt.v, tt.words, tt.ok)
		}
	}
}
