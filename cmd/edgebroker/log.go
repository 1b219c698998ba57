package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func logCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "log",
		Usage: "show and change what the daemon logs",
		Subcommands: []*cli.Command{
			{
				Name:      "level",
				Usage:     "show or set from which level on the daemon logs",
				ArgsUsage: "[LEVEL]",
				UsageText: `edgebroker log level
edgebroker log level debug`,
				Description: `LEVEL is ` + strings.Join(statsd.LogLevels(), ", ") + `. It counts at once, until the next reload or restart:
then that of the config, or of --log-level, is back.`,
				Flags:  append([]cli.Flag{outputFlag("text", "json", "jsonl")}, controlFlags()...),
				Action: func(c *cli.Context) error { return runLogLevel(e, c) },
				BashComplete: func(*cli.Context) {
					fmt.Fprintln(e.stdout, strings.Join(statsd.LogLevels(), "\n"))
				},
			},
		},
	}
}

func runLogLevel(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 0, 1, "the level")
	if err != nil {
		return err
	}
	format, err := outputFormat(c, "text", "json", "jsonl")
	if err != nil {
		return err
	}
	if len(args) > 0 && !slices.Contains(statsd.LogLevels(), args[0]) {
		return usageError("log level", "there is no level %q; there is %s", args[0], strings.Join(statsd.LogLevels(), ", "))
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var l statsd.LogLevel
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		if len(args) > 0 {
			l, err = daemon.client.SetLogLevel(ctx, args[0])
		} else {
			l, err = daemon.client.LogLevel(ctx)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case format != "text":
		return writeJSON(e.stdout, l, format == "json")
	case l.Level != l.Config:
		_, err = fmt.Fprintf(e.stdout, "%s (%s again after a reload or restart)\n", l.Level, l.Config)
	default:
		_, err = fmt.Fprintln(e.stdout, l.Level)
	}
	return err
}
