// Command embed is a Go program with an MQTT broker inside: the controller of a
// greenhouse. Its sensors are MQTT clients; the program decides which of them come
// in, sees them come and go, reads what they measure, and tells them what to do.
// One sensor is simulated, so that there is something to see.
//
//	go run ./examples/embed          ends by itself
//	go run ./examples/embed -stay    goes on until Ctrl-C, for sensors of your own
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where sensors connect, `HOST:PORT`; port 0 is any that is free")
	stay := flag.Bool("stay", false, "go on until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *stay, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}
