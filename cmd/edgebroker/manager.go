package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/systemd"
)

// manager is the service manager, as far as serve tells it how it does. Without
// one, nothing is told.
type manager struct {
	log *slog.Logger

	mu       sync.Mutex
	extended time.Time // when it was last asked for more time
	status   string    // the last line it was told
	reload   string    // what the last reload came to; empty if that was good
}

// How often a manager is told.
const (
	statusEvery = 10 * time.Second // while something stirs, and the line changes
	statusCalm  = 20 * time.Second // at rest
	extendEvery = 5 * time.Second
	extendBy    = 90 * time.Second // as long as systemd waits by default
)

// tell logs that a service manager could not be told something, if so.
func tell(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("service manager was not told", "error", err)
	}
}

func (m *manager) tell(err error) { tell(m.log, err) }

// options make a broker tell the manager what it does.
func (m *manager) options() []appliance.Option {
	return []appliance.Option{appliance.WithRecoveryProgress(m.recovering), appliance.WithReloadNotice(m.reloading)}
}

// recovering asks for more time as long as recovery gets on: however much there is
// to read, it must not be killed and begin again.
func (m *manager) recovering(done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.extended) < extendEvery {
		return
	}
	first := m.extended.IsZero()
	m.extended = time.Now()
	m.tell(systemd.ExtendTimeout(extendBy))
	if !first && total > 0 { // what takes no time is not worth a line
		m.tell(systemd.Status(fmt.Sprintf("reading what is stored: %d %% of %s", 100*done/total, size(total))))
	}
}

// reloading reports a reload, and what came of it.
func (m *manager) reloading() (end func(error)) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		m.tell(err)
	}
	m.tell(systemd.Reloading(time.Duration(now.Nano())))
	return func(err error) {
		m.mu.Lock()
		m.reload = ""
		if err != nil {
			m.reload = "the last reload failed, see the log"
		}
		m.mu.Unlock()
		m.tell(systemd.Ready())
	}
}

// watch tells the manager how the broker does, and that messages pass as long as
// they do: one that hangs is killed and started anew. stop ends it.
func (m *manager) watch(b *appliance.Broker) (stop func()) {
	interval, err := systemd.WatchdogInterval()
	m.tell(err)
	ctx, cancel := context.WithCancel(context.Background())
	// Neither is waited for: if the broker hangs, so must not the stop.
	if interval > 0 && err == nil {
		go m.feed(ctx, b.Rest(), interval, b.Pulse)
	}
	if systemd.Managed() {
		go m.show(ctx, b.Rest(), b.Stats)
	}
	return cancel
}

// feed tells the manager, thrice in interval, that messages pass. A pulse that
// takes longer than interval comes too late anyway.
func (m *manager) feed(ctx context.Context, r *rest.Rest, interval time.Duration, pulse func(context.Context) error) {
	job := r.Job(0)
	defer job.End()
	for job.Next(ctx, interval/3) {
		job.Within(interval / 3) // also if this one takes longer
		within, over := context.WithTimeout(ctx, interval)
		err := pulse(within)
		over()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, appliance.ErrState): // it is on its way out
		case err != nil:
			m.log.Error("the watchdog is not told that the broker works, since it does not", "error", err)
		default:
			m.tell(systemd.Notify("WATCHDOG=1"))
		}
	}
}

// show keeps the line that `systemctl status` shows up to date.
func (m *manager) show(ctx context.Context, r *rest.Rest, stats func() statsd.Snapshot) {
	job := r.Job(statusEvery)
	defer job.End()
	for before := stats(); ; {
		now := stats()
		m.say(statusLine(&before, &now))
		before = now
		if !job.Next(ctx, statusCalm) {
			return
		}
	}
}

// say tells the manager line, unless it knows.
func (m *manager) say(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reload != "" {
		line += ", " + m.reload
	}
	if line != m.status {
		m.status = line
		m.tell(systemd.Status(line))
	}
}

// maxStatusUplinks is how many uplinks a status line names.
const maxStatusUplinks = 3

// statusLine says in a line how the broker is and what it has done between two
// snapshots.
func statusLine(before, now *statsd.Snapshot) string {
	parts := []string{things(now.ClientCount, "client"), rateWords(messageRate(before, now)) + " msg/s"}
	for i := range now.Bridges {
		if i == maxStatusUplinks {
			parts = append(parts, fmt.Sprintf("%d more uplinks", len(now.Bridges)-i))
			break
		}
		u := &now.Bridges[i]
		words := "uplink " + u.Name + " " + u.State
		if n := u.Queued.Messages; n > 0 && u.State != "up" {
			words += " with " + messages(n) + " waiting"
		}
		parts = append(parts, words)
	}
	switch s := &now.Storage; s.State {
	case statsd.StorageNone:
		parts = append(parts, "state in memory")
	case statsd.StorageOK:
		parts = append(parts, "journal "+size(s.UsedBytes))
	default:
		parts = append(parts, "journal "+s.State+": "+s.Reason)
	}
	if was, is := before.Dropped.Missed(), now.Dropped.Missed(); is > was {
		parts = append(parts, messages(is-was)+" lost just now, see edgebroker drops")
	}
	return strings.Join(parts, ", ")
}

// messageRate is how many messages clients have sent per second between two
// snapshots.
func messageRate(before, now *statsd.Snapshot) float64 {
	seconds := now.Uptime - before.Uptime
	if seconds <= 0 || now.MessageCount < before.MessageCount {
		return 0
	}
	return float64(now.MessageCount-before.MessageCount) / seconds
}

// rateWords writes a rate in three digits at most: 0, 0.3, 42, 1.2k.
func rateWords(r float64) string {
	switch {
	case r == 0:
		return "0"
	case r < 0.05:
		return "<0.1"
	case r < 9.95:
		return fmt.Sprintf("%.1f", r)
	case r < 999.5:
		return fmt.Sprintf("%.0f", r)
	case r < 9950:
		return fmt.Sprintf("%.1fk", r/1000)
	case r < 999_500:
		return fmt.Sprintf("%.0fk", r/1000)
	}
	return fmt.Sprintf("%.1fM", r/1e6)
}
