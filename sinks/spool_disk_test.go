package sinks

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// Half a line that cannot be taken back spoils no other: what comes next stands in
// another file.
func TestHalfALineStaysAlone(t *testing.T) {
	d, err := openDisk(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.append([]byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	before := d.list[0].size

	// A pipe takes a part of a line, and cannot be cut.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(r, make([]byte, 1))
		done <- errors.Join(err, r.Close())
	}()
	d.last.Close()
	d.last = w
	if err := d.append([]byte(strings.Repeat("2", 900<<10))); err == nil {
		t.Fatal("a line was written to a pipe that nobody reads")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := d.list[0].size; got != before {
		t.Errorf("the file counts as %d bytes of whole lines, not %d", got, before)
	}
	f, err := os.OpenFile(d.path(d.list[0].number), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("222")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}

	if err := d.append([]byte(`{"n":3}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"n":1}`, `{"n":3}`} {
		lines, damaged, ready := d.peek(1, maxLine)
		if len(lines) != 1 || string(lines[0]) != want || damaged != 0 {
			t.Fatalf("%q, %d damaged; want %s", lines, damaged, want)
		}
		if err := d.remove(ready); err != nil {
			t.Fatal(err)
		}
	}
}
