// Command growth draws what benchmarks say of how costs grow: it reads the output of
// go test -bench, whose names end in /SIZE, and writes a plot of each group of curves
// and a table of all. It fails if a curve is worse than n log n. scripts/growth.sh
// runs it.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	out := flag.String("out", "docs/growth", "`FOLDER` for the plots and the table")
	into := flag.String("into", "", "`FILE` of Markdown that has the table between two lines, "+begin+" and "+end)
	flag.Parse()
	err := run(os.Stdin, *out)
	if err == nil && *into != "" {
		err = insert(filepath.Join(*out, tableFile), *into)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth: error:", err)
		os.Exit(1)
	}
}

// The lines of a document between which the table stands.
const begin, end = "<!-- growth -->", "<!-- end of growth -->"

const tableFile = "table.txt"

// insert puts a table into a document, in place of the one that it has.
func insert(table, into string) error {
	text, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	document, err := os.ReadFile(into)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(document), begin+"\n")
	_, after, closed := strings.Cut(rest, end+"\n")
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %s and, below, %s", into, begin, end)
	}
	return os.WriteFile(into, []byte(before+begin+"\n"+string(text)+"\n"+end+"\n"+after), 0o644)
}

// point is a measurement: its size, and the median of what was measured there.
type point struct{ n, value float64 }

// run reads measurements from r and writes what they show into the folder out.
func run(r io.Reader, out string) error {
	measured, err := read(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("| curve | what | sizes | least | most | exponent |\n|---|---|---|---|---|---|\n")
	var bad []string
	for _, p := range plots() {
		var curves []curve
		for _, c := range p.curves {
			points := measured[c.key]
			if len(points) < 2 {
				return fmt.Errorf("%s: %d sizes were measured, a curve needs two", c.key, len(points))
			}
			c.points = points
			curves = append(curves, c)
			e := exponent(points)
			low, high := spread(points)
			fmt.Fprintf(&table, "| [%s](growth/%s.svg) | %s | %s to %s | %s | %s | %.2f |\n", p.title, p.file, c.label,
				count(points[0].n), count(points[len(points)-1].n), p.unit.word(low), p.unit.word(high), e)
			if e > steepest {
				bad = append(bad, fmt.Sprintf("%s grows with the power %.2f of the size, and may with %.2f", c.key, e, steepest))
			}
		}
		p.curves = curves
		if err := os.WriteFile(filepath.Join(out, p.file+".svg"), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(out, tableFile), []byte(table.String()), 0o644); err != nil {
		return err
	}
	fmt.Print(table.String())
	if len(bad) > 0 {
		return fmt.Errorf("worse than n log n: %s", strings.Join(bad, "; "))
	}
	return nil
}

// read returns the points of each benchmark by its name without Benchmark and size.
// The value is the processor time of an operation or the bytes of an item, whichever
// is there.
func read(r io.Reader) (map[string][]point, error) {
	all := map[string]map[float64][]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "BenchmarkGrowth") {
			continue
		}
		name, size := path.Split(strings.TrimPrefix(f[0], "BenchmarkGrowth"))
		name = strings.TrimSuffix(name, "/")
		size, _, _ = strings.Cut(size, "-") // of processors
		n, err := strconv.ParseFloat(size, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: the name does not end in a size", f[0])
		}
		value := -1.0
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f[0], err)
			}
			if value < 0 || f[i+1] == "cpu-ns/op" || f[i+1] == "B/item" {
				value = v
			}
		}
		if all[name] == nil {
			all[name] = map[float64][]float64{}
		}
		all[name][n] = append(all[name][n], value)
	}
	out := map[string][]point{}
	for name, sizes := range all {
		for _, n := range slices.Sorted(maps.Keys(sizes)) {
			values := slices.Sorted(slices.Values(sizes[n]))
			out[name] = append(out[name], point{n, max(values[len(values)/2], 1e-9)})
		}
	}
	return out, lines.Err()
}
