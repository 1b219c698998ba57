package memory

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Only what is the program's and cannot be written is given up.
func TestCodeOf(t *testing.T) {
	const maps = `00400000-01000000 r-xp 00000000 08:01 131 /usr/bin/edge broker
01000000-01800000 r--p 00c00000 08:01 131 /usr/bin/edge broker
01800000-018f0000 rw-p 01400000 08:01 131 /usr/bin/edge broker
018f0000-01900000 rwxp 01400000 08:01 131 /usr/bin/edge broker
01900000-01a00000 r--s 01400000 08:01 131 /usr/bin/edge broker
01a00000-01b00000 ---p 01400000 08:01 131 /usr/bin/edge broker
c000000000-c000400000 rw-p 00000000 00:00 0 
7f0000000000-7f0000021000 r-xp 00000000 08:01 9 /usr/lib/libc.so
7f0000021000-7f0000022000 r-xp 00000000 08:01 9      /usr/bin/edge broker2
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
zz-01000000 r-xp 00000000 08:01 131 /usr/bin/edge broker
01000000-00400000 r-xp 00000000 08:01 131 /usr/bin/edge broker
half a line
`
	want := []stretch{{0x400000, 0x1000000}, {0x1000000, 0x1800000}}
	if got := codeOf(maps, "/usr/bin/edge broker"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
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
