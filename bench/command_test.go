package bench_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/bench"
)

// runCommand runs `test bench ARGS` and returns its output and exit code.
func runCommand(t *testing.T, args ...string) (stdout string, code int, err error) {
	t.Helper()
	var out bytes.Buffer
	app := &cli.App{
		Name: "test", Writer: &out, ErrWriter: &out,
		Commands:       []*cli.Command{bench.Command()},
		ExitErrHandler: func(*cli.Context, error) {}, // the test looks at the error instead
	}
	err = app.RunContext(t.Context(), append([]string{"test", "bench"}, args...))
	var exit cli.ExitCoder
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		code = -1
	}
	return out.String(), code, err
}

func TestCommandJSON(t *testing.T) {
	out, code, err := runCommand(t, "--address", startBroker(t), "--scenario", "fan-out", "-n", "4", "--qos", "1",
		"--version", "5", "--count", "100", "--window", "10", "--payload", "32", "--pid", strconv.Itoa(1<<22+1), "-o", "jsonl")
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	var res bench.Result
	if err := json.Unmarshal([]byte(out), &res); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("output is not one line of JSON: %v\n%s", err, out)
	}
	if res.Scenario != bench.FanOut || res.Subscribers != 4 || res.QoS != 1 || res.Version != "5" ||
		res.Payload != 32 || res.Window != 10 || res.Published != 100 || res.Delivered != 400 {
		t.Errorf("got %+v", res)
	}
	// The names are part of the output's contract; scripts read them.
	for _, key := range []string{"brokerCPUMicrosPerMessage", "msgsPerSecond", "p99", "lost", "reordered", "duplicates"} {
		if !strings.Contains(out, `"`+key+`":`) {
			t.Errorf("no %q in %s", key, out)
		}
	}
}

func TestCommandTable(t *testing.T) {
	out, code, err := runCommand(t, "-a", startBroker(t), "--count", "50", "-n", "2")
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "us/msg") || !strings.Contains(lines[1], "2->2") {
		t.Errorf("got\n%s", out)
	}
	// Without a process id, CPU and memory are unknown, not zero.
	heads, fields := strings.Fields(strings.NewReplacer("broker us", "us", "load us", "us").Replace(lines[0])), strings.Fields(lines[1])
	for i, name := range heads {
		if unknown := fields[i] == "-"; unknown != (name == "rate" || name == "memory" || name == "switches/msg" || i > 0 && heads[i-1] == "msgs/s") {
			t.Errorf("%s is %q", name, fields[i])
		}
	}
}

func TestCommandExitCodes(t *testing.T) {
	lossy := newProxy(t, startBroker(t), func(n int) fault { return fault{drop: n == 5} })
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown scenario", []string{"--scenario", "ring"}, 2, "ring"},
		{"unknown version", []string{"--version", "4"}, 2, "3.1.1"},
		{"unknown output", []string{"-o", "xml"}, 2, "xml"},
		{"qos out of range", []string{"--qos", "256"}, 2, "qos"},
		{"argument", []string{"fan-in"}, 2, "fan-in"},
		{"nobody listens", []string{"-a", "127.0.0.1:1"}, 1, "refused"},
		{"a message is lost", []string{"-a", lossy, "--count", "100", "-n", "1"}, 1, "1 messages lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, code, err := runCommand(t, tt.args...)
			if code != tt.code || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("exit code %d, %v", code, err)
			}
		})
	}
}
