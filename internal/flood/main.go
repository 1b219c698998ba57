// Command flood runs edgebroker as a child process, in a control group with
// little memory where the machine allows, and floods it: packets half sent and
// packets too large, retained topics, readers that do not read, storms of
// connections. Pairs of healthy clients exchange QoS 1 meanwhile and keep
// books.
//
// Its exit status is 0 if the broker lived through it and each healthy message
// that was acknowledged arrived once and in order, 1 if not, and 2 if it could
// not run. scripts/memory.sh builds the broker and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var errUsage = errors.New("needs --broker, floods that exist, and sensible numbers; try --help")

// options are what one run is about.
type options struct {
	binary  string
	limit   int64 // bytes of memory; the control group's, or else those that may be resident
	data    bool  // with a data folder
	clients int
	pairs   int
	length  time.Duration
	out     io.Writer
	verbose bool
}

// command returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{out: stdout}
	flags := flag.NewFlagSet("flood", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.binary, "broker", "", "`FILE`, the edgebroker to run")
	flags.Int64Var(&o.limit, "limit", 64<<20, "`BYTES` of memory that it gets")
	flags.BoolVar(&o.data, "data", false, "let it store its state")
	flags.IntVar(&o.clients, "clients", 500, "that flood it, at most at a time")
	flags.IntVar(&o.pairs, "pairs", 20, "of healthy clients")
	flags.DurationVar(&o.length, "time", 15*time.Second, "for which each flood lasts")
	flags.BoolVar(&o.verbose, "v", false, "show what the broker logs")
	which := flags.String("floods", strings.Join(floodNames(), ","), "which, each against a broker of its own; all is all at once")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	names := strings.Split(*which, ",")
	unknown := slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(floodNames(), n) })
	if unknown || flags.NArg() > 0 || o.binary == "" || o.limit < 1<<20 || o.clients < 1 || o.pairs < 1 || o.length <= 0 {
		fmt.Fprintln(stderr, "flood: error:", errUsage)
		return 2
	}
	status := 0
	for i, name := range names {
		r, err := run(ctx, o, name)
		if err != nil {
			fmt.Fprintln(stderr, "flood: error:", err)
			return 2
		}
		if i == 0 {
			fmt.Fprintln(stdout, header)
		}
		fmt.Fprintln(stdout, r)
		for _, w := range r.wrong {
			fmt.Fprintln(stdout, "   ", w)
		}
		if len(r.wrong) > 0 {
			status = 1
		}
	}
	return status
}

// codeSize is how much of the program's file may be resident, which is no
// memory that a control group has to find.
const codeSize = 16 << 20

const header = "flood      resident  group   acked  delivered  slowest  refused  verdict"

// result is what became of one flood.
type result struct {
	name             string
	resident, group  int64 // most bytes, 0: not known
	acked, delivered uint64
	slowest          time.Duration // from publish to its acknowledgement
	refused          uint64        // healthy publishes that were
	wrong            []string
}

func (r result) String() string {
	verdict := "ok"
	if len(r.wrong) > 0 {
		verdict = "FAILED"
	}
	return fmt.Sprintf("%-9s %6.1f MB %6s %7d %10d %8s %8d  %s", r.name, float64(r.resident)/(1<<20), megabytes(r.group),
		r.acked, r.delivered, r.slowest.Round(time.Millisecond), r.refused, verdict)
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(n)/(1<<20))
}

// run floods one broker.
func run(ctx context.Context, o options, name string) (result, error) {
	r := result{name: name}
	b, err := startBroker(ctx, o)
	if err != nil {
		return r, err
	}
	defer b.stop()
	healthy, err := startPairs(ctx, b.address, o.pairs)
	if err != nil {
		return r, fmt.Errorf("healthy clients: %w", err)
	}
	flooding, stop := context.WithTimeout(ctx, o.length)
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		flood(flooding, name, b.address, o.clients)
	}()
	select {
	case <-flooding.Done():
	case <-b.process.Exited():
	}
	stop()
	<-flooded
	healthy.finish(b.process.Exited())
	healthy.report(&r)
	r.resident, r.group = b.peak()
	if err := b.alive(); err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	if most := o.limit + codeSize; b.group == "" && r.resident > most {
		r.wrong = append(r.wrong, fmt.Sprintf("%d bytes were resident, %d are allowed", r.resident, most))
	}
	if o.verbose {
		fmt.Fprintln(o.out, b.figures(ctx))
		fmt.Fprint(o.out, b.process.Log.Tail(2000))
	}
	return r, nil
}
