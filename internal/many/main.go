// Command many holds very many connections to a broker, which it runs as a child
// process or finds running: they connect, subscribe, get a message each, are
// idle, and go. It tells what the broker's memory is at each stage, how much
// processor time the storm took, and whether all got what was theirs.
//
// Its exit status is 0 if nothing was lost and the broker has closed all that it
// had opened, 1 if not, and 2 if it could not run. scripts/many.sh builds
// edgebroker and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var errUsage = errors.New("needs --broker, or --address and --pid, and sensible numbers; try --help")

// options are what one run is about.
type options struct {
	binary  string
	data    bool
	kept    bool
	address string
	pid     int
	clients int
	retain  bool
	idle    time.Duration
	most    int64 // bytes per connection; 0: any number will do
}

// command returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("many", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.binary, "broker", "", "`FILE`, the edgebroker to run")
	flags.BoolVar(&o.data, "data", false, "let it store its state")
	flags.StringVar(&o.address, "address", "", "`HOST:PORT` of a broker that runs already")
	flags.IntVar(&o.pid, "pid", 0, "`PID` of that")
	flags.IntVar(&o.clients, "clients", 10_000, "that connect")
	flags.BoolVar(&o.kept, "kept", false, "keep their sessions, and tell what those take when all are offline")
	flags.BoolVar(&o.retain, "retained", false, "have the messages retained")
	flags.DurationVar(&o.idle, "idle", 5*time.Second, "for which they are silent before memory is looked at once more")
	flags.Int64Var(&o.most, "most", 0, "`BYTES` per idle connection that are too many; 0: none are")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 || (o.binary == "") == (o.address == "" || o.pid == 0) || o.clients < 1 || o.idle < 0 || o.most < 0 {
		fmt.Fprintln(stderr, "many: error:", errUsage)
		return 2
	}
	wrong, err := run(ctx, o, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "many: error:", err)
		return 2
	}
	for _, w := range wrong {
		fmt.Fprintln(stdout, "FAILED:", w)
	}
	if len(wrong) > 0 {
		return 1
	}
	fmt.Fprintln(stdout, "ok")
	return 0
}

// run takes one crowd through its life. wrong is what the broker has done wrong;
// err says why that could not be found out.
func run(ctx context.Context, o options, out io.Writer) (wrong []string, err error) {
	b := &broker{address: o.address, pid: o.pid}
	if o.binary != "" {
		if b, err = startBroker(ctx, o); err != nil {
			return nil, err
		}
		defer b.stop()
	}
	begin, err := child.Look(b.pid)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%-11s %7s resident %7s anonymous %5d descriptors %4d threads\n", "at first", megabytes(begin.Resident), megabytes(begin.Anonymous), begin.Descriptors, begin.Threads)
	c := &crowd{ctx: ctx, address: b.address, links: make([]link, o.clients), kept: o.kept, retain: o.retain}
	defer c.close()
	before := begin
	stage := func(name string, do func() error) (child.Figures, error) {
		start := time.Now()
		if err := do(); err != nil {
			return child.Figures{}, fmt.Errorf("%s: %w", name, err)
		}
		took := time.Since(start)
		now, err := child.Look(b.pid)
		if err != nil {
			return now, err
		}
		fmt.Fprintf(out, "%-11s %7s resident %7.2f KB each %6.1f us processor each %8s\n", name, megabytes(now.Resident),
			float64(now.Resident-begin.Resident)/1000/float64(o.clients), float64((now.Processor-before.Processor).Microseconds())/float64(o.clients), took.Round(time.Millisecond))
		before = now
		return now, nil
	}
	for _, s := range []struct {
		name string
		do   func() error
	}{{"connected", c.connect}, {"subscribed", c.subscribe}, {"delivered", c.deliver}} {
		if _, err := stage(s.name, s.do); err != nil {
			return nil, err
		}
	}
	idle, err := stage("idle", func() error { return c.idle(o.idle) })
	if err != nil {
		return nil, err
	}
	if each := (idle.Resident - begin.Resident) / int64(o.clients); o.most > 0 && each > o.most {
		wrong = append(wrong, fmt.Sprintf("%d bytes per connection, more than %d", each, o.most))
	}
	if _, err := stage("answered", c.ping); err != nil {
		return nil, err
	}
	gone, err := stage("gone", func() error { c.leave(); return b.awaitDescriptors(ctx, begin.Descriptors) })
	if errors.Is(err, errOpen) {
		return append(wrong, err.Error()), nil
	}
	if err == nil && gone.Descriptors > begin.Descriptors+spare {
		wrong = append(wrong, fmt.Sprintf("%d descriptors at first, %d at last", begin.Descriptors, gone.Descriptors))
	}
	return append(wrong, c.wrong...), err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
