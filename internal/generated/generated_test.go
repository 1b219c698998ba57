package generated

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDocument(t *testing.T) {
	root := t.TempDir()
	text := "one"
	var fault error
	d := Document{Command: "maker", Path: "docs/made", Make: func(at string) ([]byte, error) {
		if at != root {
			t.Errorf("made of %s", at)
		}
		return []byte(text), fault
	}}
	if err := d.Check(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is no document: %v", err)
	}
	if err := d.write(root); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(root); err != nil {
		t.Error(err)
	}
	text = "two"
	if err := d.Check(root); err == nil || err.Error() != "docs/made is out of date; run go run ./internal/maker and commit it" {
		t.Errorf("an old document: %v", err)
	}
	fault = errors.New("no meaning")
	if err := d.Check(root); !errors.Is(err, fault) {
		t.Errorf("a document that cannot be made: %v", err)
	}
	if err := d.write(root); !errors.Is(err, fault) {
		t.Errorf("a document that cannot be made: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(root, d.Path)); err != nil || string(got) != "one" {
		t.Errorf("the one before is now %q, %v", got, err)
	}
}
