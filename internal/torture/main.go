// Command torture runs edgebroker as a child process under clients that keep
// books, kills it, freezes it or takes its disk or file descriptors away, and
// tells whether each promise held: what was acknowledged arrives, QoS 2 once,
// in order, retained values never go back, sessions stay.
//
// Its exit status is 0 if all was kept, 1 if not, with the evidence, and 2 if it
// could not run. scripts/torture.sh builds the broker and runs it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var (
	errNotEmpty = errors.New("it is not empty; name an empty folder, or none")
	errUsage    = errors.New("needs --broker, a mode that exists, and sensible numbers; try --help")
)

// command returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{out: stdout, log: stderr}
	var courses []string
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.binary, "broker", "", "`FILE`, the edgebroker to run")
	flags.StringVar(&o.dir, "dir", "", "`DIR` for data and sockets, on the disk to be tested; default: a temporary one")
	flags.StringVar(&o.mode, "mode", "kill", "kill, stop, full, fds, power, long, or memory: a broker without a store is left alone")
	flags.StringVar(&o.at, "address", "", "`HOST:PORT`, in mode power, where the broker of the machine is that --broker boots")
	flags.IntVar(&o.rounds, "kills", 500, "how often; in mode memory seconds; in mode long how often each of both brokers, about")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of all random choices")
	flags.DurationVar(&o.length, "for", 12*time.Hour, "in mode long, how long")
	flags.Func("course", "in mode long, `FILE` to which what was seen is added, one JSON object a line; with --draw also several", func(file string) error {
		courses = append(courses, file)
		o.course = file
		return nil
	})
	draw := flags.String("draw", "", "only draw what --course holds: `FILE` for the picture, SVG")
	flags.DurationVar(&o.ready, "ready", 2*time.Second, "within which the broker must be ready again")
	flags.Float64Var(&o.rate, "rate", 1500, "messages per second of all publishers")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *draw != "" && len(courses) > 0 && flags.NArg() == 0 {
		if err := drawCourses(courses, *draw); err != nil {
			fmt.Fprintln(stderr, "torture: error:", err)
			return 2
		}
		return 0
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "torture: error:", err)
		return 2
	}
	if _, ok := modes()[o.mode]; !ok || len(courses) > 1 || flags.NArg() > 0 || o.binary == "" || o.rounds < 0 || !(o.rate > 0) || (o.mode == "power") != (o.at != "") || o.length <= 0 {
		return fail(errUsage)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "torture")
		if err != nil {
			return fail(err)
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	// What an earlier run has left would be taken for what nobody has sent.
	if entries, err := os.ReadDir(o.dir); err != nil || len(entries) > 0 {
		return fail(fmt.Errorf("use %s: %w", o.dir, cmp.Or(err, errNotEmpty)))
	}
	kept, err := torture(ctx, o)
	switch {
	case err != nil:
		return fail(err)
	case !kept:
		return 1
	}
	return 0
}
