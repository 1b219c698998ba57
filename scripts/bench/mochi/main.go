// Command mochi is mochi-mqtt as it comes: its defaults, one TCP listener at
// the address that is its only argument, and everybody let in. scripts/bench.sh
// compares it with edgebroker.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mochi: error:", err)
		os.Exit(1)
	}
}

// open lets everybody in and do everything, as the hook for that which mochi
// comes with. Its package also reads files, for which it needs another module.
type open struct{ mqtt.HookBase }

func (open) ID() string { return "open" }

func (open) Provides(b byte) bool { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }

func (open) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (open) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("needs one argument, the address to listen on, as 127.0.0.1:1883")
	}
	server := mqtt.New(nil)
	if err := server.AddHook(new(open), nil); err != nil {
		return fmt.Errorf("let everybody in: %w", err)
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: args[0]})); err != nil {
		return fmt.Errorf("listen on %s: %w", args[0], err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return server.Close()
}
