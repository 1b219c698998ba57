// Package generated is what programs have in common that make a document of the code:
// they write it, and a test of each holds the committed one against the code.
package generated

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Document is made of the code of a module.
type Document struct {
	Command string                            // folder in internal/ of the program that writes it
	Path    string                            // where it lies below the module's root
	Make    func(root string) ([]byte, error) // what it has to be; root is that of the module
}

// Run is a program that writes d, and returns its exit code. The module's root is the
// working folder, or what the first of args names.
func (d Document) Run(args []string, stderr io.Writer) int {
	root := "."
	if len(args) > 0 {
		root = args[0]
	}
	if err := d.write(root); err != nil {
		fmt.Fprintf(stderr, "%s: error: %v\n", d.Command, err)
		return 1
	}
	return 0
}

func (d Document) write(root string) error {
	text, err := d.Make(root)
	if err != nil {
		return err
	}
	path := filepath.Join(root, d.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// Check says why the document below root is not what the code makes it.
func (d Document) Check(root string) error {
	want, err := d.Make(root)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(root, d.Path))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s is out of date; run go run ./internal/%s and commit it", d.Path, d.Command)
	}
	return nil
}
