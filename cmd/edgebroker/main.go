// The runtime need not ask every second how many processors there are: those of a
// gateway stay.
//
//go:debug updatemaxprocs=0

// Command edgebroker runs an MQTT broker for gateways and looks at one that
// runs: edgebroker serve, edgebroker stats, edgebroker events and so on.
//
// Results go to stdout. Everything said to a person goes to stderr, one line
// each, as "edgebroker: error: ..." and "edgebroker: hint: ...": lower case,
// no full stop. Text that came from the network (client ids, topics, payloads)
// never reaches a terminal unescaped.
//
// Exit codes: 0 done; 1 error; 2 wrong usage or config; 3 the daemon or broker
// cannot be reached; 4 the daemon is reachable but degraded.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default action is back, so that a second one
	// ends the process at once, whatever it hangs on.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program behind main: args[0] is the program's name, ctx ends
// when the user wants it to stop, and the result is the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	if completionAfterDashes(args) {
		return exitOK
	}
	return report(stderr, newApp(e).RunContext(ctx, args))
}
