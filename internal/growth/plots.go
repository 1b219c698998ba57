package main

import (
	"fmt"
	"strings"
)

// curve is one line of a plot.
type curve struct {
	key    string // of the benchmark
	label  string
	points []point
}

// plot is a picture of curves with one unit.
type plot struct {
	file, title, across string
	unit                unit
	curves              []curve
}

// unit is what values are counted in.
type unit string

const (
	processor unit = "processor time"
	memory    unit = "memory of each"
)

// word is a value for people.
func (u unit) word(v float64) string {
	steps := []string{"ns", "us", "ms", "s"}
	if u == memory {
		steps = []string{"B", "kB", "MB", "GB"}
	}
	i := 0
	for v >= 999.9 && i < len(steps)-1 {
		v, i = v/1000, i+1
	}
	format := "%.0f %s"
	if v < 9.95 {
		format = "%.1f %s"
	}
	return strings.Replace(fmt.Sprintf(format, v, steps[i]), ".0 ", " ", 1)
}

// count is a size for people.
func count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// plots is what there is to be seen, in the order of the table.
func plots() []plot {
	return []plot{
		{"publish", "A publish at QoS 0 to one subscriber", "subscriptions of others", processor, []curve{
			{key: "Publish/new-wild", label: "new topic, wildcards among them"}, {key: "Publish/new-exact", label: "new topic, all exact"},
			{key: "Publish/known-wild", label: "known topic, wildcards"}, {key: "Publish/known-exact", label: "known topic, all exact"},
		}},
		{"topics", "A publish on many topics in turn", "topics", processor, []curve{{key: "Topics", label: "to one subscriber of all"}}},
		{"subscribe", "Subscriptions that come and go", "subscriptions of others", processor, []curve{
			{key: "Subscribe/many", label: "SUBSCRIBE, UNSUBSCRIBE: many filters"}, {key: "Subscribe/one", label: "the same, all of one filter"},
			{key: "Churn/elsewhere", label: "a publish, others subscribe elsewhere"}, {key: "Churn/beside", label: "a publish, others subscribe beside it"},
		}},
		{"retained", "A SUBSCRIBE with retained messages", "retained messages", processor, []curve{
			{key: "Retained/all", label: "# gets them all"}, {key: "Retained/ten", label: "a wildcard gets ten"}, {key: "Retained/one", label: "one topic"},
		}},
		{"sessions", "A CONNECT, a SUBSCRIBE and the end", "sessions of others", processor, []curve{{key: "Connect", label: "a clean session"}}},
		{"start", "A start from a store", "stored", processor, []curve{
			{key: "Start/sessions", label: "kept sessions, a subscription each"}, {key: "Start/retained", label: "retained messages of 64 bytes"},
		}},
		{"memory", "Memory for each of many", "there are", memory, []curve{
			{key: "Memory/sessions", label: "kept session, with a subscription"}, {key: "Memory/retained", label: "retained message of 64 bytes"},
			{key: "Memory/subscriptions", label: "subscription"},
		}},
	}
}
