package appliance

import (
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"listeners", "level", "log", "mode"}
	for got, want := range map[string]string{
		"listener":               "did you mean listeners?",
		"Listeners":              "did you mean listeners?",
		"lis-teners":             "did you mean listeners?",
		"lvel":                   "did you mean level?",
		"lug":                    "did you mean log?",
		"colour":                 "use listeners, level, log or mode",
		"":                       "use listeners, level, log or mode",
		strings.Repeat("l", 1e6): "use listeners, level, log or mode",
	} {
		if advice := didYouMean(got, known, "use "); advice != want {
			t.Errorf("%.20q: got %s, want %s", got, advice, want)
		}
	}
	if advice := didYouMean("x", []string{"only"}, "use "); advice != "use only" {
		t.Errorf("got %s", advice)
	}
}
