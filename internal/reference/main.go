// Command reference writes docs/REFERENCE.md: every key of the configuration,
// every metric, event, reason and exit code, as the code has them. What each means
// comes from the example config, from the descriptions of metrics and from comments
// in the source. What has no meaning there is an error, not a hole. Run it from the
// module's root:
//
//	go run ./internal/reference
package main

import (
	"os"

	"github.com/synthetism/edgebroker/internal/generated"
)

//go:generate go run . ../..

var page = generated.Document{Command: "reference", Path: documentPath, Make: document}

func main() { os.Exit(page.Run(os.Args[1:], os.Stderr)) }
