package memory_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"github.com/synthetism/edgebroker/memory"
)

// tree makes a file system of paths and contents.
func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const (
	mountV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountV1 = "34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	gig     = "MemTotal:        1048576 kB\nMemFree: 1 kB\n"
)

func TestFind(t *testing.T) {
	for name, tc := range map[string]struct {
		files  map[string]string
		budget int64
		source string
	}{
		"a machine": {map[string]string{"proc/meminfo": gig}, 512 << 20, "/proc/meminfo"},
		"a unit with MemoryMax": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/system.slice/edgebroker.service\n",
			"sys/fs/cgroup/system.slice/edgebroker.service/memory.max":  "67108864\n",
			"sys/fs/cgroup/system.slice/edgebroker.service/memory.high": "max\n",
		}, 67108864 * 80 / 100, "/sys/fs/cgroup/system.slice/edgebroker.service/memory.max"},
		"memory.high is less": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "100000000\n", "sys/fs/cgroup/a/memory.high": "50000000\n",
		}, 40000000, "/sys/fs/cgroup/a/memory.high"},
		"the slice has less than the unit": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a/b/c\n",
			"sys/fs/cgroup/a/b/c/memory.max": "100000000\n", "sys/fs/cgroup/a/memory.max": "60000000\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
		}, 48000000, "/sys/fs/cgroup/a/memory.max"},
		"a container with a namespace of its own": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "80000000\n",
		}, 64000000, "/sys/fs/cgroup/memory.max"},
		"a group outside of the namespace": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/memory.max": "80000000\n",
		}, 64000000, "/sys/fs/cgroup/memory.max"},
		"version 1": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV1, "proc/self/cgroup": "5:cpu:/x\n4:memory:/gw\n0::/\n",
			"sys/fs/cgroup/memory/gw/memory.limit_in_bytes": "70000000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 56000000, "/sys/fs/cgroup/memory/gw/memory.limit_in_bytes"},
		"version 1 without a limit": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV1, "proc/self/cgroup": "4:memory:/gw\n",
			"sys/fs/cgroup/memory/gw/memory.limit_in_bytes": "9223372036854771712\n",
		}, 512 << 20, "/proc/meminfo"},
		"version 1 in a container whose mount is its group": {map[string]string{
			"proc/self/mountinfo": "36 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "proc/self/cgroup": "4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "70000000\n",
		}, 56000000, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		"the mount's group is only a prefix of the name": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": "36 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "proc/self/cgroup": "4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": "70000000\n",
		}, 512 << 20, "/proc/meminfo"},
		"both versions": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "proc/self/cgroup": "4:memory:/gw\n0::/gw\n",
			"sys/fs/cgroup/memory/gw/memory.limit_in_bytes": "90000000\n", "sys/fs/cgroup/unified/gw/memory.max": "80000000\n",
		}, 64000000, "/sys/fs/cgroup/unified/gw/memory.max"},
		"a group may have more than the machine": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "4294967296\n",
		}, 512 << 20, "/proc/meminfo"},
		"a mount with a space in its name": {map[string]string{
			"proc/self/mountinfo": `30 23 0:26 / /my\040groups rw - cgroup2 cgroup2 rw` + "\n", "proc/self/cgroup": "0::/a\n", "my groups/a/memory.max": "80000000\n",
		}, 64000000, "/my groups/a/memory.max"},
		"files that make no sense": {map[string]string{
			"proc/meminfo": gig, "proc/self/mountinfo": "\n - \nx\n30 23 0:26 / ../.. rw - cgroup2 a b\n" + mountV2, "proc/self/cgroup": "0\n::\n0::a\n4:memory\n0::/a\n",
			"sys/fs/cgroup/a/memory.max": "-5\n", "sys/fs/cgroup/a/memory.high": "1e9\n",
		}, 512 << 20, "/proc/meminfo"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := memory.Find(tree(tc.files))
			if err != nil || got.Budget != tc.budget || got.Source != tc.source {
				t.Errorf("got %v, %v, want %d from %s", got, err, tc.budget, tc.source)
			}
		})
	}
	t.Run("nothing is known", func(t *testing.T) {
		for _, files := range []map[string]string{{}, {"proc/meminfo": "MemTotal: many kB\nMemTotal: 5 MB\n"}} {
			if got, err := memory.Find(tree(files)); !errors.Is(err, memory.ErrUnknown) {
				t.Errorf("got %v, %v", got, err)
			}
		}
	})
	t.Run("this machine", func(t *testing.T) {
		if got, err := memory.Find(os.DirFS("/")); err != nil || got.Budget < 1<<20 || got.Budget >= got.Limit {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// Whatever the files hold, what is found is positive and less than its limit.
func FuzzFind(f *testing.F) {
	f.Add(mountV2, "0::/a\n", "67108864", gig)
	f.Add(mountV1, "4:memory:/gw\n", "max", gig)
	f.Add(`30 23 0:26 /a\040b /c rw - cgroup2 cgroup2 rw`, "0::/a b/../../..//\n", "9223372036854775807", "MemTotal: 9223372036854775807 kB")
	f.Fuzz(func(t *testing.T, mounts, groups, limit, info string) {
		got, err := memory.Find(tree(map[string]string{"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, "proc/meminfo": info,
			"sys/fs/cgroup/a/memory.max": limit, "sys/fs/cgroup/memory/gw/memory.limit_in_bytes": limit}))
		if err == nil && (got.Budget < 0 || got.Budget >= got.Limit || got.Source == "") {
			t.Errorf("got %v", got)
		}
	})
}
