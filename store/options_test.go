package store

import (
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

func TestRuleOfTopic(t *testing.T) {
	o := Options{Level: relay.Flush, Rules: []Rule{
		{"telemetry/alarm/#", relay.Sync},
		{"telemetry/#", relay.Memory},
		{"+/state", relay.Sync},
	}}
	for topic, want := range map[string]relay.Level{
		"telemetry/alarm/1": relay.Sync,
		"telemetry/alarm":   relay.Sync,
		"telemetry":         relay.Memory,
		"telemetry/state":   relay.Memory, // the first that matches
		"line/state":        relay.Sync,
		"line/state/x":      relay.Flush,
		"":                  relay.Sync,
	} {
		if got := o.level(topic); got != want {
			t.Errorf("%s: got %v, want %v", topic, got, want)
		}
	}
}
