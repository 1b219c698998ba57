package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// replyWait bounds each step of a handshake, and each write; a broker that does not
// answer, or takes nothing, for so long is given up and tried anew.
const replyWait = 10 * time.Second

// options of a run.
type options struct {
	binary string
	dir    string // where data and sockets lie; it must exist
	mode   string
	rounds int // kills, stops, or fillings, as the mode says
	seed   uint64
	ready  time.Duration // within which a broker must be ready again
	rate   float64       // messages per second
	at     string        // where the broker is, in mode power
	length time.Duration // of mode long
	course string        // file of JSON lines for what mode long has seen, added to; empty: none
	out    io.Writer     // the table
	log    io.Writer     // progress
}

// modes and how each treats the broker. memory, which does nothing to it, is
// for a broker without a store.
func modes() map[string]func(*run, context.Context) error {
	return map[string]func(*run, context.Context) error{
		"kill":   (*run).killMode,
		"stop":   (*run).stopMode,
		"full":   (*run).fullMode,
		"fds":    (*run).filesMode,
		"power":  (*run).powerMode,
		"memory": (*run).memoryMode,
		"long":   (*run).longMode,
	}
}

// run is one run of the torture: a broker, its clients, and what is done to it.
type run struct {
	options
	fleet  *fleet
	broker *broker
	begin  time.Time
	data   string                     // folder of the broker's store; empty: it has none
	kinds  map[string]int             // what was done, how often
	times  map[string][]time.Duration // how long it took, by what
}

const (
	settleWait = 20 * time.Second // without any progress
	readyLimit = 60 * time.Second // beyond which a broker is given up
)

// torture does what o says. It returns whether every promise was kept; the
// error is about the run itself. What it has found is on o.out in either case.
func torture(ctx context.Context, o options) (kept bool, err error) {
	r := &run{options: o, begin: time.Now(), kinds: map[string]int{}, times: map[string][]time.Duration{}}
	r.broker = &broker{binary: o.binary, dir: o.dir, machine: o.at}
	r.fleet = newFleet(o.seed, r.broker.where)
	r.fleet.rate, r.fleet.maxBehind = o.rate, int64(10*o.rate)
	data := ""
	if o.mode != "memory" {
		data = filepath.Join(o.dir, "data")
	}
	r.data = data
	if o.mode == "full" {
		unmount, err := mountSmall(data)
		if err != nil {
			return false, err
		}
		defer unmount()
		data = filepath.Join(data, "store")
	}
	if err := r.broker.writeConfig(data, ""); err != nil {
		return false, err
	}
	defer r.broker.stop()
	err = modes()[o.mode](r, ctx)
	if errors.Is(err, errExited) {
		r.fleet.books.breach(alive, nil, "%v", err)
		err = nil
	}
	if errors.Is(err, errUnsettled) {
		fmt.Fprintf(o.log, "torture: %v\n", err)
		err = nil // the books say what is missing
	}
	r.fleet.stop()
	r.fleet.books.close()
	r.report()
	return err == nil && !r.fleet.books.anyBroken(), err
}

// up starts the broker, waits until it is ready, and judges how long it took.
func (r *run) up(ctx context.Context, after string) error {
	if err := r.broker.start(); err != nil {
		return err
	}
	r.fleet.trace.note(brokerTrace, "started")
	return r.awaitReady(ctx, after)
}

func (r *run) awaitReady(ctx context.Context, after string) error {
	limit := readyLimit
	if r.broker.machine != "" {
		limit = bootLimit
	}
	took, err := r.broker.awaitReady(ctx, limit)
	if err != nil {
		return err
	}
	r.fleet.trace.note(brokerTrace, "ready after %v", took)
	r.judgeReady(after, took)
	return nil
}

func (r *run) judgeReady(after string, took time.Duration) {
	r.times[after] = append(r.times[after], took)
	r.fleet.books.checks(readyInTime)
	if took > r.ready {
		r.fleet.books.breach(readyInTime, nil, "%s it took %v until the broker was ready, %v is allowed (%s)", after, took.Round(time.Millisecond), r.ready, machineLoad())
	}
}

// machineLoad words how busy the machine is, which may be why something took
// long.
func machineLoad() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load of the machine unknown"
	}
	return fmt.Sprintf("load average %.4s on %d cores", b, runtime.NumCPU())
}

// kill ends the broker.
func (r *run) kill(kind string) error {
	r.fleet.books.checks(alive)
	r.fleet.trace.note(brokerTrace, "kill: %s", kind)
	r.kinds["killed "+kind]++
	return r.broker.kill()
}

// settle waits until all that is due has arrived, and leaves the fleet at rest.
func (r *run) settle(ctx context.Context) error {
	quiet := settleWait
	if r.broker.machine != "" {
		quiet = powerQuiet
	}
	if err := r.fleet.settle(ctx, quiet); err != nil {
		return err
	}
	fmt.Fprintf(r.log, "torture: after %4.0f s: %s; nothing is owed\n", time.Since(r.begin).Seconds(), r.fleet.books.summary())
	if r.fleet.books.anyWrong() {
		return fmt.Errorf("a promise was broken, and so this ends: %w", errUnsettled)
	}
	return nil
}

// look has the retained values looked at, by a client that comes now.
func (r *run) look(ctx context.Context) error {
	for i := range 10 {
		err := r.fleet.look(ctx, 1_000_000+len(r.times)*10+i)
		if err == nil {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		if i == 9 {
			return fmt.Errorf("look at the retained values: %w", err)
		}
	}
	return nil
}

// finish ends a run: all that is due arrives; and after one more kill, when
// nothing was under way, nothing comes again and nothing is gone.
func (r *run) finish(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	if r.mode != "memory" {
		if err := r.kill("at rest"); err != nil {
			return err
		}
		if err := r.up(ctx, "at rest"); err != nil {
			return err
		}
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	for deadline := time.Now().Add(replyWait); r.fleet.online.Load() < subscribers && time.Now().Before(deadline); {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second) // for what should not come
}

// memoryMode lets the clients come and go, and leaves the broker alone.
func (r *run) memoryMode(ctx context.Context) error {
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for range max(1, r.rounds) {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// fileNames is what the data directory holds, as one string.
func fileNames(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}
