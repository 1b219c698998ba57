package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// TestScript runs the program as a user does. Beyond testscript's own commands
// a script may say:
//
//	exits CODE edgebroker ARGS...   run it and check the exit code
//	usage ARGS...                   run edgebroker: exit code 2, one line each of error and hint, no output
//	freeport VAR                    set VAR to a TCP port on which nobody listens
//	await FILE REGEXP [VAR]         wait until FILE matches; set VAR to the first group
//	until REGEXP COMMAND ARGS...    run COMMAND again and again until its stdout matches
//	certificates DIR                make DIR with ca.crt, ca.crl, server.crt and .key for 127.0.0.1, device.crt and .key
//
// With the race detector it costs a tenth of a second to start a program, and there
// are a thousand here. So "edgebroker serve", which has many goroutines, runs with
// it, and what asks one question and ends as it is shipped.
func TestScript(t *testing.T) {
	path := os.Getenv("PATH")
	if raceEnabled {
		path = buildProgram(t) + string(filepath.ListSeparator) + path
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// The race detector makes each process sleep for a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			e.Setenv("PATH", path)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits,
			"usage": cmdUsage,
			"freeport": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: freeport VAR")
				}
				_, port, err := net.SplitHostPort(brokertest.Ports(t, 1)[0])
				ts.Check(err)
				ts.Setenv(args[0], port)
			},
			"await": cmdAwait,
			"until": cmdUntil,

			"certificates": cmdCertificates,
		},
	})
}

// buildProgram is a folder for PATH with an edgebroker that is this test's program
// for serve, and the one that is shipped for everything else.
func buildProgram(t *testing.T) string {
	t.Helper()
	raced, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := "#!/bin/sh\nif [ \"$1\" = serve ]; then exec " + raced + " \"$@\"; fi\nexec " + brokertest.Build(t) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdUsage(ts *testscript.TestScript, neg bool, args []string) {
	cmdExits(ts, neg, append([]string{strconv.Itoa(exitUsage), program}, args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("output on stdout: %q", out)
	}
	lines := strings.SplitAfter(ts.ReadFile("stderr"), "\n")
	if len(lines) > 3 || !strings.HasPrefix(lines[0], "edgebroker: error: ") {
		ts.Fatalf("not one line of error and at most one of hint: %q", lines)
	}
}

// patience is how long a script waits for what should happen at once.
const patience = 60 * time.Second

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [VAR]")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	poll(ts, args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			return false
		}
		groups := pattern.FindSubmatch(text)
		if groups != nil && len(args) == 3 {
			ts.Setenv(args[2], string(groups[1]))
		}
		return groups != nil
	})
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND [ARGS...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	poll(ts, args[0], func() bool {
		_ = ts.Exec(args[1], args[2:]...) // may fail until it works
		return pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func cmdCertificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificates DIR")
	}
	dir := ts.MkAbs(args[0])
	a, err := certs.CreateAuthority(dir, "script")
	ts.Check(err)
	server, err := a.IssueServer(certs.Request{}, "127.0.0.1")
	ts.Check(err)
	ts.Check(server.Write(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"), false))
	device, err := a.IssueClient(certs.Request{Name: "device"})
	ts.Check(err)
	ts.Check(device.Write(filepath.Join(dir, "device.crt"), filepath.Join(dir, "device.key"), false))
}

// poll waits until done.
func poll(ts *testscript.TestScript, what string, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not come within %v", what, patience)
		}
	}
}
