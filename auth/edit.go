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
	"syscall"
	"time"
)

// Why an edit of a password file is not done.
var (
	ErrUserExists = errors.New("user exists already")
	ErrNoUser     = errors.New("user is not in the file")
)

const (
	newFileComment  = "# users of edgebroker: name:hash or name:hash:group,group"
	noUsersComment  = "# no users: nobody gets in"
	lockInterval    = 20 * time.Millisecond
	newFileMode     = 0o600
	anyHashMemory   = 1 << 40 // what a hash may use is the broker's business
	temporaryPrefix = "."
	temporarySuffix = ".edgebroker-new"
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
	folder, err := lockFolder(ctx, filepath.Dir(target))
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
	if err := replaceFile(folder, target, data, info, before); err != nil {
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
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s: is a link to a file that does not exist; remove it, or make that file", path)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(folder, filepath.Base(path)), err
}

// lockFolder opens and locks a folder until it is closed.
func lockFolder(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("%s: somebody else is editing there; try again: %w", path, ctx.Err())
		case <-time.After(lockInterval):
		}
	}
}

// replaceFile puts data at target, in the locked folder, with the mode and owner
// of old, which is nil for a new file.
func replaceFile(folder *os.File, target string, data []byte, old os.FileInfo, before func(step string)) error {
	temporary := filepath.Join(filepath.Dir(target), temporaryPrefix+filepath.Base(target)+temporarySuffix)
	before("clean")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an edit that crashed
		return err
	}
	err := writeFile(temporary, data, old, before)
	if err == nil {
		err = unchanged(target, old)
	}
	if err == nil {
		before("rename")
		err = os.Rename(temporary, target)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	before("sync folder")
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("%s: is changed, but a power cut may take the change back: %w", target, err)
	}
	return nil
}

func writeFile(path string, data []byte, old os.FileInfo, before func(step string)) error {
	before("create")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, newFileMode)
	if err != nil {
		return err
	}
	before("write")
	half := len(data) / 2
	if _, err = f.Write(data[:half]); err == nil {
		before("write the rest")
		_, err = f.Write(data[half:])
	}
	if err == nil {
		before("keep mode and owner")
		err = keepOwner(f, old)
	}
	if err == nil {
		before("sync")
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// keepOwner gives f the owner and mode of old, if there is one.
func keepOwner(f *os.File, old os.FileInfo) error {
	if old == nil {
		return f.Chmod(newFileMode)
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: owner cannot be read", f.Name())
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !ok || is.Uid != was.Uid || is.Gid != was.Gid {
		if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return fmt.Errorf("keep the owner (user %d, group %d); run as root: %w", was.Uid, was.Gid, err)
		}
	}
	return f.Chmod(old.Mode().Perm())
}

// unchanged reports an error if the file at path is not as it was when it was read.
func unchanged(path string, old os.FileInfo) error {
	now, err := os.Lstat(path)
	if old == nil && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if old == nil || !os.SameFile(now, old) || !now.ModTime().Equal(old.ModTime()) || now.Size() != old.Size() {
		return fmt.Errorf("%s: another program has changed it meanwhile; try again", path)
	}
	return nil
}
