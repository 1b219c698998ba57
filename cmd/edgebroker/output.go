package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// outputFlag is -o with the formats a command knows, the default first.
func outputFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: formats[0],
		Usage: "`FORMAT`: " + strings.Join(formats, ", "),
	}
}

// outputFormat is the chosen format, which must be one of formats.
func outputFormat(c *cli.Context, formats ...string) (string, error) {
	got := c.String("output")
	if !slices.Contains(formats, got) {
		return "", usageError(commandPath(c), "output format %q is unknown; there is %s", got, strings.Join(formats, ", "))
	}
	return got, nil
}

// asked reads what most commands begin with: from least to most arguments, as
// positionals has them, and one of the usual formats.
func (e *env) asked(c *cli.Context, least, most int, names ...string) (args []string, format string, err error) {
	if args, err = e.positionals(c, least, most, names...); err != nil {
		return nil, "", err
	}
	format, err = outputFormat(c, "table", "json", "jsonl")
	return args, format, err
}

// topFlag is --top, which shortens a list.
func topFlag() cli.Flag {
	return &cli.IntFlag{Name: "top", DefaultText: "all", Usage: "list the first `N` only"}
}

// topOf is what --top says, 0 if it is not given.
func topOf(c *cli.Context) (int, error) {
	top := c.Int("top")
	if top < 0 || c.IsSet("top") && top == 0 {
		return 0, usageError(commandPath(c), "--top %d is not positive", top)
	}
	return top, nil
}

// isTerminal tells whether w shows text to a person who sees it change.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}

// screenHeight is the number of lines that the terminal w shows, 0 if unknown.
func screenHeight(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Row)
}

// count writes a number with thousands separators.
func count[N int | int64 | uint64](n N) string { return humanize.Comma(int64(n)) }

// size writes a number of bytes in binary units.
func size[N int | int64 | uint64](n N) string { return humanize.IBytes(uint64(max(n, 0))) }

// span writes a duration the way people say it: 3d4h, 2h05m, 4m10s, 12s.
func span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	days, hours := d/(24*time.Hour), d%(24*time.Hour)/time.Hour
	minutes, seconds := d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%02ds", minutes, seconds)
	}
	return fmt.Sprintf("%ds", seconds)
}

// messages words a number of messages.
func messages[N int | int64 | uint64](n N) string { return things(n, "message") }

// things words a number of what noun names.
func things[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}
