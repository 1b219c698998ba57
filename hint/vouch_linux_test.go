package hint

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoVouch names what cannot be vouched for.
func TestNoVouch(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	o.link("loop", "loop")
	o.link("/proc/self/status", "far")
	for _, path := range []string{"none/a", "a/b", "loop", "far"} {
		if !o.attend() || !o.attend(o.in("a")) {
			t.Errorf("no vouch for the others; log:\n%s", o.log)
		}
		if o.attend(o.in("a"), o.in(path)) {
			t.Errorf("vouched for %s", path)
		}
		for _, d := range inotifies(t) {
			if len(d.inodes) > 0 {
				t.Errorf("watched for %s, in vain: inodes %v", path, d.inodes)
			}
		}
	}
	if os.Getuid() != 0 { // whom nothing stops
		o.mkdir("closed")
		o.must(os.Chmod(o.in("closed"), 0o100))
		if o.attend(o.in("closed/a")) {
			t.Error("vouched for what is in a folder that cannot be read")
		}
	}
}

// TestFileSystems: a type that is not known to be local is not.
func TestFileSystems(t *testing.T) {
	for kind, want := range map[uint32]bool{
		unix.EXT4_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true,
		unix.NFS_SUPER_MAGIC: false, unix.SMB_SUPER_MAGIC: false, unix.SMB2_SUPER_MAGIC: false, unix.CIFS_SUPER_MAGIC: false,
		unix.FUSE_SUPER_MAGIC: false, unix.V9FS_MAGIC: false, unix.CEPH_SUPER_MAGIC: false, unix.PROC_SUPER_MAGIC: false, 0x6a656a63: false,
	} {
		if got := local(kind); got != want {
			t.Errorf("%#x: local is %t", kind, got)
		}
	}
}

// TestLimits: what the kernel refuses is said once, and tried again later.
func TestLimits(t *testing.T) {
	o := start(t)
	s := o.spy(0)
	o.write("a", "one")
	var before unix.Rlimit
	o.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	o.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}))
	vouched := o.attend(o.in("a"))
	o.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	for range 3 {
		if vouched {
			t.Fatal("vouched without a descriptor")
		}
		vouched = o.attend(o.in("a"))
	}
	if n := strings.Count(o.log.String(), "level=INFO"); n != 1 || strings.Count(o.log.String(), "\n") != 1 {
		t.Errorf("said %d times, want once:\n%s", n, o.log)
	}
	o.clock.advance(refusedFor)
	if !o.attend(o.in("a")) {
		t.Errorf("no vouch when the kernel has some again; log:\n%s", o.log)
	}
	s.refuse(unix.ENOSPC)
	o.write("b", "one")
	for range 3 {
		if o.attend(o.in("b")) {
			t.Fatal("vouched without a watch")
		}
	}
	if n := strings.Count(o.log.String(), "level=INFO"); n != 2 {
		t.Errorf("said %d times, want again after it was over:\n%s", n, o.log)
	}
	for _, d := range inotifies(t) {
		if len(d.inodes) > 0 {
			t.Errorf("watched in vain: inodes %v", d.inodes)
		}
	}
	s.refuse(nil)
	o.clock.advance(refusedFor)
	if !o.attend(o.in("b")) {
		t.Errorf("no vouch when there are some again; log:\n%s", o.log)
	}
}

// TestNotOurs: of what the broker may not read only that is looked at, and others go on.
func TestNotOurs(t *testing.T) {
	o := start(t)
	s := o.spy(0)
	o.write("a", "one")
	o.write("b", "one")
	s.refuse(unix.EACCES)
	if o.attend(o.in("a")) || !strings.Contains(o.log.String(), "permission denied") || strings.Contains(o.log.String(), "level=INFO") {
		t.Errorf("vouched for what cannot be read, or it was not said why; log:\n%s", o.log)
	}
	s.refuse(nil)
	o.clock.advance(refusedFor + time.Second)
	if !o.attend(o.in("b")) || !o.attend(o.in("a")) {
		t.Errorf("no vouch; log:\n%s", o.log)
	}
}
