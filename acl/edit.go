package acl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/internal/atomicfile"
)

// Append adds rules at the end of the file at path, each on a line of its own,
// and changes nothing else in it. The file must exist, and must parse before
// and after; else it is left as it is. Whoever reads the file sees the old text
// or the new one, also after a crash, and when Append returns nil the new one
// is on the disk. Owner and mode are kept, a symbolic link is followed, and
// edits by several processes wait for each other.
//
// A rule at the end decides nothing if one before it always does: [Policy.Lint]
// of the changed file tells.
func Append(path string, rules ...Rule) error {
	var more strings.Builder
	for i := range rules {
		line := rules[i].String()
		got, err := Parse(path, []byte(line))
		if err != nil {
			return fmt.Errorf("append to access rules: %w", withoutPlace(err))
		}
		if len(got) != 1 || !same(&got[0], &rules[i]) {
			return fmt.Errorf("append to access rules: rule %d cannot be written as one line: %q", i+1, line)
		}
		more.WriteString(line + "\n")
	}
	if len(rules) == 0 {
		return nil
	}
	return edit(path, func(text []byte) ([]byte, error) {
		text = slices.Clip(text)
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return append(text, more.String()...), nil
	})
}

// Remove takes out of the file at path every rule for which which returns
// true, with its line, and returns how many there were. Comments stay. For the
// rest it promises what [Append] does; a file without such rules is not
// written.
func Remove(path string, which func(*Rule) bool) (removed int, err error) {
	err = edit(path, func(text []byte) ([]byte, error) {
		rules, err := Parse(path, text)
		if err != nil {
			return nil, err
		}
		out := make([]byte, 0, len(text))
		line := 0
		for l := range bytes.Lines(text) {
			line++
			if len(rules) > 0 && rules[0].Line == line {
				gone := which(&rules[0])
				rules = rules[1:]
				if gone {
					removed++
					continue
				}
			}
			out = append(out, l...)
		}
		return out, nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// same reports whether a and b say the same, wherever they stand.
func same(a, b *Rule) bool {
	for s := range selectors {
		if *a.field(s) != *b.field(s) {
			return false
		}
	}
	return a.Allow == b.Allow && a.Action == b.Action && slices.Equal(a.Filters, b.Filters)
}

// withoutPlace is what is wrong with a rule that stands in no file yet.
func withoutPlace(err error) error {
	var bad *Error
	if errors.As(err, &bad) {
		return errors.New(bad.Problem)
	}
	return err
}

// edit replaces the text of the file at path by what change makes of it.
func edit(path string, change func([]byte) ([]byte, error)) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	dir, err := atomicfile.Lock(context.Background(), filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	defer dir.Close() // ends the lock
	text, info, err := readFile(path)
	if err != nil {
		return err
	}
	if _, err := Parse(path, text); err != nil {
		return fmt.Errorf("edit access rules: mend the file first: %w", err)
	}
	after, err := change(text)
	if err != nil || bytes.Equal(after, text) {
		return err
	}
	if _, err := Parse(path, after); err != nil {
		return fmt.Errorf("edit access rules: the file would be: %w", err)
	}
	if err := atomicfile.Replace(dir, path, after, info, nil); err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	return nil
}
