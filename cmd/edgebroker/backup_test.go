package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackupReplacesNothing that has come while the copy was made.
func TestBackupReplacesNothing(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "b.tar")
	err := writeArchive(dest, func(fn func(io.Reader, func() error) error) error {
		if err := os.WriteFile(dest, []byte("mine"), 0o600); err != nil {
			return err
		}
		return fn(strings.NewReader("archive"), func() error { return nil })
	})
	if err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(dest); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q now, %v", text, err)
	}
	if _, err := os.Lstat(dest + ".part"); !os.IsNotExist(err) {
		t.Errorf("half a backup was left: %v", err)
	}
}
