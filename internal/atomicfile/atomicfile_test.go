package atomicfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// edit replaces the content of path by what change makes of it.
func edit(t *testing.T, path string, change func(string) string, before func(string)) error {
	t.Helper()
	folder, err := Lock(t.Context(), filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	old, err := os.Stat(path)
	text := []byte{}
	if err == nil {
		if text, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	} else {
		old = nil
	}
	return Replace(folder, path, []byte(change(string(text))), old, before)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// crash is the panic of an edit that ends at a step.
type crash struct{}

// Wherever an edit ends, the file has the old content or the new one, with its
// mode, and the next edit works.
func TestCrashes(t *testing.T) {
	steps := 0
	for at := 0; at <= steps; at++ {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		n := 0
		func() {
			defer func() {
				if e := recover(); e != nil && e != (crash{}) {
					panic(e)
				}
			}()
			_ = edit(t, path, func(string) string { return "new content" }, func(string) {
				if n++; n == at {
					panic(crash{})
				}
			})
		}()
		steps = max(steps, n)
		if got := read(t, path); got != "old" && got != "new content" {
			t.Fatalf("after step %d: %q", at, got)
		}
		if err := edit(t, path, func(s string) string { return s + "!" }, nil); err != nil {
			t.Fatalf("after step %d: %v", at, err)
		}
		if got := read(t, path); got != "old!" && got != "new content!" {
			t.Errorf("after step %d and an edit: %q", at, got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
			t.Errorf("after step %d and an edit there is %v", at, list)
		}
	}
	if steps < 7 {
		t.Errorf("only %d steps", steps)
	}
}

// Edits at once lose nothing.
func TestTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				err := edit(t, path, func(s string) string {
					n, _ := strconv.Atoi(s)
					return strconv.Itoa(n + 1)
				}, nil)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := read(t, path); got != "80" {
		t.Errorf("got %s; want 80", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("a new file has mode %v, %v", info.Mode(), err)
	}
}

// Others that do not lock are noticed, in the middle of an edit too.
func TestNoticesOthers(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"content": func(path string) error { return os.WriteFile(path, []byte("theirs!"), 0o600) },
		"another": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", []byte("old"), 0o600), os.Rename(path+"2", path))
		},
		"removed": os.Remove,
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := edit(t, path, func(string) string { return "mine" }, func(step string) {
			if step == "sync" {
				if err := change(path); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err == nil {
			t.Errorf("%s: nobody noticed", name)
		}
		if b, _ := os.ReadFile(path); string(b) == "mine" {
			t.Errorf("%s: their change is lost", name)
		}
	}
}

// A lock is waited for, but not for ever.
func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	got := make(chan error)
	go func() {
		second, err := Lock(context.Background(), dir)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}
