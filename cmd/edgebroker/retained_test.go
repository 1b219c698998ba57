package main

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/statsd"
)

// oneOfThree is a broker that tells one of three retained messages.
type oneOfThree struct{ statsd.Answers }

func (oneOfThree) Retained(string, int, bool) statsd.Found[statsd.Retained] {
	text := "21.5"
	return statsd.Found[statsd.Retained]{Total: 3, List: []statsd.Retained{{Topic: "a", Size: 4, Payload: &text}}}
}

// TestMoreIsRetained: what is said of the rest names only flags that there are.
func TestMoreIsRetained(t *testing.T) {
	fake := newFakeBroker()
	fake.Answers = oneOfThree{}
	socket := serveFake(t, fake)
	for verb, want := range map[string]string{
		"list": "note: 2 topics more; narrow the filter or raise --top\n",
		"show": "note: 2 topics more; narrow the filter\n",
	} {
		r := edgebroker(t, "retained", verb, "--socket", socket, "#")
		wantCode(t, r, exitOK)
		if !strings.HasSuffix(r.stderr, want) {
			t.Errorf("%s: stderr %q, want the end %q", verb, r.stderr, want)
		}
	}
}
