package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// writeJSON writes v as one JSON value, indented for people or on one line.
func writeJSON(w io.Writer, v any, indented bool) error {
	e := json.NewEncoder(w)
	if indented {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// writeTable writes results for people, one row each, in a table for each kind
// of scenario. A dash means that the figure was not measured.
func writeTable(w io.Writer, results ...Result) error {
	for len(results) > 0 {
		kind := kindOf(results[0].Scenario)
		n := slices.IndexFunc(results, func(r Result) bool { return kindOf(r.Scenario) != kind })
		if n < 0 {
			n = len(results)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		rows(t, kind, results[:n])
		if err := t.Flush(); err != nil {
			return err
		}
		results = results[n:]
	}
	return nil
}

// kindOf is the scenario whose table has the columns of s.
func kindOf(s Scenario) Scenario {
	if s == Connect || s == Idle {
		return s
	}
	return Pairs
}

func rows(w io.Writer, kind Scenario, results []Result) {
	switch kind {
	case Connect:
		fmt.Fprintln(w, "scenario\tclients\tmqtt\tconnects/s\tbroker us/connect\tmemory\teach\tp50\tp99\tp99.9\tmax\tCONNACK p50\tp99\tfailed\t")
	case Idle:
		fmt.Fprintln(w, "scenario\tclients\tmqtt\tmemory\teach\tbroker us/client/min\tswitches/min\tforced/min\tpings\tunanswered\tended\t")
	default:
		fmt.Fprintln(w, "scenario\tclients\tqos\tmqtt\tbytes\trate\tmsgs/s\tbroker us/msg\tload us/msg\tmemory\tswitches/msg\tp50\tp99\tp99.9\tmax\tlost\treordered\trepeated\t")
	}
	for _, r := range results {
		switch kind {
		case Connect:
			connectRow(w, r)
		case Idle:
			idleRow(w, r)
		default:
			loadRow(w, r)
		}
	}
}

func loadRow(w io.Writer, r Result) {
	cpu, switches := "-", "-"
	if r.BrokerRSS > 0 {
		cpu, switches = fmt.Sprintf("%.2f", r.BrokerCPUMicrosPerMsg), fmt.Sprintf("%.3f", r.BrokerSwitchesPerMsg)
	}
	rate := "-"
	switch {
	case r.RateShare > 0:
		rate = fmt.Sprintf("%.4g%%", r.RateShare*100)
	case r.Rate > 0:
		rate = fmt.Sprintf("%.4g/s", r.Rate)
	}
	qos, size := fmt.Sprint(r.QoS), fmt.Sprint(r.Payload)
	if r.Scenario == Mixed {
		qos = "0+1"
	}
	lost, reordered, repeated := fmt.Sprint(r.Lost), fmt.Sprint(r.Reordered), fmt.Sprint(r.Duplicates)
	if !r.Scenario.verified() {
		reordered, repeated = "-", "-"
	}
	if r.Scenario == Sub {
		lost, size = "-", "-"
	}
	fmt.Fprintf(w, "%s\t%d->%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\n",
		r.Scenario, r.Publishers, r.Subscribers, qos, r.Version, size, rate,
		humanize.Comma(int64(r.MsgsPerSec)), cpu, r.LoadCPUMicrosPerMsg, memory(r.BrokerRSS), switches,
		percentiles(r.Latency), lost, reordered, repeated+"\t")
}

func connectRow(w io.Writer, r Result) {
	c := r.Connects
	if c == nil {
		c = &Connects{}
	}
	cpu, each := "-", "-"
	if r.BrokerRSS > 0 {
		cpu = fmt.Sprintf("%.0f", c.BrokerCPUMicros)
	}
	if c.RSSPerConnection > 0 {
		each = humanize.IBytes(uint64(c.RSSPerConnection))
	}
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n",
		r.Scenario, c.Made+c.Failed, r.Version, humanize.Comma(int64(c.PerSecond)), cpu, memory(r.BrokerRSS), each,
		percentiles(r.Latency), short(c.Connack.P50), short(c.Connack.P99), c.Failed)
}

func idleRow(w io.Writer, r Result) {
	c := r.Idle
	if c == nil {
		c = &IdleCost{}
	}
	each, cpu, switches, forced := "-", "-", "-", "-"
	if r.BrokerRSS > 0 {
		each = humanize.IBytes(uint64(c.RSSPerConnection))
		cpu, switches, forced = fmt.Sprintf("%.1f", c.CPUMicros), fmt.Sprintf("%.0f", c.Switches), fmt.Sprintf("%.0f", c.Preemptions)
	}
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t\n",
		r.Scenario, c.Clients, r.Version, memory(r.BrokerRSS), each, cpu, switches, forced, c.Pings, c.Missed, c.Ended)
}

// percentiles are four columns.
func percentiles(l Latency) string {
	if l.Samples == 0 {
		return "-\t-\t-\t-"
	}
	return short(l.P50) + "\t" + short(l.P99) + "\t" + short(l.P999) + "\t" + short(l.Max)
}

func memory(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	return humanize.IBytes(bytes)
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
