package doctor

import (
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is the machine as checks see it.
type Host struct {
	User      int       // who asks
	Now       time.Time // by its clock
	OpenFiles uint64    // that a process of this user may have
	// Root holds the machine's /proc and /sys, as "proc" and "sys"; nil: they are
	// not looked at.
	Root fs.FS
	// Synced says whether something keeps the clock right, as the kernel knows. It
	// may be nil, and fail where it is not to be known.
	Synced func() (bool, error)
	// Disk describes the file system of a path that exists.
	Disk func(path string) (Disk, error)
	// Bind takes an address as a listener does, and gives it back.
	Bind func(network, address string) error
}

// Disk is a file system.
type Disk struct {
	Free     uint64 // bytes that a process of any user may still write
	ReadOnly bool
	Kind     string // tmpfs, overlay, nfs, cifs, fuse, vfat or exfat, if it is one that matters; else empty

	Inodes, FreeInodes uint64 // 0 of both: as many as there is room for
	Atime              bool   // each reading of a file is written down
	Major, Minor       uint32 // of its device
}

// ThisHost is the machine that this runs on.
func ThisHost() Host {
	h := Host{User: os.Geteuid(), Now: time.Now(), Root: os.DirFS("/"), Synced: synced, Disk: disk, Bind: bind}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		h.OpenFiles = limit.Max // a Go program raises its soft limit to this
	}
	return h
}

func disk(path string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Disk{}, err
	}
	d := Disk{Free: st.Bavail * uint64(st.Bsize), ReadOnly: st.Flags&unix.ST_RDONLY != 0,
		Inodes: st.Files, FreeInodes: st.Ffree, Atime: st.Flags&(unix.ST_NOATIME|unix.ST_RELATIME) == 0}
	var file unix.Stat_t
	if unix.Stat(path, &file) == nil {
		d.Major, d.Minor = unix.Major(uint64(file.Dev)), unix.Minor(uint64(file.Dev))
	}
	switch uint32(st.Type) { // the type of Type differs by architecture, negative ones included
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		d.Kind = "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		d.Kind = "overlay"
	case unix.NFS_SUPER_MAGIC:
		d.Kind = "nfs"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		d.Kind = "cifs"
	case unix.FUSE_SUPER_MAGIC:
		d.Kind = "fuse"
	case unix.MSDOS_SUPER_MAGIC:
		d.Kind = "vfat"
	case unix.EXFAT_SUPER_MAGIC:
		d.Kind = "exfat"
	}
	return d, nil
}

// synced asks the kernel whether its clock is disciplined, by NTP or something
// like it. [adjtimex(2)]
func synced() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}

func bind(network, address string) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return l.Close()
}
