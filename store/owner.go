package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// give gives the files in dir to its owner, if this process is root and the
// owner is somebody else: the broker must be able to open them.
func give(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.Lchown(filepath.Join(dir, e.Name()), int(owner.Uid), int(owner.Gid)))
	}
	return errors.Join(append(errs, err)...)
}
