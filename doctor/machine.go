package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/appliance"
)

// spareInodes are files that the store may make besides its segments.
const spareInodes = 32

// spareFiles are descriptors that a broker needs besides those of clients.
const spareFiles = 64

func (x *examination) limits() {
	most := x.Config.Limits.MaxConnections
	if x.Host.OpenFiles == 0 || most <= 0 || uint64(most)+spareFiles <= x.Host.OpenFiles {
		return
	}
	x.warn("limits.max_connections", fmt.Sprintf("%d connections need as many descriptors and %d more, and a process of user %d may have %d", most, spareFiles, x.Host.User, x.Host.OpenFiles),
		"raise the limit of open files (ulimit -n; LimitNOFILE= of the unit, which counts there), or lower max_connections")
}

func portsFine(p *Patient) string {
	switch {
	case p.Daemon != nil:
		return "the broker that runs holds its addresses"
	case p.Silent != nil:
		return "not tried, because a broker seems to hold them"
	}
	return "all addresses are free"
}

// ports tries the addresses if no broker of ours holds them.
func (x *examination) ports() {
	if x.Daemon != nil || x.Silent != nil {
		return
	}
	for i, l := range x.Config.Listeners {
		if strings.HasPrefix(l.Address, "systemd:") {
			continue
		}
		where := item("listeners", i, "address") + " " + l.Address
		if l.Network() == appliance.ListenUnix {
			x.unixPath(where, l.Address)
			continue
		}
		x.port(where, l.Address)
	}
	if address := x.Config.HTTP.Address; address != "" {
		x.port("http.address "+address, address)
	}
}

// port looks whether a broker could bind an address.
func (x *examination) port(where, address string) {
	err := x.Host.Bind("tcp", address)
	switch {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE):
		x.problem(where, "another program has taken this port", "stop it (ss -ltnp names it), or pick another port")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		x.problem(where, "no interface of this machine has this address now", "correct it, or wait until the interface is up")
	case errors.Is(err, syscall.EACCES):
		x.warn(where, fmt.Sprintf("user %d, who asks, may not take this port", x.Host.User), "give the broker CAP_NET_BIND_SERVICE, or pick a port from 1024 on")
	default:
		x.problem(where, err.Error(), "correct the address")
	}
}

// unixPath looks whether a broker could bind a unix socket at path.
func (x *examination) unixPath(where, path string) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		x.problem(where, "there is a file that is no socket", "move it away, or pick another path")
	case err == nil:
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close()
			x.problem(where, "another program answers on this socket", "stop it, or pick another path")
		}
	}
}

func (x *examination) controlSocket() {
	path := x.Config.Control.Path()
	where := "control.socket " + path
	if mode := x.Config.Control.Mode; mode&0o006 != 0 {
		x.problem("control.mode", fmt.Sprintf("with mode %04o every user of this machine may disconnect clients and see who they are", mode.Perm()), "set it to 0660, or 0600")
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case err != nil: // the broker makes it, for its own user alone
	case !info.IsDir():
		x.problem(where, dir+" is not a folder", "move it away, or set another path")
	default:
		if at, why := exposed(path, x.Host.User); why != "" {
			x.problem(where, at+" "+why, "set a path in a folder in which only the broker may write, such as /run/edgebroker/control.sock")
		} else if mode := info.Mode(); mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
			x.problem(where, fmt.Sprintf("%s is a folder in which everybody may replace what there is (mode %04o)", dir, mode.Perm()), "set a path in a folder in which only the broker may write, such as /run/edgebroker/control.sock")
		}
	}
}

// dataDirectory is where state is kept: as configured, or as the broker that
// runs says.
func (p *Patient) dataDirectory() string {
	if dir := p.Config.Storage.Directory; dir != "" {
		return dir
	}
	if p.Daemon != nil {
		return p.Daemon.Storage.Directory
	}
	return ""
}

func storageFine(p *Patient) string {
	dir := p.dataDirectory()
	if dir == "" {
		return "state is kept in memory, as configured: it is gone after a restart"
	}
	return dir + " can be written, and there is room"
}

