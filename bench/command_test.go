package bench_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/wire"
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

// refusing lets nobody in.
func refusing(n int, f wire.Frame) ([]byte, bool) {
	return wire.AppendConnack(nil, wire.V311, &wire.Connack{Reason: wire.NotAuthorized}), true
}

func refusingHalf(n int, f wire.Frame) ([]byte, bool) {
	if n%2 == 0 {
		return accepting(n, f)
	}
	return refusing(n, f)
}

func TestCommandSweep(t *testing.T) {
	out, code, err := runCommand(t, "-a", startBroker(t), "--count", "20", "--payload", "16,100", "--clients", "1,2", "--scenario", "pairs,connect", "-o", "jsonl")
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	var got []string
	for line := range strings.Lines(out) {
		var r bench.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		n := r.Publishers
		if r.Connects != nil {
			n = int(r.Connects.Made / 20)
		}
		got = append(got, fmt.Sprintf("%s %d %d", r.Scenario, n, r.Payload))
	}
	want := []string{"pairs 1 16", "pairs 1 100", "pairs 2 16", "pairs 2 100", "connect 1 16", "connect 1 100", "connect 2 16", "connect 2 100"}
	if !slices.Equal(got, want) {
		t.Errorf("runs were\n%q, not\n%q", got, want)
	}
}

func TestCommandList(t *testing.T) {
	for _, args := range [][]string{{"--repeat", "2"}, {"--qos", "0,1"}} {
		out, code, err := runCommand(t, append(args, "-a", startBroker(t), "--count", "20", "-o", "json")...)
		var all []bench.Result
		if jsonErr := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || jsonErr != nil || len(all) != 2 {
			t.Errorf("%q: exit code %d, %v, %v\n%s", args, code, err, jsonErr, out)
		}
	}
}

func TestCommandRepeatTable(t *testing.T) {
	out, code, err := runCommand(t, "-a", startBroker(t), "--count", "20", "--qos", "0,1", "--repeat", "3")
	head, medians, ok := strings.Cut(out, "\nmedians:\n")
	if err != nil || code != 0 || !ok || strings.Count(head, "\n") != 7 || strings.Count(medians, "\n") != 3 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
}

func TestCommandHDR(t *testing.T) {
	out, code, err := runCommand(t, "-a", startBroker(t), "--duration", "100ms", "--warmup", "10ms", "--rate", "5%", "-n", "1", "-o", "hdr")
	if err != nil || code != 0 || !strings.HasPrefix(out, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n") || strings.Count(out, "#[Mean") != 1 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
}

// Progress is told to programs among the results, and to people apart from them.
func TestCommandProgress(t *testing.T) {
	addr := startBroker(t)
	args := []string{"-a", addr, "--duration", "200ms", "--warmup", "0s", "-n", "1", "--interval", "20ms"}
	out, code, err := runCommand(t, append(args, "-o", "jsonl")...)
	if err != nil || code != 0 || strings.Count(out, `"progress":"running"`) == 0 || !strings.Contains(out, `"scenario":"pairs","version"`) {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	out, code, err = runCommand(t, args...)
	if err != nil || code != 0 || !regexp.MustCompile(`s  [\d,]+ msgs/s  [\d,]+ in all  p99 [\d.]+.?s\n`).MatchString(out) {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	for _, quiet := range [][]string{append(args, "--quiet"), args[:len(args)-2]} {
		out, code, err = runCommand(t, quiet...)
		if err != nil || code != 0 || strings.Contains(out, "in all") || strings.Contains(out, "progress") {
			t.Errorf("%q: exit code %d, %v\n%s", quiet, code, err, out)
		}
	}
}

func TestCommandExitCodes(t *testing.T) {
	addr := startBroker(t)
	lossy := newProxy(t, addr, func(n int) fault { return fault{drop: n == 5} })
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
		{"a list with a hole", []string{"--payload", "64,,128"}, 2, "payload"},
		{"a list with a bad value", []string{"--qos", "0,3"}, 2, "qos is 3"},
		{"not a number", []string{"--clients", "many"}, 2, `clients "many"`},
		{"not a rate", []string{"--rate", "fast"}, 2, "50%"},
		{"no rate", []string{"--rate", "0%"}, 2, "give more of saturation"},
		{"more than there is", []string{"--rate", "500%"}, 2, "% of saturation"},
		{"a share of nothing", []string{"--scenario", "idle", "--rate", "50%"}, 2, "has no saturation"},
		{"repeat", []string{"--repeat", "0"}, 2, "repeat is 0"},
		{"interval", []string{"--interval", "1us"}, 2, "interval is 1µs"},
		{"hdr of several", []string{"--qos", "0,1", "-o", "hdr"}, 2, "hdr is of one run"},
		{"pid", []string{"--pid", "broker"}, 2, `pid "broker"`},
		{"nobody to be found", []string{"-a", "127.0.0.1:1", "--pid", "auto"}, 2, "nobody listens"},
		{"aliases need 5", []string{"--aliases"}, 2, "--version 5"},
		{"idle publishes nothing", []string{"-s", "idle", "--retain"}, 2, "publishes nothing"},
		{"no hearers", []string{"-s", "pub", "--wildcard", "2"}, 2, "delivers nothing"},
		{"nobody stays", []string{"--stay", "1s"}, 2, "only clients of scenario connect stay"},
		{"one of several does not fit", []string{"-s", "pairs,idle", "--aliases", "--version", "5"}, 2, "scenario idle publishes nothing"},
		{"no latency", []string{"-a", addr, "-s", "pub", "--count", "5", "-o", "hdr"}, 1, "no latency was measured"},
		{"too many aliases", []string{"-a", addr, "-s", "fan-in", "--version", "5", "--aliases", "--topics", "60000", "--count", "5", "-n", "1"}, 1, "choose fewer topics"},
		{"nobody is let in", []string{"-a", fakeBroker(t, refusing), "-s", "connect"}, 1, "refused: not authorized"},
		{"few are let in", []string{"-a", fakeBroker(t, refusingHalf), "-s", "connect", "-n", "4"}, 1, "2 of 4 clients could not connect (2: refused: not authorized)"},
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
