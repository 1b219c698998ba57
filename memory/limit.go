// Package memory finds out how much memory a process may use, watches how much
// of that it does use, and has garbage collected accordingly.
//
// [Find] only reads. A [Watcher] tells how short memory is, from any goroutine;
// what is done about that is its owner's affair. [Limit], [KeepPace],
// [LeaveCode] and a [Shrinker] change the process as a whole, so only one part of
// it may use them.
package memory

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The parts of what was found that a process which others share the rest with
// may take: of a limit that the kernel kills for, room for the kernel's own and
// for the code is left; of a machine, half.
const (
	groupPercent   = 80
	machinePercent = 50
)

// Found is how much memory there is for a process.
type Found struct {
	Budget int64  // bytes that the process should keep to; 0 if nothing is known
	Limit  int64  // bytes that Budget is a part of: what the control group, or the machine, has
	Source string // the file that says so, such as /sys/fs/cgroup/memory.max
}

// ErrUnknown is returned where nothing says how much memory there is.
var ErrUnknown = errors.New("neither a control group nor the machine says how much memory there is")

// Find reads the limits of memory of the control groups that the process is
// in, version 2 (memory.max, memory.high) and 1, up to the outermost that is
// visible, and the memory of the machine, and returns what leaves least. fsys is
// the root of the file system, as os.DirFS("/") is. Files that are not there,
// or make no sense, say nothing; the error is ErrUnknown if none says anything.
func Find(fsys fs.FS) (Found, error) {
	var all []Found
	for _, g := range groups(fsys) {
		for _, dir := range g.upwards() {
			for _, name := range g.files {
				file := path.Join(dir, name)
				if n, ok := limitIn(fsys, file); ok {
					all = append(all, Found{n * groupPercent / 100, n, "/" + file})
				}
			}
		}
	}
	if n, ok := machine(fsys); ok {
		all = append(all, Found{n * machinePercent / 100, n, "/" + memInfo})
	}
	if len(all) == 0 {
		return Found{}, ErrUnknown
	}
	return slices.MinFunc(all, func(a, b Found) int { return cmp.Compare(a.Budget, b.Budget) }), nil
}

const (
	memInfo   = "proc/meminfo"
	ownGroups = "proc/self/cgroup"
	mountInfo = "proc/self/mountinfo"
)

// maxLimit is from where on a limit is none: version 1 says so with the largest
// number of whole pages.
const maxLimit = 1 << 50

// group is a control group that limits memory.
type group struct {
	mount string // where its hierarchy is mounted, without the leading slash
	below string // its path below that
	files []string
}

// upwards is the folders of the group and of those around it.
func (g group) upwards() []string {
	var dirs []string
	for below := g.below; ; below = path.Dir(below) {
		dirs = append(dirs, path.Join(g.mount, below))
		if below == "/" || below == "." {
			return dirs
		}
	}
}

// groups are the memory control groups of this process.
func groups(fsys fs.FS) []group {
	own, err := fs.ReadFile(fsys, ownGroups)
	if err != nil {
		return nil
	}
	mounts := mountsOf(fsys)
	var out []group
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy:controllers:path
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		v2 := parts[0] == "0" && parts[1] == ""
		if !v2 && !slices.Contains(strings.Split(parts[1], ","), "memory") {
			continue
		}
		for _, m := range mounts {
			if m.v2 == v2 {
				files := []string{"memory.limit_in_bytes"}
				if v2 {
					files = []string{"memory.max", "memory.high"}
				}
				out = append(out, group{m.at, m.below(parts[2]), files})
			}
		}
	}
	return out
}

// mount is a mounted hierarchy of control groups that may limit memory.
type mount struct {
	at   string // without the leading slash
	root string // the group that is seen there
	v2   bool
}

// below is where a group lies below the mount; at it, if it is not below.
func (m mount) below(group string) string {
	if strings.HasPrefix(group, "/..") { // outside of our namespace
		return "/"
	}
	if rest, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/")); ok && (rest == "" || rest[0] == '/') {
		return path.Clean("/" + rest)
	}
	return "/"
}

func mountsOf(fsys fs.FS) []mount {
	text, err := fs.ReadFile(fsys, mountInfo)
	if err != nil {
		return nil
	}
	var out []mount
	for line := range strings.Lines(string(text)) {
		about, kind, ok := strings.Cut(line, " - ")
		f, k := strings.Fields(about), strings.Fields(kind)
		if !ok || len(f) < 5 || len(k) < 3 {
			continue
		}
		v2 := k[0] == "cgroup2"
		if !v2 && (k[0] != "cgroup" || !slices.Contains(strings.Split(k[2], ","), "memory")) {
			continue
		}
		if at := strings.Trim(unescape(f[4]), "/"); fs.ValidPath(at) {
			out = append(out, mount{at, unescape(f[3]), v2})
		}
	}
	return out
}

// unescape undoes what the kernel writes for white space and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// limitIn reads a file with a number of bytes. "max" is no limit.
func limitIn(fsys fs.FS, file string) (int64, bool) {
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < maxLimit
}

// machine is the memory of the machine.
func machine(fsys fs.FS) (int64, bool) {
	text, err := fs.ReadFile(fsys, memInfo)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err == nil && n > 0 && n < maxLimit>>10
		}
	}
	return 0, false
}
