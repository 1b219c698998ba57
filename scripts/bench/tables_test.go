// Package bench tests the tables of scripts/bench.sh: what is measured is worth
// nothing if the tables tell something else.
package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// script runs scripts/bench.sh on results, which are lines of JSON.
func script(t *testing.T, results string, args ...string) (out string, err error) {
	t.Helper()
	for _, program := range []string{"bash", "awk"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	file := filepath.Join(t.TempDir(), "results")
	if err := os.WriteFile(file, []byte(results), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := exec.CommandContext(t.Context(), "bash", append([]string{"../bench.sh", "--from", file}, args...)...).CombinedOutput()
	return string(b), err
}

// ran is the result of one run with members as they stand in JSON.
func ran(group, row, broker string, round int, members string) string {
	return fmt.Sprintf(`{"group":"%s","row":"%s","broker":"%s","round":%d,%s}`+"\n", group, row, broker, round, members)
}

// spent is a run of so many microseconds per message that lost so many.
func spent(micros float64, lost int) string {
	return fmt.Sprintf(`"fileBytesPerMessage":null,"bench":{"msgsPerSecond":1000.5,"brokerCPUMicrosPerMessage":%g,"latency":{"p50":1e-05,"p99":0.002},"lost":%d,"reordered":0,"duplicates":0}`, micros, lost)
}

func TestTables(t *testing.T) {
	const row = "10 pairs, QoS 1"
	var out strings.Builder
	out.WriteString(`{"group":"about","cores":2,"processor":"P","kernel":"K","brokers":"mosquitto 2.0.11","seconds":2}` + "\n")
	// The machine gets slower from round to round: of the medians edgebroker's is 0.2 of
	// mosquitto's, but in each round it was 0.1, 0.05 or 0.04.
	for i, v := range []struct{ mosquitto, edgebroker float64 }{{1, 0.1}, {10, 0.5}, {25, 1}} {
		out.WriteString(ran("saturated", row, "mosquitto", i+1, spent(v.mosquitto, 0)))
		out.WriteString(ran("saturated", row, "edgebroker", i+1, spent(v.edgebroker, 0)))
	}
	// One run of mochi was lost, of the other it lost messages; the median of two is
	// between them.
	out.WriteString(ran("saturated", row, "mochi", 1, spent(4, 1)))
	out.WriteString(ran("saturated", row, "mochi", 2, spent(2, 0)))
	out.WriteString(ran("saturated", row, "mochi", 3, `"failed":true`))
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"group": {[]string{"--saturated"}, []string{
			"2 x P, K; mosquitto 2.0.11\n",
			"| scenario | mosquitto | mochi | edgebroker | edgebroker / mosquitto | in the rounds | goal | met |\n|---|---|---|---|---|---|---|---|\n",
			`| 10 pairs, QoS 1 | 10.0 | 3.00\* | 0.500 | **0.050** | 0.040 to 0.100 | 0.035 | 1.43 times too much |` + "\n",
			`| 10 pairs, QoS 1 | 1,000 | 1,000\* | 1,000 |` + "\n",
			"\n\\* not every run",
		}},
		"release": {[]string{"--release"}, []string{"| 10 pairs, QoS 1, us/message | 10.0 | 0.500 | 0.050 | 0.035 |\n"}},
		"goals":   {[]string{"--goals"}, []string{"| 10 pairs, QoS 1 | 0.035 | **0.050** | 0.040 to 0.100 | 1.43 times too much | `ROWS='^10 pairs, QoS 1$' scripts/bench.sh --saturated` |\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := script(t, out.String(), c.args...)
			if err != nil {
				t.Fatal(err, got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("does not say\n%s\nbut\n%s", want, got)
				}
			}
		})
	}
}

// TestTablesLossMeetsNoGoal: what is not delivered costs nothing.
func TestTablesLossMeetsNoGoal(t *testing.T) {
	const row = "10 pairs, QoS 1"
	for _, lost := range []int{0, 1} {
		got, err := script(t, ran("saturated", row, "mosquitto", 1, spent(10, 0))+ran("saturated", row, "edgebroker", 1, spent(0.1, lost)), "--saturated", "--goals")
		if err != nil || strings.Count(got, "| yes |") != 2-2*lost || strings.Count(got, "| not clean |") != 2*lost {
			t.Errorf("of %d lost, %v: says\n%s", lost, err, got)
		}
	}
}

// TestTablesRatioNeedsBoth has no ratio where one side is missing.
func TestTablesRatioNeedsBoth(t *testing.T) {
	got, err := script(t, ran("low", "r", "mosquitto", 1, spent(10, 0))+ran("low", "r", "edgebroker", 2, spent(1, 0)), "--low")
	if want := "| r | 10.0 | 1.00 | - | - | - | - |\n"; err != nil || !strings.Contains(got, want) {
		t.Errorf("%v: does not say %q but\n%s", err, want, got)
	}
}

func TestTablesLatency(t *testing.T) {
	at := func(beside string, p99 float64, count string) string {
		return ran("latency", "r: "+beside, "edgebroker", 1, fmt.Sprintf(`"rate":500,"count":%s,"bench":{"latency":{"p50":0.001,"p99":%g,"p999":0.5}}`, count, p99))
	}
	got, err := script(t, at("quiet", 0.01, "null")+at("storm", 0.03, "null")+at("large", 0.02, "0")+at("collections", 0.03, "7"), "--latency", "--goals")
	if err != nil {
		t.Fatal(err, got)
	}
	for _, want := range []string{
		"| r: quiet | edgebroker | 500 | 1.00 | 10.0 | 500 | - | - | - | - |\n",
		"| r: storm | edgebroker | 500 | 1.00 | 30.0 | 500 | **3.00** | 3.00 to 3.00 | 2 | 1.50 times too much |\n",
		"| r: large | edgebroker | 500 | 1.00 | 20.0 | 500 | - | - | - | - |\n",
		"| r: collections (7) | edgebroker | 500 | 1.00 | 30.0 | 500 | **1.50** | 1.50 to 1.50 | 2 | yes |\n",
		"| r: p99 beside storm by quiet | 2 | **3.00** | 3.00 to 3.00 | 1.50 times too much |",
		"| r: p99 beside collections by large | 2 | **1.50** | 1.50 to 1.50 | yes |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("does not say\n%s\nbut\n%s", want, got)
		}
	}
}

