package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// TestTorture lets each mode do its worst to a broker as it is shipped, all at
// once, since most of what they do is to wait. How often is enough to find what
// breaks at one kill in a few; scripts/torture.sh kills it 500 times.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the broker")
	}
	binary := brokertest.Build(t)
	for mode, amount := range map[string][]string{
		"memory": {"--kills", "3"}, "kill": {"--kills", "15"}, "stop": {"--kills", "5"}, "long": {"--for", "10s"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			runTorture(t, append(amount, "--broker", binary, "--mode", mode)...)
		})
	}
}

// runTorture runs the command in a folder with a short path, as sockets need.
func runTorture(t *testing.T, args ...string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var out, log bytes.Buffer
	// How long a start takes on a machine that is busy with other tests is not
	// asserted here; scripts/torture.sh does.
	args = append(args, "--dir", dir, "--ready", "30s", "--rate", "300")
	if code := command(t.Context(), args, &out, &log); code != 0 {
		t.Errorf("torture %s: exit status %d\n%s%s", strings.Join(args, " "), code, &log, &out)
	}
}

func TestCommandUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--broker", "x", "--mode", "gently"}, {"--broker", "x", "extra"}, {"--broker", "x", "--rate", "0"},
		{"--broker", "x", "--kills", "-1"}, {"--nonsense"}, {"--broker", "/does/not/exist"}, {"--broker", "x", "--dir", "."},
	} {
		var out, log bytes.Buffer
		if code := command(t.Context(), args, &out, &log); code != 2 || log.Len() == 0 {
			t.Errorf("%q: exit status %d, %q", args, code, log.String())
		}
	}
}
