package hint

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// appendEvent writes an event as the kernel does, its name padded to a multiple of 16.
func appendEvent(b []byte, e event) []byte {
	size := 0
	if e.name != "" {
		size = (len(e.name)/unix.SizeofInotifyEvent + 1) * unix.SizeofInotifyEvent
	}
	return appendRaw(b, e, uint32(size), e.name+strings.Repeat("\x00", size-len(e.name)))
}

func appendRaw(b []byte, e event, size uint32, name string) []byte {
	for _, word := range []uint32{uint32(e.wd), e.mask, 7, size} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	return append(b, name...)
}

var overflow = event{wd: -1, mask: unix.IN_Q_OVERFLOW}

// TestEvents: each event comes out as it went in, and what is none ends with all being lost.
func TestEvents(t *testing.T) {
	self, named := event{1, unix.IN_MODIFY, ""}, event{2, unix.IN_CREATE, "rules"}
	whole := appendEvent(appendEvent(nil, self), named)
	for name, c := range map[string]struct {
		in   []byte
		want []event
	}{
		"nothing":                       {nil, nil},
		"two":                           {whole, []event{self, named}},
		"the kernel's overflow":         {appendEvent(nil, overflow), []event{overflow}},
		"no padding":                    {appendRaw(nil, named, 5, "rules"), []event{named}},
		"nothing but padding":           {appendRaw(nil, named, 16, strings.Repeat("\x00", 16)), []event{{2, unix.IN_CREATE, ""}}},
		"half a head":                   {whole[:8], []event{overflow}},
		"half a head after an event":    {whole[:24], []event{self, overflow}},
		"half a name":                   {whole[:36], []event{self, overflow}},
		"a name longer than memory":     {appendRaw(nil, named, 1<<32-1, "rules"), []event{overflow}},
		"a name that is negative in 32": {appendRaw(nil, named, 1<<31, "rules"), []event{overflow}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := slices.Collect(events(c.in)); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			for e := range events(c.in) { // who has enough gets no more
				if e != c.want[0] {
					t.Errorf("the first is %v, want %v", e, c.want[0])
				}
				break
			}
		})
	}
}

// TestEventsOfTheKernel: they are as this kernel writes them, of names of all lengths.
func TestEventsOfTheKernel(t *testing.T) {
	k, err := openInotify()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	dir := t.TempDir()
	wd, err := k.watch(dir, folderMask)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, bufferSize)
	for _, length := range []int{1, 14, 15, 16, 17, 31, 32, 254, unix.NAME_MAX} {
		name := strings.Repeat("n", length)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := k.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Collect(events(buffer[:n])), []event{{wd, unix.IN_CREATE, name}}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.watch(file, folderMask); err == nil {
		t.Error("a file is watched as a folder")
	}
	k.forget(wd)
	k.forget(wd)
	n, err := k.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Collect(events(buffer[:n])), []event{{wd, unix.IN_CREATE, "file"}, {wd, unix.IN_IGNORED, ""}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// FuzzEvents: no bytes panic or make more events than have room in them; and what was
// understood is the same again.
func FuzzEvents(f *testing.F) {
	whole := appendEvent(appendEvent(appendEvent(nil, event{1, unix.IN_MODIFY, ""}), event{2, unix.IN_CREATE, "rules"}), overflow)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(appendRaw(nil, event{3, unix.IN_CREATE, ""}, 1<<32-1, "rules"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		got, room := slices.Collect(events(data)), len(data)
		for _, e := range got {
			if e == overflow {
				room = max(room, unix.SizeofInotifyEvent) // of which there may be one more, at the end
			}
			if room -= unix.SizeofInotifyEvent + len(e.name); room < 0 {
				t.Fatalf("more than %d bytes hold: %v", len(data), got)
			}
			if strings.Contains(e.name, "\x00") {
				t.Fatalf("padding in %q", e.name)
			}
			again = appendEvent(again, e)
		}
		if same := slices.Collect(events(again)); !slices.Equal(same, got) {
			t.Fatalf("%v, written and read again: %v", got, same)
		}
	})
}
