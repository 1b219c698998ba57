package doctor

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

const (
	manyAtOnce = 256       // connections that may want in at the same moment, after a power cut
	spareTasks = 64        // threads that a broker may have
	spareMem   = 128 << 20 // bytes that a broker should be able to get
)

// kernel looks at limits of the kernel that the broker will meet.
func (x *examination) kernel() {
	h, most := &x.Host, x.Config.Limits.MaxConnections
	if most > 0 {
		// file-nr holds those in use, those free, and the limit.
		f := strings.Fields(h.read("proc/sys/fs/file-nr"))
		if len(f) == 3 {
			used, err1 := strconv.ParseInt(f[0], 10, 64)
			limit, err2 := strconv.ParseInt(f[2], 10, 64)
			if need := int64(most) + spareFiles; err1 == nil && err2 == nil && x.Daemon == nil && limit-used < need {
				x.warn("fs.file-max", fmt.Sprintf("the machine has room for %d more open files, and %d connections need %d", max(0, limit-used), most, need),
					fmt.Sprintf("run: sysctl -w fs.file-max=%d, and write it into /etc/sysctl.d, or lower limits.max_connections", used+2*need))
			}
		}
	}
	burst := int64(manyAtOnce)
	if most > 0 {
		burst = min(burst, int64(most))
	}
	if n := h.number("proc/sys/net/core/somaxconn"); n >= 0 && n < burst {
		x.warn("net.core.somaxconn", fmt.Sprintf("%d connections may wait to be accepted; when more come at once, as after a power cut, clients wait for seconds", n),
			"run: sysctl -w net.core.somaxconn=1024, and write it into /etc/sysctl.d; the broker takes it at its next start")
	}
	if n := h.number("proc/sys/net/ipv4/tcp_max_syn_backlog"); n >= 0 && n < burst && h.number("proc/sys/net/ipv4/tcp_syncookies") == 0 {
		x.warn("net.ipv4.tcp_max_syn_backlog", fmt.Sprintf("%d connections may be half open, and without SYN cookies nobody else gets in then, whoever holds them", n),
			"run: sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=1024, and write it into /etc/sysctl.d")
	}
	if h.number("proc/sys/vm/overcommit_memory") == 2 {
		limit, used := x.memory("CommitLimit"), x.memory("Committed_AS")
		if limit >= 0 && used >= 0 && limit-used < spareMem {
			x.warn("vm.overcommit_memory", fmt.Sprintf("is 2, and programs have been promised all memory but %s: the broker ends when it is denied some, whatever its budget", inMiB(uint64(max(0, limit-used)))),
				"run: sysctl -w vm.overcommit_memory=0, and write it into /etc/sysctl.d, or raise vm.overcommit_ratio")
		}
	}
	if n, where := x.tasks(); n >= 0 && n < spareTasks {
		x.warn(where, fmt.Sprintf("%d threads may run in the control group of who asks; if the broker runs in it, it ends when it needs more", n),
			fmt.Sprintf("allow %d (TasksMax= of the unit, --pids-limit of the container)", 4*spareTasks))
	}
}

// memory is an entry of meminfo in bytes, -1 if there is none.
func (x *examination) memory(key string) int64 {
	for line := range strings.Lines(x.Host.read("proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return -1
}

// tasks is how many threads the control group of who asks, or one above it, may
// have, and where that is said; -1 for no limit.
func (x *examination) tasks() (most int64, where string) {
	most = -1
	group := ""
	for line := range strings.Lines(x.Host.read("proc/self/cgroup")) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok {
			group = rest
		}
	}
	for dir := path.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
		if n := x.Host.number(dir + "/pids.max"); n >= 0 && (most < 0 || n < most) { // "max" is no number
			most, where = n, "/"+dir+"/pids.max"
		}
	}
	return most, where
}
