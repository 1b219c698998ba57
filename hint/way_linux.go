package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links one path may lead over, as in the kernel.
const maxLinks = 40

// identity tells a file from another that has the same path later.
type identity struct {
	device, inode uint64
	folder        bool
}

// ways are how paths lead to files.
type ways struct {
	// places are what must be watched, by paths without links: the files, and the
	// folders in which something is looked up.
	places map[string]identity
	// names are the paths, without links before the last element, of whatever is looked
	// up, places among them. Some may not exist.
	names map[string]bool
}

// waysTo finds the ways to all paths. The error says why to watch them would not tell
// of every change.
func waysTo(paths []string) (ways, error) {
	w := ways{places: map[string]identity{}, names: map[string]bool{}}
	for _, path := range paths {
		if err := w.follow(path); err != nil {
			return ways{}, err
		}
	}
	return w, nil
}

// follow adds the way to path. That nothing is there is no error, if the folder is.
func (w *ways) follow(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, rest, links := "/", elements(path), 0
	if err := w.add(at); err != nil {
		return err
	}
	for len(rest) > 0 {
		element := rest[0]
		rest = rest[1:]
		if element == ".." {
			at = filepath.Dir(at) // which has no links in it
			continue
		}
		name := filepath.Join(at, element)
		w.names[name] = true
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(rest) == 0:
			return nil
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink == 0:
			at = name
			if err := w.add(at); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s: more than %d links", path, maxLinks)
		}
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(elements(target), rest...)
	}
	return nil
}

// elements are the names in path, in their order.
func elements(path string) (list []string) {
	for e := range strings.SplitSeq(path, "/") {
		if e != "" && e != "." {
			list = append(list, e)
		}
	}
	return list
}

// add makes a place of what lies at path, which has no links in it.
func (w *ways) add(path string) error {
	if _, ok := w.places[path]; ok {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	var system unix.Statfs_t
	if err := unix.Statfs(path, &system); err != nil {
		return &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if kind := uint32(system.Type); !local(kind) {
		return fmt.Errorf("%s lies on a file system of type %#x, which others may change unseen", path, kind)
	}
	w.places[path] = identity{uint64(st.Dev), st.Ino, st.Mode&unix.S_IFMT == unix.S_IFDIR}
	w.names[path] = true
	return nil
}

// local reports whether nobody changes file systems of that type past this kernel.
// A new one is added when it is known not to be shared.
func local(kind uint32) bool {
	const (
		ubifs    = 0x24051905
		zfs      = 0x2fc12fc1
		bcachefs = 0xca451a4e
	)
	switch kind {
	case unix.EXT4_SUPER_MAGIC, // of ext2 and ext3, too
		unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.NILFS_SUPER_MAGIC, zfs, bcachefs,
		unix.JFFS2_SUPER_MAGIC, ubifs,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC,
		unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.CRAMFS_MAGIC,
		unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return true
	}
	return false
}
