package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockHolder is whoever has a store open.
type lockHolder struct {
	held bool
	pid  int // 0 if it is not known
}

func (h lockHolder) String() string {
	if h.pid > 0 {
		return fmt.Sprintf("a broker (pid %d)", h.pid)
	}
	return "a broker"
}

// findHolder says who has the store in dir open, as far as the kernel tells.
// It does not try the lock: a broker that starts at that instant would find it
// taken.
func findHolder(dir string) lockHolder {
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		return lockHolder{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return lockHolder{}
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return lockHolder{}
	}
	return parseLocks(locks, uint64(stat.Ino))
}

// parseLocks finds the holder of the lock on a file in the format of
// proc_locks(5). Devices are not compared: some file systems tell others there
// than stat does.
func parseLocks(text []byte, inode uint64) lockHolder {
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		f := strings.Fields(in.Text()) // 1: FLOCK ADVISORY WRITE 311 08:01:1234 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		at := strings.LastIndexByte(f[5], ':')
		if n, err := strconv.ParseUint(f[5][at+1:], 10, 64); err != nil || n != inode {
			continue
		}
		pid, _ := strconv.Atoi(f[4])
		return lockHolder{held: true, pid: max(pid, 0)}
	}
	return lockHolder{}
}
