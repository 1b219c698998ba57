package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// The exit codes; they are part of the interface.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2 // also a config with mistakes: a supervisor must not retry
	exitUnreachable = 3
	exitDegraded    = 4
)

// exitMeaning is one exit code and what it says.
type exitMeaning struct {
	code int
	text string
}

// exitMeanings is what the exit codes say, of all commands but check.
func exitMeanings() []exitMeaning {
	return []exitMeaning{
		{exitOK, "done"},
		{exitError, "error"},
		{exitUsage, "wrong usage or config"},
		{exitUnreachable, "the daemon or broker cannot be reached"},
		{exitDegraded, "reachable but degraded"},
	}
}

// failure is an error that knows its exit code and how to mend it.
type failure struct {
	code int
	err  error
	hint string // one line, or empty

	quiet bool // what the command has printed says it all
}

func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the error without code and hint.
func (f *failure) Unwrap() error { return f.err }

// usageError is a mistake in the words of the command path ("clients kick").
func usageError(path, format string, a ...any) *failure {
	return &failure{code: exitUsage, err: fmt.Errorf(format, a...), hint: "see " + helpOf(path)}
}

func helpOf(path string) string {
	return "`" + strings.TrimSpace(program+" help "+path) + "`"
}

func withSuggestion(f *failure, guess string) *failure {
	if guess != "" {
		f.hint = fmt.Sprintf("did you mean %q? %s", guess, f.hint)
	}
	return f
}

// report prints err with its hint to w and returns the exit code for it. An
// error of several lines is several errors. Control characters, which names
// from the network may bring, are escaped.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := exitError, ""
	if f := (*failure)(nil); errors.As(err, &f) {
		if f.quiet {
			return f.code
		}
		code, hint = f.code, f.hint
	} else if coder := cli.ExitCoder(nil); errors.As(err, &coder) {
		code = coder.ExitCode()
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintf(w, program+": error: %s\n", printable(line))
	}
	if hint != "" {
		fmt.Fprintf(w, program+": hint: %s\n", printable(hint))
	}
	return code
}
