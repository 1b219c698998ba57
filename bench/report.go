package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// WriteJSON writes r as one JSON object, indented for people or on one line.
func WriteJSON(w io.Writer, r Result, indented bool) error {
	e := json.NewEncoder(w)
	if indented {
		e.SetIndent("", "  ")
	}
	return e.Encode(r)
}

// WriteTable writes results for people, one row each. A dash means that the
// figure was not measured.
func WriteTable(w io.Writer, results ...Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tclients\tqos\tmqtt\tmsgs/s\tbroker us/msg\tload us/msg\tmemory\tp50\tp99\tp99.9\tmax\tlost\treordered\trepeated\t")
	for _, r := range results {
		cpu, memory := "-", "-"
		if r.BrokerRSS > 0 {
			cpu = fmt.Sprintf("%.2f", r.BrokerCPUMicrosPerMsg)
			memory = humanize.IBytes(r.BrokerRSS)
		}
		fmt.Fprintf(t, "%s\t%d->%d\t%d\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t\n",
			r.Scenario, r.Publishers, r.Subscribers, r.QoS, r.Version,
			humanize.Comma(int64(r.MsgsPerSec)), cpu, r.LoadCPUMicrosPerMsg, memory,
			short(r.Latency.P50), short(r.Latency.P99), short(r.Latency.P999), short(r.Latency.Max),
			r.Lost, r.Reordered, r.Duplicates)
	}
	return t.Flush()
}

// short shows a latency with about three digits.
func short(s Seconds) string {
	d := s.Duration()
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(100 * time.Nanosecond).String()
	}
}
