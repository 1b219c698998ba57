package doctor

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// account is a user as the file system knows one.
type account struct {
	name   string
	group  string
	uid    uint32
	groups []uint32
}

// runsAs is as whom the broker runs: whom the folder of its state belongs to or, if it
// is not known, the group of the folder of its config, as packages make it. ok is false if that is
// root, who may read all, or if it is not root who asks, who may be kept from looking
// at the same as the broker.
func (x *examination) runsAs() (a account, ok bool) {
	if x.Host.User != 0 {
		return a, false
	}
	if uid, gid, ok := owner(x.dataDirectory()); ok {
		return accountOf(uid, gid), uid != 0
	}
	if uid, gid, ok := owner(filepath.Dir(x.ConfigFile)); ok && x.ConfigFile != "" && uid == 0 && gid != 0 {
		a = accountOf(math.MaxUint32, gid) // whoever is in it
		a.name = "a member of group " + a.group
		return a, true
	}
	return a, false
}

func owner(path string) (uid, gid uint32, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return s.Uid, s.Gid, true
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func accountOf(uid, gid uint32) account {
	a := account{uid: uid, name: id(uid), group: id(gid), groups: []uint32{gid}}
	if g, err := user.LookupGroupId(a.group); err == nil {
		a.group = g.Name
	}
	if u, err := user.LookupId(a.name); err == nil {
		a.name = u.Username
		ids, _ := u.GroupIds() // those that are not found give no right
		for _, id := range ids {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				a.groups = append(a.groups, uint32(n))
			}
		}
	}
	return a
}

// may reports whether a has the right, one of 4, 2 and 1, to what info is of.
func (a *account) may(right fs.FileMode, info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return true // who knows
	case s.Uid == a.uid:
		mode >>= 6
	case slices.Contains(a.groups, s.Gid):
		mode >>= 3
	}
	return mode&right != 0
}

// readable says what keeps the daemon from reading a file, and how to mend it; nothing
// if nothing does. Where the file system has lists of its own of who may what it says nothing.
func (x *examination) readable(path string) (what, mend string) {
	a, ok := x.runsAs()
	if !ok {
		return "", ""
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", "" // that has been said
	}
	at := "/"
	for _, part := range append([]string{""}, parts(path)...) {
		at = filepath.Join(at, part)
		info, err := os.Stat(at)
		if err != nil || listed(at) {
			return "", ""
		}
		right, letter, verb := fs.FileMode(1), "x", "enter the folder "+at
		if !info.IsDir() {
			right, letter, verb = 4, "r", "read it"
		}
		if !a.may(right, info) {
			return fmt.Sprintf("the broker runs as %s, who may not %s (mode %04o)", a.name, verb, info.Mode().Perm()),
				strings.Join([]string{"run: chgrp", a.group, at + "; chmod", "g+" + letter, at}, " ")
		}
	}
	return "", ""
}

// listed reports whether there is an access control list for path.
func listed(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
