// Command interop runs one matrix of MQTT behaviour with the client libraries
// that people use, each talking to a broker that already runs, and prints what
// passed as a table. scripts/interop.sh installs the libraries, starts the
// broker and runs it.
//
// Each library is a Library: in this process where it is written in Go, behind
// a driver that speaks JSON on its standard streams where it is not. The cases
// (cases.go and its siblings) know nothing of libraries; the rows are every
// library in every protocol version on every transport that it has.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit status: 0 all green, 1 a cell failed or the matrix
// could not run, 2 wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("interop", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var at Addresses
	flags.StringVar(&at.TCP, "tcp", "", "`HOST:PORT` of the broker's TCP listener")
	flags.StringVar(&at.Unix, "unix", "", "`PATH` of its unix socket")
	flags.StringVar(&at.WS, "ws", "", "`HOST:PORT` of its WebSocket listener")
	python := flags.String("python", "python3", "`PROGRAM` that has python's paho")
	only := flags.String("only", "", "run only rows whose name contains `TEXT`")
	parallel := flags.Int("parallel", 4, "rows that run at the same time")
	markdown := flags.String("markdown", "", "also write the table to `FILE`")
	patience := flags.Duration("patience", 20*time.Second, "the longest that one cell may take")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if at.TCP == "" || at.Unix == "" || at.WS == "" || flags.NArg() > 0 || *parallel < 1 {
		fmt.Fprintln(stderr, "interop: error: needs -tcp, -unix and -ws, and no arguments; see scripts/interop.sh")
		return 2
	}
	libraries, closeAll, err := openLibraries(ctx, *python, stderr)
	defer closeAll()
	if err != nil {
		fmt.Fprintf(stderr, "interop: error: %v\n", err)
		return 1
	}
	m := matrix{at: at, patience: *patience, parallel: *parallel, progress: stderr}
	for _, r := range rowsOf(libraries) {
		if strings.Contains(r.String(), *only) {
			m.rows = append(m.rows, r)
		}
	}
	report := m.run(ctx)
	fmt.Fprint(stdout, report.text())
	if *markdown != "" {
		if err := os.WriteFile(*markdown, []byte(report.markdown()), 0o644); err != nil {
			fmt.Fprintf(stderr, "interop: error: write table: %v\n", err)
			return 1
		}
	}
	if !report.green() {
		return 1
	}
	return 0
}
