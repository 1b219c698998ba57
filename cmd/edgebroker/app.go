package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/bench"
)

// program is the name in messages, help and completion, whatever the file is called.
const program = "edgebroker"

// env is what a command may touch of the world outside: its words and streams.
type env struct {
	args   []string // as given to the program, args[0] included
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// notef prints one line for the user's attention that is no error.
func (e *env) notef(format string, a ...any) {
	fmt.Fprintf(e.stderr, program+": note: %s\n", printable(fmt.Sprintf(format, a...)))
}

// newApp builds the command tree around e. It starts nothing.
func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:     program,
		HelpName: program,
		Usage:    "an MQTT broker for gateways, and the tools to watch it",
		UsageText: `edgebroker demo                               see what it does, in two minutes
edgebroker serve                              run the broker on 127.0.0.1:1883
edgebroker sub 'plant/#'                      print the messages that arrive
edgebroker pub plant/temp 21.5                publish one
edgebroker stats --watch                      see what passes`,
		Description: `Exit codes: 0 done, 1 error, 2 wrong usage or config, 3 the daemon or broker
cannot be reached, 4 reachable but degraded. Those of check are a plugin's.`,
		Commands: []*cli.Command{
			demoCommand(e),
			initCommand(e),
			serveCommand(e),
			statsCommand(e),
			healthCommand(e),
			checkCommand(e),
			clientsCommand(e),
			eventsCommand(e),
			traceCommand(e),
			bridgesCommand(e),
			fleetCommand(e),
			topCommand(e),
			dropsCommand(e),
			whoCommand(e),
			topicsCommand(e),
			retainedCommand(e),
			pubCommand(e),
			subCommand(e),
			deviceCommand(e),
			listCommand(e, "devices", "edgebroker devices"),
			usersCommand(e),
			aclCommand(e),
			reloadCommand(e),
			logCommand(e),
			storeCommand(e),
			backupCommand(e),
			restoreCommand(e),
			configCommand(e),
			importCommand(e),
			doctorCommand(e),
			debugCommand(e),
			bench.Command(),
			versionCommand(e),
			completionCommand(e),
			manCommand(e),
		},
		Flags:                     []cli.Flag{&cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true}, cli.HelpFlag},
		HideVersion:               true,
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		Suggest:                   true,
		DisableSliceFlagSeparator: true,
		Reader:                    e.stdin,
		Writer:                    e.stdout,
		ErrWriter:                 e.stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // report does it
	}
	app.Commands = append(app.Commands, helpCommand())
	app.OnUsageError = onUsageError(app.Flags, "")
	app.Action = func(c *cli.Context) error {
		switch {
		case c.Args().Present():
			return unknownCommand(c.Args().First(), app.Commands, "")
		case c.Bool("version"):
			return printVersion(e, "table")
		}
		return cli.ShowAppHelp(c)
	}
	prepare(app.Commands, "")
	return app
}

// prepare gives every command of the tree the house manners: usage errors in
// one line, no hidden help subcommand, and for a command that only groups
// others an error that names them.
func prepare(commands []*cli.Command, parent string) {
	for _, cmd := range commands {
		path := strings.TrimSpace(parent + " " + cmd.Name)
		cmd.HideHelpCommand = true
		synopsis := strings.TrimSpace(strings.Join([]string{program, path, "[FLAGS]", cmd.ArgsUsage}, " "))
		if len(cmd.Subcommands) > 0 {
			synopsis = program + " " + path + " COMMAND"
		}
		cmd.UsageText = strings.TrimSpace(synopsis + "\n\n" + cmd.UsageText)
		plainDefaults(cmd.Flags)
		if cmd.OnUsageError == nil {
			cmd.OnUsageError = onUsageError(cmd.Flags, path)
		}
		if len(cmd.Subcommands) > 0 && cmd.Action == nil {
			cmd.Action = groupAction(cmd.Subcommands, path)
		}
		prepare(cmd.Subcommands, path)
	}
}

