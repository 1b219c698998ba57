// Package atomicfile replaces files that people and programs read at any time:
// they find the old content or the new one, also after a power cut, and edits by
// several processes wait for each other.
package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	lockInterval = 20 * time.Millisecond
	prefix       = "."
	suffix       = ".edgebroker-new"
)

// Lock opens the folder dir and locks it (flock) until it is closed, so that no
// lock file is left. It waits for others until ctx ends.
func Lock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.Open(dir)
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
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("%s: somebody else is editing there; try again: %w", dir, ctx.Err())
		case <-time.After(lockInterval):
		}
	}
}

// Replace puts data at path, which lies in the locked folder. old is how the
// file lay there when it was read: it hands on mode and owner, and a change by a
// program that does not lock is an error. With a nil old the file is new, of
// mode 0600. nil means that the change is on stable storage. before is called
// with the name of each step that is about to be made, for tests; it may be nil.
func Replace(folder *os.File, path string, data []byte, old os.FileInfo, before func(step string)) error {
	if before == nil {
		before = func(string) {}
	}
	temporary := filepath.Join(filepath.Dir(path), prefix+filepath.Base(path)+suffix)
	before("clean")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an edit that crashed
		return err
	}
	err := write(temporary, data, old, before)
	if err == nil {
		err = unchanged(path, old)
	}
	if err == nil {
		before("rename")
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	before("sync folder")
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("%s: is changed, but a power cut may take the change back: %w", path, err)
	}
	return nil
}

// newMode is that of a file until it has its own, and of a new one for good.
const newMode = 0o600

func write(path string, data []byte, old os.FileInfo, before func(step string)) error {
	before("create")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, newMode)
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
		return f.Chmod(newMode)
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
	return f.Chmod(old.Mode().Perm()) // after the owner, a change of which can take bits away
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
