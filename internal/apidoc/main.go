// Command apidoc writes docs/api/openapi.json: every route of the control API,
// what it takes and what it answers. Types and their comments come from the
// source, so the document says what the code does. Run it from the module's root:
//
//	go run ./internal/apidoc
package main

import (
	"os"

	"github.com/synthetism/edgebroker/internal/generated"
)

//go:generate go run . ../..

var page = generated.Document{Command: "apidoc", Path: documentPath, Make: document}

func main() { os.Exit(page.Run(os.Args[1:], os.Stderr)) }
