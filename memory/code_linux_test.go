package memory

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// Only what is the program's, cannot be written and never was is given up.
func TestCodeOf(t *testing.T) {
	const maps = `00400000-01000000 r-xp 00000000 08:01 131 /usr/bin/edge: broker
Size:              12288 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me sd
01000000-01800000 r--p 00c00000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
01800000-01810000 r--p 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:            64 kB
Swap:                  0 kB
01810000-01820000 r--p 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
Swap:                 64 kB
01820000-018f0000 rw-p 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
018f0000-01900000 rwxp 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
01900000-01a00000 r--s 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
01a00000-01b00000 ---p 01400000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
01b00000-01c00000 r--p 01400000 08:01 131 /usr/bin/edge: broker
c000000000-c000400000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
7f0000000000-7f0000021000 r-xp 00000000 08:01 9 /usr/lib/libc.so
Anonymous:             0 kB
7f0000021000-7f0000022000 r-xp 00000000 08:01 9      /usr/bin/edge: broker2
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
zz-01000000 r-xp 00000000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
01000000-00400000 r-xp 00000000 08:01 131 /usr/bin/edge: broker
Anonymous:             0 kB
half a line
Anonymous:             0 kB
`
	want := []stretch{{0x400000, 0x1000000}, {0x1000000, 0x1800000}}
	if got := codeOf(maps, "/usr/bin/edge: broker"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// A page that was written before that became forbidden, as a program has them that
// is not linked to a fixed place, is left alone.
func TestCodeOfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	size := os.Getpagesize()
	if err := os.WriteFile(path, make([]byte, 2*size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var pages [2][]byte
	for i := range pages {
		if pages[i], err = syscall.Mmap(int(f.Fd()), int64(i*size), size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Munmap(pages[i]) }()
	}
	pages[1][0] = 'x'
	for _, page := range pages {
		if err := syscall.Mprotect(page, syscall.PROT_READ); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	start := uintptr(unsafe.Pointer(&pages[0][0]))
	if got := codeOf(string(text), path); !slices.Equal(got, []stretch{{start, start + uintptr(size)}}) {
		t.Errorf("got %x, want what has not been written, at %x", got, start)
	}
}

// The program goes on, with fewer of its pages resident than its file has.
func TestLeaveCode(t *testing.T) {
	resident := func() int {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), "\nRssFile:")
		if !ok {
			t.Skip("this kernel does not say how much of files is resident")
		}
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := resident()
	if err := LeaveCode(); err != nil {
		t.Fatal(err)
	}
	if after := resident(); after >= before {
		t.Errorf("%d KB of files were resident, %d KB are", before, after)
	}
}
