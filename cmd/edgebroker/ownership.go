package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/synthetism/edgebroker/certs"
)

// whoMay is a hint for err, an fs.ErrPermission: who may do what this user may not.
func whoMay(err error) string {
	const root = "run it as root"
	path := (*fs.PathError)(nil)
	if !errors.As(err, &path) {
		return root
	}
	place := path.Path
	uid, _, err := ownerOf(place)
	for err != nil && filepath.Dir(place) != place { // it is not there, or hidden
		place = filepath.Dir(place)
		uid, _, err = ownerOf(place)
	}
	if err != nil || uid == 0 || uid == os.Geteuid() {
		return root
	}
	return root + ", or as " + userName(uid) + ", who owns " + place
}

// serveFailure is configFailure for the daemon: who starts it does not choose as whom
// it runs.
func serveFailure(err error) error {
	place, opened := "", false
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		place, opened = path.Path, path.Op == "open"
	}
	if file := (*certs.FileError)(nil); errors.As(err, &file) {
		place, opened = file.Path, true
	}
	if !errors.Is(err, fs.ErrPermission) || place == "" {
		return configFailure(err)
	}
	f := &failure{code: exitUsage, err: err, hint: "the broker runs as " + userName(os.Geteuid()) + ", who needs " + place}
	if group, err := user.LookupGroupId(strconv.Itoa(os.Getegid())); err == nil && opened {
		f.hint += fmt.Sprintf(": chgrp %s %s; chmod g+r %[2]s", group.Name, place)
	}
	return f
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(uid)
}

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