func (x *examination) storage() {
	dir := x.dataDirectory()
	if dir == "" {
		return
	}
	where := "storage.directory " + dir
	info, err := os.Stat(dir)
	existing := existing(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the broker makes what is missing
	case errors.Is(err, fs.ErrPermission):
		x.warn(where, fmt.Sprintf("user %d, who asks, may not look at it", x.Host.User), "ask as root, or as the user that runs the broker")
		return
	case err != nil:
		x.problem(where, err.Error(), "correct the path")
		return
	case !info.IsDir():
		x.problem(where, "is not a folder", "move it away, or name another folder")
		return
	case info.Mode().Perm()&0o002 != 0:
		x.problem(where, fmt.Sprintf("everybody may write in it (mode %04o)", info.Mode().Perm()), "run: chmod o= "+dir)
	case info.Mode().Perm()&0o007 != 0:
		x.warn(where, fmt.Sprintf("everybody may look into it (mode %04o), and messages are in there", info.Mode().Perm()), "run: chmod o= "+dir)
	}
	if err := unix.Access(existing, unix.W_OK|unix.X_OK); err != nil {
		x.warn(where, fmt.Sprintf("user %d, who asks, may not write in %s", x.Host.User, existing), "give it to the user that runs the broker; if that is another one, ask as that user")
	}
	if at, why := exposed(existing, x.Host.User); why != "" {
		x.problem(where, at+" "+why, "name a folder in which only the broker may write, such as /var/lib/edgebroker")
	}
	x.disk(where, existing)
}

// existing is dir, or if there is none the folder in which the broker will make
// it; empty for none.
func existing(dir string) string {
	for dir != "" && dir != "/" {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// disk looks at what the store lies on.
func (x *examination) disk(where, dir string) {
	d, err := x.Host.Disk(dir)
	if err != nil {
		x.problem(where, "the file system cannot be looked at: "+err.Error(), "check the disk")
		return
	}
	if d.ReadOnly {
		x.problem(where, "the file system is mounted read-only", "mount it writable, or name a folder on another; a disk with errors is made read-only by the kernel: see dmesg")
	}
	switch d.Kind {
	case "tmpfs":
		x.problem(where, "is in memory (tmpfs): a restart of the machine takes everything that was acknowledged", "name a folder on a disk")
	case "overlay":
		x.warn(where, "is on an overlay, as in a container: it may be gone with the container", "mount a volume there")
	case "vfat", "exfat":
		x.problem(where, "is on "+d.Kind+", which has no journal and knows no owners: a power cut may take the store with it, and everybody may read it", "name a folder on ext4, f2fs or btrfs")
	case "nfs", "cifs", "fuse":
		x.warn(where, "is on "+d.Kind+", where what is stored may not survive a power cut, and the network's outages are the broker's", "name a folder on a local disk")
	}
	if d.Atime && d.Kind == "" {
		x.warn(where, "the file system writes down when a file is read (strictatime): that costs flash and time for nothing", "mount it with noatime or relatime")
	}
	files := uint64(x.Config.Storage.MaxBytes)/max(1, uint64(x.Config.Storage.SegmentSize)) + spareInodes
	switch {
	case d.Inodes == 0:
	case d.FreeInodes < 8:
		x.problem(where, fmt.Sprintf("the file system can take %d more files, though it may have room", d.FreeInodes), "remove files that nobody needs (df -i; often in a cache or a mail queue)")
	case d.FreeInodes < files:
		x.warn(where, fmt.Sprintf("the file system can take %d more files, and the store may make %d", d.FreeInodes, files), "remove files that nobody needs (df -i), or name a folder on another file system")
	}
	used := folderSize(x.dataDirectory())
	most, free := uint64(x.Config.Storage.MaxBytes), d.Free
	switch {
	case free < 2*uint64(x.Config.Storage.SegmentSize) && used+free < most:
		x.problem(where, fmt.Sprintf("there are %s left on the disk, too few to go on", inMiB(free)), "make room, or name a folder on a larger disk")
	case used+free < most:
		x.warn(where, fmt.Sprintf("the store may grow to %v, and has %s with what is left on the disk", x.Config.Storage.MaxBytes, inMiB(used+free)), "lower storage.max_bytes to what the disk can spare, or make room")
	}
}

func inMiB(n uint64) string { return fmt.Sprintf("%dMiB", n>>20) }

// folderSize is how much the files in dir take, 0 if that cannot be said.
func folderSize(dir string) (n uint64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be looked at does not count
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			n += uint64(info.Size())
		}
		return nil
	})
	return n
}

func daemonFine(p *Patient) string {
	if p.Daemon == nil {
		return "no broker runs; what is said here is about the next start"
	}
	return "the broker that runs is well"
}

func (x *examination) daemon() {
	if x.Silent != nil {
		x.problem("control.socket "+x.Config.Control.Path(), x.Silent.Error(), "ask as root or as the user that runs the broker; if it hangs, see its log, and restart it")
	}
	if x.Daemon == nil {
		return
	}
	for _, what := range x.Health.Problems {
		x.problem("", what, "see `edgebroker stats` and the log")
	}
	if x.Version != "" && x.Daemon.Version != x.Version {
		x.warn("", fmt.Sprintf("version %q runs, and this program is %q", x.Daemon.Version, x.Version), "restart the broker")
	}
}
