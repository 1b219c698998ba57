package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What mode long does, and how often. A run that is shorter than wholeLength has its
// time compressed.
const (
	wholeLength = 10 * time.Minute
	actEvery    = 20 * time.Second // something is done to the brokers, on average
	outageMost  = time.Minute
	sampleEvery = 10 * time.Second
	samplesMost = 360 // of each broker, so that a picture of them is small
	settleAfter = 8   // of these all must have arrived, and the brokers are looked at
	outageOf    = 3   // one act of so many is an outage of the uplink
	longBehind  = 120 // seconds of messages that may pile up while the far broker is away
)

// long is a run of mode long: a gateway with an uplink, and what is behind that.
type long struct {
	*run
	far    *broker
	course *course
	rng    *rand.Rand
	load   int     // changes with each reload
	ending float64 // the part of all acts that ends the gateway, and another that ends the far broker
}

// longMode lets a gateway and the broker behind its uplink live for long, with clients
// that come and go, reloads, outages of the uplink, restarts and kills. Subscribers
// on both sides keep books. It holds what the brokers take against what they took
// at first.
func (r *run) longMode(ctx context.Context) (err error) {
	l := &long{run: r, rng: r.fleet.rng(7)}
	// A process must live for long if it is to be seen whether it grows.
	l.ending = min(1./outageOf, float64(r.rounds)*l.pace(actEvery).Seconds()/r.length.Seconds())
	if err := l.prepare(); err != nil {
		return err
	}
	defer l.far.stop()
	if l.course, err = openCourse(r.options.course); err != nil {
		return err
	}
	defer l.course.close()
	if err := l.far.start(); err != nil {
		return err
	}
	if err := l.awaitFar(ctx); err != nil {
		return err
	}
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	churning, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	go func() { defer close(watched); l.watch(churning) }()
	gone := make(chan struct{})
	go func() { defer close(gone); r.fleet.churn(churning) }()
	for acts := 1; time.Since(r.begin) < r.length; acts++ {
		if err := pause(ctx, between(l.rng, l.pace(actEvery/10), l.pace(2*actEvery))); err != nil {
			return err
		}
		if err := l.act(ctx); err != nil {
			return err
		}
		if acts%settleAfter == 0 {
			if err := l.rest(ctx); err != nil {
				return err
			}
			r.fleet.resume()
		}
	}
	stop()
	<-gone
	<-watched
	if err := l.rest(ctx); err != nil {
		return err
	}
	r.fleet.books.mustBeFlat(l.course)
	return r.finish(ctx)
}

// pace is d in the time of this run.
func (l *long) pace(d time.Duration) time.Duration {
	return time.Duration(float64(d) * min(1, l.length.Seconds()/wholeLength.Seconds()))
}

// prepare writes both configurations.
func (l *long) prepare() error {
	hold, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer hold.Close()
	_, port, err := net.SplitHostPort(hold.Addr().String())
	if err != nil {
		return err
	}
	l.far = &broker{binary: l.binary, dir: filepath.Join(l.dir, "far"), port: port}
	if err := os.MkdirAll(l.far.dir, 0o700); err != nil {
		return err
	}
	if err := l.far.writeConfig(filepath.Join(l.far.dir, "data"), ""); err != nil {
		return err
	}
	l.fleet.far = func() string { return l.far.where(0) }
	l.fleet.maxBehind = int64(longBehind * l.rate)
	return l.configure()
}

// configure writes the gateway's configuration, which differs from the one before.
func (l *long) configure() error {
	l.load++
	uplink := fmt.Sprintf(`bridges:
  - name: up
    address: "mqtt://127.0.0.1:%s"
    keep_alive: 5s
    ack_timeout: 5s
    retry_max: 2s
    max_queued_messages: 10000000
    max_queued_bytes: 4GiB
    topics: [{filter: "m/#", qos: 2}]
`, l.far.port)
	return l.broker.writeConfig(l.data, fmt.Sprintf("retained: {max_messages: %d}\n", 100_000+l.load)+uplink)
}

