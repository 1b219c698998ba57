package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func reloadCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "make the daemon read its files of users, keys and rules again",
		Description: `Returns when that is done. All of it is put in force or, if something is wrong,
nothing. What is no longer allowed ends at once. The config file itself is read
at the start only.`,
		Flags: controlFlags(),
		Action: func(c *cli.Context) error {
			if _, err := e.positionals(c, 0, 0); err != nil {
				return err
			}
			daemon, err := openControl(c)
			if err != nil {
				return err
			}
			r, err := daemon.reload(c.Context)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "reloaded: %s\n", reloadedWords(r))
			return err
		},
	}
}

func (d *control) reload(ctx context.Context) (r statsd.Reloaded, err error) {
	err = d.ask(ctx, func(ctx context.Context) (err error) {
		r, err = d.client.Reload(ctx)
		return err
	})
	return r, err
}

func reloadedWords(r statsd.Reloaded) string {
	return fmt.Sprintf("%d users, %d rules; %d clients disconnected, whose users are gone", r.Users, r.Rules, r.Disconnected)
}
