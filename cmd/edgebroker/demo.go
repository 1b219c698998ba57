package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/demo"
)

func demoCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show a gateway with a small plant behind it, in two minutes",
		UsageText: `edgebroker demo
edgebroker demo --loop                        the plant goes on afterwards, to look around
edgebroker demo --speed 10                    in a quarter of a minute
edgebroker demo --keep plant --http 127.0.0.1:8080`,
		Description: `Runs a broker with a plant of devices, an uplink and a head office in this process,
on 127.0.0.1 alone, and tells what happens: a display stalls, a pump loses its power, a
reader goes away, the uplink is cut, the broker restarts. At the end it compares what the
devices have counted with what the broker says, client by client; exit code 1 says that
they do not agree. The first Ctrl-C ends it, or closes the books if the story has been
told. Files are in a temporary folder, which is removed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "have devices connect at `ADDR`", DefaultText: "a free port of 127.0.0.1"},
			&cli.StringFlag{Name: "http", Usage: "have the dashboard at `ADDR`", DefaultText: "a free port of 127.0.0.1"},
			&cli.PathFlag{Name: "keep", Usage: "put all files into the folder `DIR`, which must be new or empty, and leave them there", DefaultText: "a temporary one, removed at the end"},
			&cli.Float64Flag{Name: "speed", Value: 1, Usage: "be `N` times as fast"},
			&cli.DurationFlag{Name: "for", DefaultText: "0s", Usage: "let the plant go on for `DURATION` after the story"},
			&cli.BoolFlag{Name: "loop", Usage: "let it go on until it is interrupted"},
		},
		Action: func(c *cli.Context) error { return runDemo(e, c) },
	}
}

func runDemo(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	o := demo.Options{
		Listen: c.String("listen"), HTTP: c.String("http"), Keep: c.Path("keep"), Speed: c.Float64("speed"), For: c.Duration("for"), Loop: c.Bool("loop"),
		Out: e.stdout, Terminal: isTerminal(e.stdout), Program: calledAs(), Version: readBuildInfo().Version,
	}
	o.Color = o.Terminal && os.Getenv("NO_COLOR") == ""
	switch {
	case !(o.Speed >= demo.SlowestSpeed && o.Speed <= demo.FastestSpeed):
		return usageError("demo", "--speed %v is not between %v and %d", o.Speed, demo.SlowestSpeed, demo.FastestSpeed)
	case o.For < 0:
		return usageError("demo", "--for %v is negative", o.For)
	case o.Loop && c.IsSet("for"):
		return usageError("demo", "--loop and --for exclude each other")
	}
	// Files are to be removed, too, when the terminal is closed or the output
	// goes to a program that ends.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	ctx := c.Context
	if !signal.Ignored(syscall.SIGHUP) { // as by nohup
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	rush, end := afterSecond(os.Interrupt, syscall.SIGTERM)
	defer end()
	err := demo.Run(ctx, rush, o)
	if errors.Is(err, demo.ErrUnbalanced) {
		return &failure{code: exitError, err: err, hint: "this is a mistake in the broker or the demo; please report it, with what it has printed"}
	}
	return err
}

// afterSecond is a context that ends with the second of these signals.
func afterSecond(signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, signals...)
	go func() {
		defer signal.Stop(heard)
		for range 2 {
			select {
			case <-heard:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}

// calledAs is how a shell finds this program: by its name, if that is it, else by
// its path.
func calledAs() string {
	self, err := os.Executable()
	if err != nil {
		return program
	}
	if found, err := exec.LookPath(program); err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(self)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return program
		}
	}
	return self
}
