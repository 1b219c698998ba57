package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// output is what go test would print of curves that all grow with power e.
func output(e float64) string {
	var b strings.Builder
	for _, p := range plots() {
		for _, c := range p.curves {
			for n := 10.0; n <= 100_000; n *= 10 {
				for _, noise := range []float64{0.9, 1, 50} {
					fmt.Fprintf(&b, "BenchmarkGrowth%s/%.0f-2\t100\t1 ns/op\t%.3f cpu-ns/op\t0 B/op\n", c.key, n, 100*noise*math.Pow(n, e))
				}
			}
		}
	}
	return b.String()
}

func TestCurves(t *testing.T) {
	for e, good := range map[float64]bool{0: true, 0.5: true, 1: true, 1.1: true, 1.5: false, 2: false} {
		out := t.TempDir()
		if err := run(strings.NewReader("goos: linux\n"+output(e)+"PASS\n"), out); (err == nil) != good {
			t.Errorf("power %v: %v", e, err)
		}
		table, err := os.ReadFile(filepath.Join(out, "table.txt"))
		if err != nil && good {
			t.Fatal(err)
		}
		if good && strings.Count(string(table), fmt.Sprintf("| %.2f |", e)) < len(plots()) {
			t.Errorf("power %v:\n%s", e, table)
		}
		for _, p := range plots() {
			f, err := os.Open(filepath.Join(out, p.file+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			d := xml.NewDecoder(f)
			for err == nil {
				_, err = d.Token()
			}
			if err != io.EOF {
				t.Errorf("%s: %v", p.file, err)
			}
			f.Close()
		}
	}
}

func TestInsert(t *testing.T) {
	dir := t.TempDir()
	table, document := filepath.Join(dir, tableFile), filepath.Join(dir, "document")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(table, "| new |\n")
	write(document, "before\n"+begin+"\n| old |\n| older |\n"+end+"\nafter\n")
	for range 2 { // the second changes nothing
		if err := insert(table, document); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(document)
		if want := "before\n" + begin + "\n| new |\n\n" + end + "\nafter\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	for _, bad := range []string{"", begin + "\n", end + "\n" + begin + "\n"} {
		write(document, bad)
		if err := insert(table, document); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, bad := range []string{"", "BenchmarkGrowthTopics/many-2 1 2 ns/op", "BenchmarkGrowthTopics/10-2 1 x ns/op", "BenchmarkGrowthTopics/10-2 1 2 ns/op"} {
		if err := run(strings.NewReader(bad), t.TempDir()); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestWords(t *testing.T) {
	for want, v := range map[string]float64{"1 ns": 1, "2.5 us": 2500, "100 us": 1e5, "1 ms": 1e6, "12 s": 1.2e10} {
		if got := processor.word(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
	if got := memory.word(1500) + " " + count(1_000_000) + " " + count(100); got != "1.5 kB 1,000,000 100" {
		t.Error(got)
	}
}