// act does one thing that happens to a gateway in a long life.
func (l *long) act(ctx context.Context) error {
	switch chance := l.rng.Float64(); {
	case chance < l.ending/2:
		l.note("gateway killed")
		if err := l.kill("at work"); err != nil {
			return err
		}
		return l.up(ctx, "killed at work")
	case chance < l.ending:
		l.note("gateway stopped")
		l.kinds["stopped by SIGTERM"]++
		l.broker.life.Stop()
		return l.up(ctx, "stopped")
	case l.rng.IntN(outageOf) == 0:
		return l.outage(ctx)
	default:
		return l.reload(ctx)
	}
}

// outage takes the far broker away for a while: by a kill, gently, or so that it only
// does not answer any more, as when a line is cut.
func (l *long) outage(ctx context.Context) error {
	kind, away, back := "far broker silent", func() error { return l.far.signal(syscall.SIGSTOP) }, func() error { return l.far.signal(syscall.SIGCONT) }
	switch chance := l.rng.Float64() / outageOf; {
	case chance < l.ending/2:
		kind, away, back = "far broker killed", l.far.kill, l.far.start
	case chance < l.ending:
		kind, back = "far broker stopped", l.far.start
		away = func() error { l.far.life.Stop(); return nil }
	}
	l.note(kind)
	l.kinds[kind]++
	if err := away(); err != nil {
		return err
	}
	paused := pause(ctx, between(l.rng, l.pace(outageMost/60), l.pace(outageMost)))
	if err := errors.Join(paused, back()); err != nil {
		return err
	}
	return l.awaitFar(ctx)
}

func (l *long) awaitFar(ctx context.Context) error {
	_, err := l.far.awaitReady(ctx, readyLimit)
	return err
}

// reload has the gateway read a configuration that has changed.
func (l *long) reload(ctx context.Context) error {
	if err := l.configure(); err != nil {
		return err
	}
	l.note("reload")
	l.kinds["reloads"]++
	if out, err := l.broker.ask(ctx, "reload"); err != nil {
		l.fleet.books.breach(alive, nil, "reload: %v: %s", err, out)
	}
	return nil
}

func (l *long) note(what string) {
	l.fleet.trace.note(brokerTrace, "%s", what)
	l.course.event(what)
}

// rest lets everything arrive, on both sides, and looks at the brokers.
func (l *long) rest(ctx context.Context) error {
	if err := l.settle(ctx); err != nil {
		return err
	}
	for name, b := range map[string]*broker{"gateway": l.broker, "far": l.far} {
		l.fleet.books.checks(balanced)
		if out, err := b.ask(ctx, "stats", "--balance"); err != nil {
			l.fleet.books.breach(balanced, nil, "%s: %v: %s", name, err, out)
		}
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return l.sample(ctx, true)
}

// watch samples both brokers until ctx ends.
func (l *long) watch(ctx context.Context) {
	for pause(ctx, max(l.pace(sampleEvery), l.length/samplesMost)) == nil {
		_ = l.sample(ctx, false) // one of them may be down
	}
}

func (l *long) sample(ctx context.Context, resting bool) error {
	c := l.fleet.books.counts()
	for _, b := range []struct {
		name   string
		broker *broker
		data   string
	}{{"gateway", l.broker, l.data}, {"far", l.far, filepath.Join(l.far.dir, "data")}} {
		s, err := b.broker.sample(ctx, b.data)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		s.Broker, s.AtRest, s.Sent, s.Delivered = b.name, resting, c.messages, c.deliveries
		l.course.add(s)
	}
	return nil
}

// ask runs a command of the binary that asks the broker, and returns what it says.
func (b *broker) ask(ctx context.Context, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, replyWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.binary, append(command, "--socket", b.socket())...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
