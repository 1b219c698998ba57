package acl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Load is the policy of the rules in the files at paths, in that order. A file
// that cannot be read is an error that wraps the operating system's; files
// that do not parse are one error of type [Errors].
func Load(paths ...string) (*Policy, error) {
	var (
		rules []Rule
		files []source
		bad   Errors
	)
	for _, path := range paths {
		got, err := Read(path)
		var more Errors
		switch {
		case errors.As(err, &more):
			bad = append(bad, more...)
		case err != nil:
			return nil, err
		}
		rules = append(rules, got...)
		files = append(files, source{path, len(got)})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	p, err := New(rules)
	if err == nil {
		p.files = files
	}
	return p, err
}

// Read is the rules in the file at path.
func Read(path string) ([]Rule, error) {
	text, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// readFile is the file at path, of which no more than Parse would take is read.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path) // before opening, which would wait for the other end of a pipe
	if err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read access rules: %s is not a regular file", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("read access rules: %w; make the file, or correct its path (an empty one denies everything)", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read access rules: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read access rules: %w", err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil && info.Mode().Perm()&0o002 != 0 {
		return nil, nil, fmt.Errorf("read access rules: %s: everybody may write it (mode %04o), and so do what they like; run: chmod o-w %s", path, info.Mode().Perm(), path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read access rules: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read access rules: %w", err)
	}
	return text, info, nil
}
