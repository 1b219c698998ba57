package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// ownerOf is who owns a folder.
func ownerOf(dir string) (uid, gid int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid), nil
	}
	return 0, 0, nil
}

// giveToOwner gives a new file that root has made to the owner of its folder, as
// whom the daemon runs if that is its own. In a folder of root and of a group of
// its own, as packages make it, the daemon runs with that group, which may read it.
func giveToOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(filepath.Dir(path))
	if err != nil {
		return err
	}
	if uid == 0 && gid != 0 {
		return letGroupRead(path, gid)
	}
	return os.Chown(path, uid, gid)
}

func letGroupRead(path string, gid int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()|0o040)
}

// letBrokerRead lets the daemon read what it needs in a folder of root and of
// a group of its own; the key of the authority is not among it.
func (h home) letBrokerRead() error {
	uid, gid, err := ownerOf(h.dir)
	if err != nil || os.Geteuid() != 0 || uid != 0 || gid == 0 {
		return err
	}
	for _, path := range []string{h.config(), h.users(), h.rules(), h.certificate(), h.key(), filepath.Join(h.pki(), "ca.crt"), filepath.Join(h.pki(), "ca.crl")} {
		if err := letGroupRead(path, gid); err != nil {
			return err
		}
	}
	return nil
}
