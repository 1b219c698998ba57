package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/internal/atomicfile"
)

// Why an edit of a password file is not done.
var (
	ErrUserExists = errors.New("user exists already")
	ErrNoUser     = errors.New("user is not in the file")
)

const (
	newFileComment = "# users of edgebroker: name:hash or name:hash:group,group"
	noUsersComment = "# no users: nobody gets in"
	anyHashMemory  = 1 << 40 // what a hash may use is the broker's business
)

// PasswordEdit is a password file that is being changed by
// [EditPasswordFile]. Lines that an edit does not concern, comments and the order
// stay as they are; so do broken lines, and the user in one can be mended.
type PasswordEdit struct {
	lines []string // without their line ends, but with "\r"
}

// find is the index of the line with the user name, or -1.
func (e *PasswordEdit) find(name string) (int, error) {
	found := -1
	for i, text := range e.lines {
		if n, _, ok := splitLine(text); ok && n == name {
			if found >= 0 {
				return -1, fmt.Errorf("user is in line %d and again in line %d; remove one of the two lines", found+1, i+1)
			}
			found = i
		}
	}
	return found, nil
}

// existing is find, where that there is none is ErrNoUser.
func (e *PasswordEdit) existing(name string) (int, error) {
	i, err := e.find(name)
	if err == nil && i < 0 {
		err = ErrNoUser
	}
	return i, err
}

// Add puts a user after the last line. hash is what [HashPassword] returns, or
// any other that a password file may hold.
func (e *PasswordEdit) Add(name, hash string, groups []string) error {
	if err := checkFileName(name); err != nil {
		return err
	}
	i, err := e.find(name)
	if err != nil {
		return err
	}
	if i >= 0 {
		return ErrUserExists
	}
	line, err := userLine(name, hash, groups)
	if err != nil {
		return err
	}
	e.lines = append(e.lines, line)
	return nil
}

// Delete removes a user.
func (e *PasswordEdit) Delete(name string) error {
	i, err := e.existing(name)
	if err != nil {
		return err
	}
	e.lines = slices.Delete(e.lines, i, i+1)
	return nil
}

// SetHash gives a user another hash, and leaves the groups.
func (e *PasswordEdit) SetHash(name, hash string) error {
	i, err := e.existing(name)
	if err != nil {
		return err
	}
	if _, err := parseHash(hash, anyHashMemory); err != nil {
		return err
	}
	text, end := cutReturn(e.lines[i])
	_, rest, _ := strings.Cut(text, ":")
	_, groups, grouped := strings.Cut(rest, ":")
	text = name + ":" + hash
	if grouped {
		text += ":" + groups
	}
	e.lines[i] = text + end
	return nil
}

// SetGroups gives a user other groups, and leaves the hash.
func (e *PasswordEdit) SetGroups(name string, groups []string) error {
	i, err := e.existing(name)
	if err != nil {
		return err
	}
	text, end := cutReturn(e.lines[i])
	_, rest, _ := strings.Cut(text, ":")
	hash, _, _ := strings.Cut(rest, ":")
	line, err := userLine(name, hash, groups)
	if err != nil {
		return err
	}
	e.lines[i] = line + end
	return nil
}

func cutReturn(text string) (before, end string) {
	if before, found := strings.CutSuffix(text, "\r"); found {
		return before, "\r"
	}
	return text, ""
}

func userLine(name, hash string, groups []string) (string, error) {
	if _, err := parseHash(hash, anyHashMemory); err != nil {
		return "", err
	}
	if err := checkFileGroups(groups); err != nil {
		return "", err
	}
	line := name + ":" + hash
	if len(groups) > 0 {
		line += ":" + strings.Join(unique(groups), ",")
	}
	return line, nil
}

func (e *PasswordEdit) bytes() []byte {
	if len(e.lines) == 0 {
		return nil
	}
	return []byte(strings.Join(e.lines, "\n") + "\n")
}

// EditPasswordFile changes the password file at path, which it makes (with mode
// 0600, and owned by who runs this) if there is none. fn changes the edit; if it
// returns an error nothing changes. A file whose mode [LoadPasswordFile] refuses
// is refused here too.
//
// The change is atomic: whoever reads the file, also after a crash, finds what
// was there or what is there now. nil means that it is on stable storage. Mode
// and owner stay; if path is a symbolic link, the file that it leads to is
// changed and the link stays. Two edits wait for each other, until ctx ends: they
// lock the folder (flock), so they leave no lock file. A change by a program that
// does not lock is noticed and is an error.
//
// When the last user goes, a comment stays, so that the file can be loaded.
func EditPasswordFile(ctx context.Context, path string, fn func(*PasswordEdit) error) error {
	return editPasswordFile(ctx, path, fn, func(string) {})
}

// editPasswordFile calls before with the name of each step that it is about to
// make.
func editPasswordFile(ctx context.Context, path string, fn func(*PasswordEdit) error, before func(step string)) error {
	target, err := followLinks(path)
	if err != nil {
		return fmt.Errorf("edit password file: %w", err)
	}
	folder, err := atomicfile.Lock(ctx, filepath.Dir(target))
	if err != nil {
		return fmt.Errorf("edit password file: %w", err)
	}
	defer folder.Close() // and so unlocks it

	old, info, err := readFile(target, MaxPasswordFile, secretFile)
	e := &PasswordEdit{}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.lines = []string{newFileComment}
	case err != nil:
		return fmt.Errorf("edit password file: %w", err)
	default:
		e.lines = strings.Split(strings.TrimSuffix(string(old), "\n"), "\n")
	}
	if err := fn(e); err != nil {
		return fmt.Errorf("edit password file: %s: %w", target, err)
	}
	data := e.bytes()
	if !hasUsers(data) && !bytes.Contains(data, []byte("#")) {
		data = append([]byte(noUsersComment+"\n"), data...)
	}
	switch {
	case bytes.Equal(data, old):
		return nil
	case len(data) > MaxPasswordFile:
		return fmt.Errorf("edit password file: %s: would be larger than %d KiB; remove users first", target, MaxPasswordFile>>10)
	}
	if err := atomicfile.Replace(folder, target, data, info, before); err != nil {
		return fmt.Errorf("edit password file: %w", err)
	}
	return nil
}

// followLinks is the path of the file that path leads to, which need not exist
// unless path is a link.
func followLinks(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("%s: is a link to a file that does not exist; remove it, or make that file", path)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path)) // the file may be there by now, made by another edit
	return filepath.Join(folder, filepath.Base(path)), err
}
