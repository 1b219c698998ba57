package faultdisk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// prepare makes a disk with a file of three sectors of 'a', all stable, and
// overwrites the middle of it with 'b', not synced.
func prepare(t testing.TB, seed uint64) (*faultdisk.Disk, journal.File) {
	t.Helper()
	d := faultdisk.New(seed)
	f, err := d.Create("x", 1536)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{'a'}, 1536), 0)
	must(t, err)
	must(t, f.Sync())
	must(t, d.Sync())
	_, err = f.WriteAt(bytes.Repeat([]byte{'b'}, 800), 400)
	must(t, err)
	return d, f
}

// TestCrash: what was synced is there; of the rest every sector may be old, new
// or torn, and all of that happens.
func TestCrash(t *testing.T) {
	saw := map[string]bool{}
	for seed := range uint64(500) {
		d, f := prepare(t, 1)
		after := d.Crash(rand.New(rand.NewPCG(seed, 0)))
		b := after.Get("x")
		if len(b) != 1536 || !bytes.Equal(b[:400], bytes.Repeat([]byte{'a'}, 400)) || !bytes.Equal(b[1200:], bytes.Repeat([]byte{'a'}, 336)) {
			t.Fatalf("seed %d: stable bytes are %q", seed, b)
		}
		first, second := bytes.Count(b[400:512], []byte{'b'}), bytes.Count(b[512:1024], []byte{'b'})
		switch {
		case first == 0 && second == 512:
			saw["reordered"] = true
		case first == 112 && second == 512:
			saw["kept"] = true
		case first == 0 && second == 0:
			saw["lost"] = true
		}
		if second > 0 && second < 512 {
			saw["torn"] = true
		}
		if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, faultdisk.ErrGone) {
			t.Fatalf("the old disk says %v", err)
		}
		d2, _ := prepare(t, 1)
		if !bytes.Equal(d2.Crash(rand.New(rand.NewPCG(seed, 0))).Get("x"), b) {
			t.Fatalf("seed %d gives two different disks", seed)
		}
	}
	for _, how := range []string{"reordered", "kept", "lost", "torn"} {
		if !saw[how] {
			t.Errorf("no sector was %s", how)
		}
	}
}

// TestCrashDirectory: what Sync did not cover may be undone, also in part.
func TestCrashDirectory(t *testing.T) {
	saw := map[string]bool{}
	for seed := range uint64(200) {
		d, _ := prepare(t, seed)
		_, err := d.Create("new", 10)
		must(t, err)
		must(t, d.Rename("x", "y"))
		names := ""
		for _, n := range d.Crash(rand.New(rand.NewPCG(seed, 0))).Names() {
			names += n + " "
		}
		saw[names] = true
	}
	for _, names := range []string{"x ", "new x ", "y ", "new y "} {
		if !saw[names] {
			t.Errorf("no crash leaves %q", names)
		}
	}
	if len(saw) != 4 {
		t.Errorf("crashes leave %v", saw)
	}
}

// TestKill: all is there to be read, and still not stable.
func TestKill(t *testing.T) {
	lost := false
	for seed := range uint64(50) {
		d, f := prepare(t, seed)
		must(t, d.Lock())
		after := d.Kill()
		if b := after.Get("x"); bytes.Count(b, []byte{'b'}) != 800 {
			t.Fatalf("a kill loses writes: %q", b)
		}
		if err := f.Sync(); !errors.Is(err, faultdisk.ErrGone) {
			t.Fatalf("the dead process syncs: %v", err)
		}
		must(t, after.Lock())
		lost = lost || bytes.Count(after.Crash(rand.New(rand.NewPCG(seed, 0))).Get("x"), []byte{'b'}) < 800
	}
	if !lost {
		t.Error("a power cut after a kill loses nothing")
	}
}

// TestFailedSync: what a failed sync has lost no later sync brings back, though
// it can be read.
func TestFailedSync(t *testing.T) {
	lost := false
	for seed := range uint64(50) {
		d, f := prepare(t, seed)
		d.Hook(func(op faultdisk.Op) faultdisk.Fault {
			if op.Kind == faultdisk.Sync {
				return faultdisk.Fault{Err: syscall.EIO}
			}
			return faultdisk.Fault{}
		})
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.Hook(nil)
		must(t, f.Sync())
		if bytes.Count(d.Get("x"), []byte{'b'}) != 800 {
			t.Fatal("it cannot be read any more")
		}
		lost = lost || bytes.Count(d.Crash(rand.New(rand.NewPCG(seed, 0))).Get("x"), []byte{'b'}) < 800
	}
	if !lost {
		t.Error("a failed sync loses nothing")
	}
}

func TestFaults(t *testing.T) {
	d, f := prepare(t, 1)
	d.Capacity(2000)
	if _, err := d.Create("y", 1000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create on a full disk: %v", err)
	}
	if err := f.Resize(4000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("resize on a full disk: %v", err)
	}
	if n, err := f.WriteAt(make([]byte, 1000), 1500); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write on a full disk: %d, %v", n, err)
	}
	d.Hook(func(op faultdisk.Op) faultdisk.Fault { return faultdisk.Fault{Err: syscall.EIO, Done: 3} })
	if n, err := f.WriteAt([]byte("12345"), 0); n != 3 || !errors.Is(err, syscall.EIO) || string(d.Get("x")[:5]) != "123aa" {
		t.Errorf("a short write: %d, %v", n, err)
	}
	d.Hook(nil)
	if _, err := d.Create("x", 1); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := d.Open("z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened what is not there: %v", err)
	}
	must(t, f.Close())
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read when closed: %v", err)
	}
	f, err := d.Open("x")
	must(t, err)
	changes := d.Changes()
	d.CutAt(2)
	_, err = f.WriteAt([]byte("1"), 0)
	must(t, err)
	if err := d.Rename("x", "y"); !errors.Is(err, faultdisk.ErrGone) || !d.Gone() {
		t.Errorf("at the cut: %v", err)
	}
	names := d.Names()
	if err := d.Remove("y"); !errors.Is(err, faultdisk.ErrGone) || len(d.Names()) != len(names) {
		t.Errorf("after the cut: %v", err)
	}
	if n := d.Changes() - changes; n != 2 {
		t.Errorf("%d changes counted", n)
	}
}
