package appliance_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/appliance"
)

// Whatever is logged as JSON reads back as it was, from one line of characters
// that can be printed.
func TestJSONLogIsPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "value")
		var out bytes.Buffer
		log, _ := appliance.NewLogger(appliance.LogConfig{Format: appliance.LogJSON}, &out)
		log.Info("m", "client", want)
		line, rest, _ := bytes.Cut(out.Bytes(), []byte("\n"))
		if len(rest) > 0 || bytes.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("logged %q", out.Bytes())
		}
		var got struct{ Client string }
		if err := json.Unmarshal(line, &got); err != nil || got.Client != want {
			t.Fatalf("%q reads back as %q, %v, from %s", want, got.Client, err, line)
		}
	})
}
