package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const lockName = "lock"

// Dir is the directory at path, made with mode 0700 if it does not exist. Its
// lock is an advisory one on the file "lock" in it, and ends with the process.
func Dir(path string) (Disk, error) {
	err := os.Mkdir(path, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if made {
		parent, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, fmt.Errorf("open parent of data directory: %w", err)
		}
		err = errors.Join(parent.Sync(), parent.Close())
		if err != nil {
			return nil, fmt.Errorf("sync parent of data directory: %w", err)
		}
	}
	return openDir(path, os.O_RDWR)
}

// ReadDir is the directory at path for Verify and Scan: nothing in it can be
// changed, and no lock is needed to read it.
func ReadDir(path string) (Disk, error) { return openDir(path, os.O_RDONLY) }

func openDir(path string, flag int) (Disk, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	return &dir{path: path, flag: flag}, nil
}

// dir is a Disk on a real directory.
type dir struct {
	path string
	flag int // of the files: read-only or read-write

	mu   sync.Mutex
	lock *os.File // nil unless locked
	self *os.File // the directory, open while locked: syncing it must not fail for want of a descriptor
}

func (d *dir) join(name string) string { return filepath.Join(d.path, name) }

func (d *dir) Lock() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil {
		return fmt.Errorf("%s: %w", d.path, ErrLocked)
	}
	if d.flag == os.O_RDONLY {
		return fmt.Errorf("lock %s to write: %w", d.path, fs.ErrPermission)
	}
	f, err := os.OpenFile(d.join(lockName), d.flag|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		var owner [32]byte
		n, _ := f.ReadAt(owner[:], 0)
		if pid := strings.TrimSpace(string(owner[:n])); pid != "" {
			return fmt.Errorf("%s: %w (pid %s); stop that one, or use another data directory", d.path, ErrLocked, pid)
		}
		return fmt.Errorf("%s: %w; stop that one, or use another data directory", d.path, ErrLocked)
	}
	// The pid helps people to find the owner; nothing depends on it.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	self, err := os.Open(d.path)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.lock, d.self = f, self
	return nil
}

func (d *dir) Unlock() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	_ = d.lock.Truncate(0)
	err := errors.Join(d.self.Close(), d.lock.Close())
	d.lock, d.self = nil, nil
	return err
}

func (d *dir) List() ([]FileInfo, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var out []FileInfo
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == lockName {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed or renamed since
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, FileInfo{e.Name(), info.Size()})
	}
	return out, nil
}

func (d *dir) Open(name string) (File, error) {
	f, err := os.OpenFile(d.join(name), d.flag, 0)
	if err != nil {
		return nil, err
	}
	return &dirFile{f}, nil
}

func (d *dir) Create(name string, size int64) (File, error) {
	if d.flag == os.O_RDONLY {
		return nil, fs.ErrPermission
	}
	f, err := os.OpenFile(d.join(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f, size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return &dirFile{f}, nil
}

func (d *dir) Rename(from, to string) error {
	if d.flag == os.O_RDONLY {
		return fs.ErrPermission
	}
	return os.Rename(d.join(from), d.join(to))
}

func (d *dir) Remove(name string) error {
	if d.flag == os.O_RDONLY {
		return fs.ErrPermission
	}
	return os.Remove(d.join(name))
}

func (d *dir) Sync() error {
	d.mu.Lock()
	self := d.self
	d.mu.Unlock()
	if self != nil {
		return self.Sync()
	}
	self, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(self.Sync(), self.Close())
}

type dirFile struct{ *os.File }

func (f *dirFile) Resize(size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size > info.Size() {
		return allocate(f.File, size)
	}
	return f.Truncate(size)
}

func (f *dirFile) Sync() error { return syncData(f.File) }
