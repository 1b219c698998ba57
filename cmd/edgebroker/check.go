package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/statsd"
)

// verdict is what a monitoring plugin finds; its number is the exit code.
type verdict int

const (
	verdictOK verdict = iota
	verdictWarning
	verdictCritical
	verdictUnknown
)

func (v verdict) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[v] }

// probe is one value that is checked.
type probe struct {
	name    string // also of the flag and in the performance data
	preset  string // thresholds
	usage   string
	unit    string // in the performance data
	measure func(*statsd.Snapshot, time.Time) (v float64, words string, ok bool)
}

func probes() []probe {
	return []probe{
		{"clients", "", "connected clients", "", func(s *statsd.Snapshot, _ time.Time) (float64, string, bool) {
			return float64(s.ClientCount), things(s.ClientCount, "client"), true
		}},
		{"certificate-days", "14:,3:", "days until the first certificate or revocation list in use ends", "", certificateDays},
		{"disk", "90,95", "percent used of the disk that holds the state", "%", diskUsed},
		{"store", "80,95", "percent of what messages may take of storage.max_bytes, 100 when it is full", "%", func(s *statsd.Snapshot, _ time.Time) (float64, string, bool) {
			v, ok := s.Storage.Full()
			return v, fmt.Sprintf("store %.0f%% full", v), ok
		}},
		{"bridge-lag", "60,600", "seconds for which the worst uplink has been away, or its far side has owed an answer", "s", bridgeLag},
		{"drops", "1,100", "messages lost to somebody, per minute, on the average of five minutes", "", func(s *statsd.Snapshot, _ time.Time) (float64, string, bool) {
			v := s.Rates.Lost.Min5 * 60
			return v, fmt.Sprintf("%.1f lost/min", v), true
		}},
	}
}

func certificateDays(s *statsd.Snapshot, now time.Time) (v float64, words string, ok bool) {
	v = math.Inf(1)
	for _, c := range s.Certificates {
		if days := c.NotAfter.Sub(now).Hours() / 24; !c.NotAfter.IsZero() && days < v {
			v, ok = days, true
			words = fmt.Sprintf("%s of %s ends in %.0f days", c.Role, c.Listener, math.Floor(days))
			if days < 0 {
				words = fmt.Sprintf("%s of %s has ended", c.Role, c.Listener)
			}
		}
	}
	return v, words, ok
}

// bridgeLag is of the uplink with which it is worst. One that was paused is meant
// to be away.
func bridgeLag(s *statsd.Snapshot, now time.Time) (v float64, words string, ok bool) {
	for _, b := range s.Bridges {
		lag, why := b.Unanswered, fmt.Sprintf("uplink %s is owed an answer", b.Name)
		switch b.State {
		case "paused":
			continue
		case "up":
		default:
			lag, why = max(lag, now.Sub(b.Since).Seconds()), fmt.Sprintf("uplink %s is %s", b.Name, b.State)
		}
		if !ok || lag > v {
			v, ok = lag, true
			words = fmt.Sprintf("%s for %.0f s", why, lag)
			if lag == 0 {
				words = "uplinks up"
			}
		}
	}
	return v, words, ok
}

func diskUsed(s *statsd.Snapshot, _ time.Time) (v float64, words string, ok bool) {
	var fs unix.Statfs_t
	if s.Storage.Directory == "" || unix.Statfs(s.Storage.Directory, &fs) != nil || fs.Blocks == 0 {
		return 0, "", false
	}
	used := float64(fs.Blocks - fs.Bfree)
	v = 100 * used / (used + float64(fs.Bavail)) // as df reckons
	return v, fmt.Sprintf("disk %.0f%% full", v), true
}

func checkCommand(e *env) *cli.Command {
	cmd := &cli.Command{
		Name:  "check",
		Usage: "check the daemon as a Nagios, Icinga or Checkmk plugin does",
		UsageText: `edgebroker check
edgebroker check --clients 10:,1: --drops 5,50 --certificate-days 30:,7:`,
		Description: `Prints one line with performance data. Exit codes, unlike those of all other
commands: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. A daemon that does not answer, is
not ready, or whose store is full or has failed is CRITICAL; wrong flags are UNKNOWN.

Each flag takes WARNING,CRITICAL: the ranges of good values as plugins write them.
10 is 0 to 10, 10: is at least 10, ~:10 at most 10, 10:20 between, @10:20 not
between. One of the two, or both ("," or ""), may be left out.`,
		Flags:  controlFlags(),
		Action: func(c *cli.Context) error { return runCheck(e, c) },
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return e.verdict(verdictUnknown, err.Error(), nil)
		},
	}
	for _, p := range probes() {
		cmd.Flags = append(cmd.Flags, &cli.StringFlag{Name: p.name, Value: p.preset, Usage: p.usage + ": `WARNING,CRITICAL`"})
	}
	return cmd
}

// verdict prints what was found, in one line, and returns what makes the exit
// code of it.
func (e *env) verdict(v verdict, words string, data []string) error {
	line := "EDGEBROKER " + v.String() + " - " + strings.ReplaceAll(strings.ReplaceAll(words, "\n", "; "), "|", "/")
	if len(data) > 0 {
		line += " | " + strings.Join(data, " ")
	}
	if _, err := fmt.Fprintln(e.stdout, printable(line)); err != nil {
		return &failure{code: int(verdictUnknown), err: err}
	}
	if v == verdictOK {
		return nil
	}
	return &failure{code: int(v), quiet: true, err: errors.New(words)}
}

func runCheck(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return e.verdict(verdictUnknown, err.Error(), nil)
	}
	limits := make(map[string]thresholds)
	for _, p := range probes() {
		t, err := parseThresholds(c.String(p.name))
		if err != nil {
			return e.verdict(verdictUnknown, fmt.Sprintf("--%s: %v", p.name, err), nil)
		}
		limits[p.name] = t
	}
	daemon, err := openControl(c)
	if err != nil {
		return e.verdict(verdictUnknown, err.Error(), nil)
	}
	var s statsd.Snapshot
	var h statsd.Health
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		if h, err = daemon.client.Health(ctx); err != nil {
			return err
		}
		s, err = daemon.client.Stats(ctx)
		return err
	})
	if err != nil {
		return e.verdict(verdictCritical, err.Error(), nil)
	}
	v, words, data := judge(&s, h, limits, time.Now())
	return e.verdict(v, words, data)
}

// judge is the verdict on a daemon that has answered: the worst of all, with
// what is wrong first.
func judge(s *statsd.Snapshot, h statsd.Health, limits map[string]thresholds, now time.Time) (worst verdict, words string, data []string) {
	var good, bad []string
	if !h.Live || !h.Ready || len(h.Problems) > 0 {
		worst, bad = verdictCritical, append(bad, h.Problems...)
		if len(h.Problems) == 0 {
			bad = append(bad, "the daemon is not ready")
		}
	}
	for _, p := range probes() {
		value, text, ok := p.measure(s, now)
		if !ok {
			continue
		}
		t, v := limits[p.name], verdictOK
		switch {
		case !t.critical.good(value):
			v = verdictCritical
		case !t.warning.good(value):
			v = verdictWarning
		}
		worst = max(worst, v)
		if v == verdictOK {
			good = append(good, text)
		} else {
			bad = append(bad, text)
		}
		data = append(data, fmt.Sprintf("%s=%s%s;%s;%s", strings.ReplaceAll(p.name, "-", "_"), strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64), p.unit, t.warning.text, t.critical.text))
	}
	return worst, strings.Join(append(bad, good...), ", "), data
}
