package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	keyMode  fs.FileMode = 0o600
	certMode fs.FileMode = 0o644
)

// writeFile makes path hold data, all of it or nothing, also across a power
// cut. Unless overwrite is set, a file that is there already is left as it is,
// and the error wraps fs.ErrExist; a file that is replaced hands on its owner
// and group, as far as that is allowed, and what its group may do.
func writeFile(path string, data []byte, mode fs.FileMode, overwrite bool) (err error) {
	dir := filepath.Dir(path)
	if !overwrite {
		if err := absent(path); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // 0600 until it is complete
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if overwrite {
		if old, err := os.Stat(path); err == nil {
			mode |= old.Mode() & 0o070
			if owner, ok := old.Sys().(*syscall.Stat_t); ok && f.Chown(int(owner.Uid), int(owner.Gid)) != nil {
				mode &^= 0o070 // it is another group now
			}
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if overwrite {
		err = os.Rename(f.Name(), path)
	} else if err = os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) { // the file system may not know links
		if err = absent(path); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return absent(path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// absent returns an error that wraps fs.ErrExist if there is something at path.
func absent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s is there already (%w); move it away, or ask to overwrite it", path, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