// plainDefaults keeps "(default: false)", which says nothing, out of the help.
func plainDefaults(flags []cli.Flag) {
	for _, f := range flags {
		if f, ok := f.(*cli.BoolFlag); ok {
			f.DisableDefaultText = true
		}
	}
}

func groupAction(subs []*cli.Command, path string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return unknownCommand(c.Args().First(), subs, path)
		}
		names := make([]string, len(subs))
		for i, s := range subs {
			names[i] = s.Name
		}
		return usageError(path, "%s needs a command: %s", path, strings.Join(names, ", "))
	}
}

// unknownCommand is the usage error for a word that is no command of path.
func unknownCommand(word string, among []*cli.Command, path string) error {
	err := usageError(path, "unknown command %q", strings.TrimSpace(path+" "+word))
	names := make([]string, 0, len(among))
	for _, c := range among {
		names = append(names, c.Names()...)
	}
	return withSuggestion(err, suggestion(word, names))
}

// onUsageError turns the flag parser's words into a usage error of one line.
func onUsageError(flags []cli.Flag, path string) cli.OnUsageErrorFunc {
	return func(_ *cli.Context, err error, _ bool) error {
		text := err.Error()
		if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
			name = strings.TrimLeft(name, "-")
			return withSuggestion(usageError(path, "unknown flag %s", dashed(name)),
				dashed(suggestion(name, flagNames(flags))))
		}
		if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
			return usageError(path, "flag %s needs a value", dashed(strings.TrimLeft(name, "-")))
		}
		if i := strings.Index(text, " for flag -"); i >= 0 {
			rest := text[i+len(" for flag -"):]
			name, why, _ := strings.Cut(rest, ": ")
			return usageError(path, "%s for flag %s: %s", text[:i], dashed(name), why)
		}
		return usageError(path, "%s", text)
	}
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return append(names, "help")
}

// dashed writes a flag's name as it is typed; the empty name stays empty.
func dashed(name string) string {
	switch len(name) {
	case 0:
		return ""
	case 1:
		return "-" + name
	}
	return "--" + name
}

// suggestion is the known word nearest to the one typed, or "" when none is near.
func suggestion(word string, known []string) string {
	if word == "" || len(known) == 0 {
		return ""
	}
	commands := []*cli.Command{{Name: known[0], Aliases: known[1:]}}
	best := cli.SuggestCommand(commands, word)
	for _, k := range known {
		if len(k) > 1 && strings.Contains(best, `"`+k+`"`) && k[0] == word[0] {
			return k
		}
	}
	return ""
}

// positionals returns the command's arguments. There must be at least least
// and, unless most is negative, at most most of them; names says what they
// stand for. A flag after the first argument is an error, because the parser
// has not seen it; after "--" everything is an argument.
func (e *env) positionals(c *cli.Context, least, most int, names ...string) ([]string, error) {
	args, path := c.Args().Slice(), commandPath(c)
	if at := len(e.args) - len(args) - 1; at < 0 || e.args[at] != "--" {
		known := flagNames(c.Command.Flags)
		for i, arg := range args {
			if i == 0 || !strings.HasPrefix(arg, "-") {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if slices.Contains(known, name) {
				f := usageError(path, "flag %s comes after an argument, where it is not read", dashed(name))
				f.hint = fmt.Sprintf("put flags first: %s %s %s ...; see %s", program, path, dashed(name), helpOf(path))
				return nil, f
			}
		}
	}
	if len(args) < least {
		return nil, usageError(path, "%s is missing", names[min(len(args), len(names)-1)])
	}
	if most >= 0 && len(args) > most {
		return nil, usageError(path, "%q is one argument too many", args[most])
	}
	return args, nil
}

// commandPath is the command's name below the program: "clients list".
func commandPath(c *cli.Context) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.Command.HelpName, program), " ")
}
