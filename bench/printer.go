package bench

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
)

// printer shows results in the format that was asked for, as soon as that
// allows, and progress meanwhile.
type printer struct {
	out, err io.Writer
	format   string
	list     bool // of JSON: there may be several results
	repeat   bool
	results  []Result
}

// newPrinter prints for c, and makes runs tell their progress to whom it may
// concern.
func newPrinter(c *cli.Context, runs []Options) *printer {
	p := &printer{out: c.App.Writer, err: c.App.ErrWriter, format: c.String("output"), repeat: c.Int("repeat") > 1}
	p.list = len(runs) > 1 || p.repeat || runs[0].RateShare > 0
	interval, tell := c.Duration("interval"), p.line
	switch {
	case c.Bool("quiet"):
		return p
	case interval > 0 && p.format == "jsonl":
		tell = p.json
	case interval > 0:
	case isTerminal(p.err):
		interval = time.Second
	default:
		return p
	}
	for i := range runs {
		runs[i].Progress, runs[i].Interval = tell, interval
	}
	return p
}

// json shows progress to programs.
func (p *printer) json(at Progress) { _ = writeJSON(p.out, at, false) }

// line shows progress to people.
func (p *printer) line(at Progress) {
	var b strings.Builder
	fmt.Fprintf(&b, "%6.0fs", float64(at.Elapsed))
	what := "msgs"
	switch {
	case at.Phase == connecting, at.Scenario == Connect:
		what = "clients"
	case at.Scenario == Idle:
		what = "pings"
	}
	if at.Phase == connecting {
		fmt.Fprintf(&b, "  connecting")
	}
	fmt.Fprintf(&b, "  %s %s/s  %s in all", humanize.Comma(int64(at.PerSecond)), what, humanize.Comma(int64(at.Count)))
	if at.P99 > 0 {
		fmt.Fprintf(&b, "  p99 %s", short(at.P99))
	}
	if at.BrokerCPUs > 0 {
		fmt.Fprintf(&b, "  broker %.0f%% of a CPU", at.BrokerCPUs*100)
	}
	fmt.Fprintln(p.err, b.String())
}

// result takes the next one.
func (p *printer) result(r Result) error {
	p.results = append(p.results, r)
	if p.format == "jsonl" {
		return writeJSON(p.out, r, false)
	}
	return nil
}

// flush shows what has not been shown yet.
func (p *printer) flush() error {
	if len(p.results) == 0 {
		return nil
	}
	switch p.format {
	case "jsonl":
		return nil
	case "json":
		if p.list {
			return writeJSON(p.out, p.results, true)
		}
		return writeJSON(p.out, p.results[0], true)
	case "hdr":
		return WriteHDR(p.out, p.results[len(p.results)-1]) // before it comes but the measurement of saturation
	}
	if err := writeTable(p.out, p.results...); err != nil || !p.repeat {
		return err
	}
	if _, err := fmt.Fprintln(p.out, "\nmedians:"); err != nil {
		return err
	}
	return writeTable(p.out, Medians(p.results)...)
}

// unclean says what was wrong with the results, empty if nothing was.
func (p *printer) unclean() string {
	var lost, reordered, repeated uint64
	var parts []string
	for _, r := range p.results {
		lost, reordered, repeated = lost+r.Lost, reordered+r.Reordered, repeated+r.Duplicates
		if c := r.Connects; c != nil && c.Failed > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d clients could not connect (%s)", c.Failed, c.Made+c.Failed, reasons(c.Reasons)))
		}
		if i := r.Idle; i != nil && i.Ended > 0 {
			parts = append(parts, fmt.Sprintf("the broker ended %d of %d connections of idle clients", i.Ended, i.Clients))
		}
		if i := r.Idle; i != nil && i.Missed > 0 {
			parts = append(parts, fmt.Sprintf("%d PINGREQs of idle clients were not answered", i.Missed))
		}
	}
	if lost+reordered+repeated > 0 {
		parts = append(parts, fmt.Sprintf("%d messages lost, %d reordered, %d repeated", lost, reordered, repeated))
	}
	return strings.Join(parts, "; ")
}

// String lists the most frequent reasons.
func (r reasons) String() string {
	const most = 3
	var parts []string
	for _, name := range r.worst(most) {
		parts = append(parts, fmt.Sprintf("%d: %s", r[name], name))
	}
	if len(r) > most {
		parts = append(parts, fmt.Sprintf("%d reasons more", len(r)-most))
	}
	return strings.Join(parts, ", ")
}
