package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func healthCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "health",
		Usage: "say whether the daemon is ready to serve",
		UsageText: `edgebroker health
edgebroker health -o json`,
		Description: `Prints "ready" and exits with 0, or says what is wrong and exits with 4. Exit
code 3 means that no daemon answers.`,
		Flags:  append([]cli.Flag{outputFlag("table", "json", "jsonl")}, controlFlags()...),
		Action: func(c *cli.Context) error { return runHealth(e, c) },
	}
}

func runHealth(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var h statsd.Health
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		h, err = daemon.client.Health(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if format != "table" {
		if err := writeJSON(e.stdout, h, format == "json"); err != nil {
			return err
		}
	}
	switch {
	case !h.Live || !h.Ready || len(h.Problems) > 0:
		problems := h.Problems
		if len(problems) == 0 {
			problems = []string{"the daemon is not ready"}
		}
		return &failure{code: exitDegraded, err: errors.New(strings.Join(problems, "\n"))}
	case format == "table":
		_, err := fmt.Fprintln(e.stdout, "ready")
		return err
	}
	return nil
}
