// Command apidoc writes docs/api/openapi.json: every route of the control API,
// what it takes and what it answers. Types and their comments come from the
// source, so the document says what the code does. Run it from the module's root:
//
//	go run ./internal/apidoc
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
		err = os.MkdirAll(filepath.Dir(filepath.Join(root, documentPath)), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(root, documentPath), doc, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apidoc: error:", err)
		os.Exit(1)
	}
}
