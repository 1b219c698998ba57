package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpCommand takes the place of the library's own, which answers an unknown
// topic with an exit code that means something else here.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Aliases:   []string{"h"},
		Usage:     "show what a command does and its flags",
		UsageText: "edgebroker help clients list",
		ArgsUsage: "[COMMAND...]",
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 0 {
				return cli.ShowAppHelp(c)
			}
			among := c.App.Commands
			for i, word := range words {
				at := slices.IndexFunc(among, func(cmd *cli.Command) bool { return cmd.HasName(word) })
				if at < 0 {
					return unknownCommand(word, among, strings.Join(words[:i], " "))
				}
				among = among[at].Subcommands
			}
			return c.App.RunContext(c.Context, slices.Concat([]string{program}, words, []string{"--help"}))
		},
	}
}
