// Command conformance writes docs/CONFORMANCE.md: every numbered statement of
// MQTT 5.0 and 3.1.1 that binds a server, with the tests that show it.
//
// A test shows a statement by citing it anywhere in its code or comments, or in
// what it calls within its package: [MQTT-3.3.1-5] for MQTT 5, [MQTT3-3.3.1-5]
// for MQTT 3.1.1, whose numbers differ. Run it from the module's root:
//
//	go run ./internal/conformance
package main

import (
	"os"

	"github.com/synthetism/edgebroker/internal/generated"
)

//go:generate go run . ../..

var page = generated.Document{Command: "conformance", Path: documentPath, Make: document}

func main() { os.Exit(page.Run(os.Args[1:], os.Stderr)) }
