package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// hgrmLine is a line as HdrHistogram's plotters take it apart.
type hgrmLine struct {
	value, percentile float64
	count             uint64
}

func parseHGRM(t interface{ Fatalf(string, ...any) }, text []byte) (lines []hgrmLine, footer string) {
	sc := bufio.NewScanner(bytes.NewReader(text))
	for n := 0; sc.Scan(); n++ {
		line := sc.Text()
		switch {
		case n == 0 && strings.Contains(line, "Value") && strings.Contains(line, "1/(1-Percentile)"), n == 1 && line == "":
		case strings.HasPrefix(line, "#["):
			footer += line + "\n"
		default:
			var l hgrmLine
			var inverse float64
			k, err := fmt.Sscan(line, &l.value, &l.percentile, &l.count, &inverse)
			if k < 3 || k == 3 && l.percentile != 1 || err != nil && l.percentile != 1 {
				t.Fatalf("line %d is %q: %v", n+1, line, err)
			}
			if k == 4 && math.Abs(inverse-1/(1-l.percentile)) > 0.01*inverse {
				t.Fatalf("line %d: %q", n+1, line)
			}
			lines = append(lines, l)
		}
	}
	return lines, footer
}

// Of any latencies, the lines rise in all columns, are as close as plotters
// expect, and each count is that of the values up to the line's.
func TestHDR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1<<38), 1, 400).Draw(t, "values")
		var h histogram
		for _, v := range values {
			h.record(time.Duration(v))
		}
		lines, footer := parseHGRM(t, h.appendHDR(nil))
		last := lines[len(lines)-1]
		if last.percentile != 1 || last.count != uint64(len(values)) || math.Abs(last.value-float64(h.max)/1e6) > 0.001 {
			t.Fatalf("the last line is %+v", last)
		}
		before := hgrmLine{percentile: -1}
		for _, l := range lines {
			if l.value < before.value || l.percentile <= before.percentile || l.count < before.count {
				t.Fatalf("%+v follows %+v", l, before)
			}
			var n uint64
			for _, v := range values {
				if float64(v)/1e6 <= l.value+0.0005 {
					n++
				}
			}
			if n < l.count {
				t.Fatalf("%+v, but %d values are not above that", l, n)
			}
			if float64(l.count) < l.percentile*float64(len(values))-1e-6 {
				t.Fatalf("%+v of %d values", l, len(values))
			}
			before = l
		}
		if !regexp.MustCompile(fmt.Sprintf(`#\[Mean    = +[\d.]+, StdDeviation   = +[\d.]+\]\n#\[Max     = +[\d.]+, Total count    = +%d\]\n#\[Buckets = +\d+, SubBuckets     = +\d+\]\n`, len(values))).MatchString(footer) {
			t.Fatalf("footer\n%s", footer)
		}
	})
}

func TestHDRLevels(t *testing.T) {
	var h histogram
	for range 1000 {
		h.record(time.Millisecond)
	}
	h.record(time.Second)
	lines, footer := parseHGRM(t, h.appendHDR(nil))
	var levels []string
	for _, l := range lines {
		levels = append(levels, fmt.Sprintf("%.4f", l.percentile))
	}
	// As in HdrHistogram, with five lines to each halving.
	if got, want := strings.Join(levels[:11], " "), "0.0000 0.1000 0.2000 0.3000 0.4000 0.5000 0.5500 0.6000 0.6500 0.7000 0.7500"; got != want {
		t.Errorf("levels are %s, not %s", got, want)
	}
	mean := 0.0
	if _, err := fmt.Sscanf(footer, "#[Mean    = %f,", &mean); err != nil || math.Abs(mean-1.998) > 0.02 {
		t.Errorf("mean %v ms, %v", mean, err)
	}
}

func TestHDROfNothing(t *testing.T) {
	if err := WriteHDR(&bytes.Buffer{}, Result{}); err == nil || !strings.Contains(err.Error(), "no latency") {
		t.Errorf("got %v", err)
	}
}