// TestTablesInto replaces what is between the marks of a group, and nothing else.
func TestTablesInto(t *testing.T) {
	results := ran("paced", "r", "mosquitto", 1, spent(10, 0)) + ran("paced", "r", "edgebroker", 1, spent(5, 0))
	document := filepath.Join(t.TempDir(), "document")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		b, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write("a\n<!-- bench low -->\nb\n<!-- end -->\n<!-- bench paced -->\nold\n<!-- end -->\nc\n")
	var first string
	for range 2 { // the second time changes nothing
		if out, err := script(t, results, "--into", document, "--paced", "--low"); err != nil {
			t.Fatal(err, out)
		}
		got := read()
		before, table, _ := strings.Cut(got, "<!-- bench paced -->\n")
		if before != "a\n<!-- bench low -->\nb\n<!-- end -->\n" || !strings.HasSuffix(table, "<!-- end -->\nc\n") ||
			strings.Contains(table, "old") || !strings.Contains(table, "**0.500**") || first != "" && got != first {
			t.Fatalf("made of it\n%s", got)
		}
		first = got
	}
	for _, broken := range []string{"no mark\n", "<!-- bench paced -->\nno end\n"} {
		write(broken)
		if out, err := script(t, results, "--into", document, "--paced"); err == nil || read() != broken {
			t.Errorf("accepts %q, and makes of it %q: %s", broken, read(), out)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"word"}, {"--into", "no/such/file"}, {"--into"}, {"--release", "--low"}} {
		if out, err := script(t, "", args...); err == nil || !strings.Contains(out, "error: ") {
			t.Errorf("accepts %q: %s", args, out)
		}
	}
}
