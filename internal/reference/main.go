// Command reference writes docs/REFERENCE.md: every key of the configuration,
// every metric, event, reason and exit code, as the code has them. What each means
// comes from the example config, from the descriptions of metrics and from comments
// in the source. What has no meaning there is an error, not a hole. Run it from the
// module's root:
//
//	go run ./internal/reference
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
		fmt.Fprintln(os.Stderr, "reference: error:", err)
		os.Exit(1)
	}
}
