package mosquitto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Bounds of what is read.
const (
	MaxFileBytes = 4 << 20 // of one file
	MaxIncluded  = 1000    // files
)

// Line is one setting of a mosquitto.conf.
type Line struct {
	File   string
	Number int    // of the line in File, from 1
	Name   string // of the setting
	Value  string // all that follows, without blanks around it
	// Reading tells one reading of a file from others. mosquitto forgets at the
	// end of a file which listener and which bridge the settings are for, and
	// does not tell an included file.
	Reading int
}

// Words is the value, split at spaces as mosquitto does for most settings.
func (l Line) Words() []string {
	return strings.FieldsFunc(l.Value, func(r rune) bool { return r == ' ' })
}

// Word is the first word of the value; empty if there is none.
func (l Line) Word() string {
	if w := l.Words(); len(w) > 0 {
		return w[0]
	}
	return ""
}

// ReadConf is the settings of the file at path, and of those in folders that it
// includes, in the order in which mosquitto reads them. A line with include_dir
// stands before what it includes. Relative folders are looked for below dir, the
// folder in which mosquitto was started.
func ReadConf(path, dir string) ([]Line, error) {
	r := confReader{dir: dir}
	err := r.file(path, true)
	return r.lines, err
}

type confReader struct {
	dir      string
	lines    []Line
	readings int
}

func (r *confReader) file(path string, main bool) error {
	data, err := ReadFile(path)
	if err != nil {
		return fmt.Errorf("read mosquitto's configuration: %w", err)
	}
	reading := r.readings
	r.readings++
	for _, l := range ParseConf(path, data) {
		l.Reading = reading
		r.lines = append(r.lines, l)
		if l.Name != "include_dir" || !main {
			continue
		}
		if l.Value == "" {
			return fmt.Errorf("%s:%d: include_dir names no folder; mosquitto does not start with it", l.File, l.Number)
		}
		if err := r.folder(l.Value); err != nil {
			return fmt.Errorf("%s:%d: %w", l.File, l.Number, err)
		}
	}
	return nil
}

func (r *confReader) folder(dir string) error {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(r.dir, dir)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".conf") {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, compareNames)
	for _, name := range names {
		if r.readings > MaxIncluded {
			return fmt.Errorf("more than %d files are included", MaxIncluded)
		}
		if err := r.file(filepath.Join(dir, name), false); err != nil {
			return err
		}
	}
	return nil
}

// compareNames is the order of included files: that of the alphabet, a capital
// before the same letter that is none.
func compareNames(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// ParseConf is the settings in the text of one file, called name. What includes
// others stands there as any other setting.
func ParseConf(name string, data []byte) (lines []Line) {
	for n, text := range textLines(data) {
		if text == "" || text[0] == '#' {
			continue
		}
		text = strings.TrimLeft(text, " ")
		option, value, _ := strings.Cut(text, " ")
		if option == "" {
			continue
		}
		lines = append(lines, Line{File: name, Number: n, Name: option, Value: strings.Trim(value, blanks)})
	}
	return lines
}

// blanks is what isspace of C calls so.
const blanks = " \t\n\v\f\r"

// textLines are the lines of data and their numbers, from 1, without their ends.
func textLines(data []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for l := range bytes.Lines(data) {
			n++
			if i := bytes.IndexByte(l, 0); i >= 0 { // as C sees it
				l = l[:i]
			}
			if !yield(n, strings.TrimRight(string(l), "\r\n")) {
				return
			}
		}
	}
}

// ReadFile is the file at path, which must be a regular one of at most
// MaxFileBytes.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hang
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err == nil && len(data) > MaxFileBytes {
		err = errors.New(path + ": is larger than 4 MiB")
	}
	return data, err
}
