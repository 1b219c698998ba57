package main

import (
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
)

func configCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "check a config file, or print one to start from",
		Subcommands: []*cli.Command{
			{
				Name:        "check",
				Usage:       "say what is wrong with a config file",
				UsageText:   "edgebroker config check /etc/edgebroker/edgebroker.yml",
				ArgsUsage:   "FILE",
				Description: "Exit code 0 and no output: `edgebroker serve --config FILE` will accept it.\nThe files of users, rules, keys and certificates that it names are read as well. All\nproblems are reported at once, with line and column.",
				Action: func(c *cli.Context) error {
					args, err := e.positionals(c, 1, 1, "the config file")
					if err != nil {
						return err
					}
					cfg, err := appliance.CheckConfig(args[0])
					if err != nil {
						return configFailure(err)
					}
					warnings, err := cfg.CheckFiles()
					for _, w := range warnings {
						e.notef("%s", w)
					}
					return configFailure(err)
				},
			},
			{
				Name:        "example",
				Usage:       "print a config file with every key, its default and when to change it",
				Description: "The defaults are in force for whatever a config file leaves out.",
				UsageText:   "edgebroker config example > edgebroker.yml",
				Action: func(c *cli.Context) error {
					if _, err := e.positionals(c, 0, 0); err != nil {
						return err
					}
					_, err := e.stdout.Write(appliance.ExampleConfig())
					return err
				},
			},
		},
	}
}

// configFailure gives an error about the configuration its exit code: a
// supervisor must not try again before somebody has mended it.
func configFailure(err error) error {
	if err == nil {
		return nil
	}
	f := &failure{code: exitUsage, err: err}
	problems := (*appliance.ConfigError)(nil)
	switch {
	case errors.As(err, &problems):
		f.hint = "`edgebroker config example` explains every key"
	case errors.Is(err, fs.ErrPermission): // of the file, or of one that it names
		f.hint = whoMay(err)
	}
	return f
}
