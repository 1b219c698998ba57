package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/statsd"
)

// controlFlags are the flags of every command that asks the daemon.
func controlFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "socket", Aliases: []string{"s"}, EnvVars: []string{appliance.EnvSocket},
			Usage: "the daemon's control socket at `PATH`", DefaultText: appliance.DefaultSocket(), TakesFile: true},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "longest wait for the daemon's answer (`DURATION`)"},
	}
}

// control is the way to one daemon.
type control struct {
	client *statsd.ControlClient
	path   string
	wait   time.Duration
}

// openControl reads the flags of controlFlags. It does not connect yet.
func openControl(c *cli.Context) (*control, error) {
	path, wait := c.Path("socket"), c.Duration("timeout")
	if path == "" {
		path = appliance.DefaultSocket()
	}
	if wait <= 0 {
		return nil, usageError(commandPath(c), "--timeout %v is not positive", wait)
	}
	return &control{client: statsd.Dial(path), path: path, wait: wait}, nil
}

// ask calls fn with the time limit for one answer and words its error.
func (d *control) ask(ctx context.Context, fn func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	return d.explain(ctx, fn(bounded))
}

// explain adds to an error of the control client what the user can do about it.
func (d *control) explain(ctx context.Context, err error) error {
	unreachable, refused := (*statsd.ErrUnreachable)(nil), (*statsd.APIError)(nil)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitUnreachable, err: fmt.Errorf("reach control socket %s: no answer within %v", d.path, d.wait),
			hint: "the daemon hangs or is overloaded; see its log, or wait longer with --timeout"}
	case errors.Is(err, fs.ErrPermission):
		return &failure{code: exitUnreachable, err: fmt.Errorf("reach control socket %s: permission denied", d.path),
			hint: `run as root or join group "edgebroker"`}
	case errors.As(err, &unreachable):
		return &failure{code: exitUnreachable, err: err,
			hint: "start the daemon with `edgebroker serve` or `systemctl start edgebroker`, or name its socket with --socket"}
	case errors.As(err, &refused):
		return &failure{code: exitError, err: refused, hint: refused.Hint}
	}
	return err
}
