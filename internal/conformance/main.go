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
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ../..

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	doc, err := document(root)
	if err == nil {
		err = os.WriteFile(filepath.Join(root, documentPath), doc, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance: error:", err)
		os.Exit(1)
	}
}
