package store

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/synthetism/edgebroker/journal"
)

// ErrNotEmpty is why a folder is not written to.
var ErrNotEmpty = errors.New("there is something in it already; name a new folder, or empty this one")

// lockFile is what a broker leaves in an empty store.
const lockFile = "lock"

// partSuffix marks the files of a copy until all are there. A folder with such
// files holds no store.
const partSuffix = ".part"

// Copy writes the files of a store into the folder dir, which must be empty or
// not exist, so that the folder holds either all of it, on stable storage, or
// no store. Nobody can open it as a store meanwhile. As root it gives the files
// to the owner of dir.
func Copy(from journal.Disk, dir string) error {
	list, err := from.List()
	if err != nil {
		return fmt.Errorf("list files to copy: %w", err)
	}
	list = slices.DeleteFunc(list, func(f journal.FileInfo) bool { return !segmentName.MatchString(f.Name) })
	return fill(dir, func(add func(string, io.Reader) error) error {
		for _, info := range list {
			f, err := from.Open(info.Name)
			if err != nil {
				return err
			}
			err = add(info.Name, io.NewSectionReader(f, 0, info.Size))
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Unpack is Copy of a tar archive as Backup writes it. complete is called at
// the end of the archive: its error is one of the copy.
func Unpack(archive io.Reader, dir string, complete func() error) error {
	return fill(dir, func(add func(string, io.Reader) error) error {
		for in := tar.NewReader(archive); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return complete()
			}
			if err != nil {
				return err
			}
			if h.Typeflag != tar.TypeReg || !segmentName.MatchString(h.Name) {
				return fmt.Errorf("%q is no file of a store", h.Name)
			}
			if err := add(h.Name, in); err != nil {
				return err
			}
		}
	})
}

// fill makes the folder dir of the files that write adds, or leaves it as it
// was.
func fill(dir string, write func(add func(name string, content io.Reader) error) error) (err error) {
	made, err := claim(dir)
	if err != nil {
		return err
	}
	target, err := journal.Dir(dir)
	if err != nil {
		return err
	}
	if err := target.Lock(); err != nil {
		return err
	}
	var names []string
	defer func() {
		if err != nil {
			for _, name := range names {
				_ = os.Remove(filepath.Join(dir, name+partSuffix))
				_ = os.Remove(filepath.Join(dir, name))
			}
			_ = os.Remove(filepath.Join(dir, lockFile))
		}
		err = errors.Join(err, target.Unlock())
		if err != nil && made {
			_ = os.Remove(dir)
		}
	}()
	err = write(func(name string, content io.Reader) error {
		names = append(names, name)
		return put(filepath.Join(dir, name+partSuffix), content)
	})
	if err != nil {
		return fmt.Errorf("fill %s: %w", dir, err)
	}
	// The first file last: without it the others are known to be incomplete.
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if err := target.Rename(name+partSuffix, name); err != nil {
			return err
		}
	}
	return errors.Join(target.Sync(), give(dir), syncFolder(filepath.Dir(dir)))
}

// claim makes the folder dir unless it is there and empty.
func claim(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Mkdir(dir, 0o700); err != nil {
			return false, fmt.Errorf("make folder: %w", err)
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look into folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile || !e.Type().IsRegular() { // a link might lead anywhere
			return false, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
		}
	}
	return false, nil
}

// put writes a new file and makes it stable.
func put(path string, content io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return f.Sync()
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
