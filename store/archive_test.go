package store_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/store"
)

// backedUp is an archive of a store with n messages in two queues.
func backedUp(t *testing.T, n int) (archive []byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := stocked(t, faultdisk.New(1), n)
		var out bytes.Buffer
		if err := k.store.Backup(&out); err != nil {
			t.Fatal(err)
		}
		archive = out.Bytes()
		k.close(t)
	})
	return archive
}

// file puts an archive into a file.
func file(t testing.TB, archive []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openArchive(t *testing.T, archive []byte) *store.Archive {
	t.Helper()
	a, err := store.OpenArchive(file(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestArchive(t *testing.T) {
	const n = 1500
	archive := backedUp(t, n)
	a := openArchive(t, archive)
	check := func(what string, disk journal.Disk) {
		c := inspect(t, disk)
		if len(c.Sessions) != 2 || len(c.Retained) != 2 || len(c.Damage) > 0 || c.Log.Torn.Bytes > 0 {
			t.Errorf("%s: %d sessions, %d retained, damage %v, torn %v", what, len(c.Sessions), len(c.Retained), c.Damage, c.Log.Torn)
		}
		for _, client := range []string{"away", "there"} {
			list := queue(t, c, client, true)
			if len(list) != n || !strings.HasPrefix(string(list[n-1].Message.Payload), "payload 1499.") {
				t.Errorf("%s: %d messages wait for %s", what, len(list), client)
			}
		}
	}
	check("in the archive", a)

	for what, fill := range map[string]func(dir string) error{
		"copied": func(dir string) error { return store.Copy(a, dir) },
		"unpacked": func(dir string) error {
			return store.Unpack(bytes.NewReader(archive), dir, func() error { return nil })
		},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		if err := fill(dir); err != nil {
			t.Fatal(err)
		}
		disk, err := journal.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		check(what, disk)
		if err := fill(dir); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("%s again: %v", what, err)
		}
		check(what+" and not overwritten", disk)
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
		}
	}
}

// An archive that ends early is told apart wherever it ends.
func TestArchiveCut(t *testing.T) {
	archive := backedUp(t, 10)
	for n := 0; n < len(archive)-1024; n += 97 {
		if a, err := store.OpenArchive(file(t, archive[:n])); err == nil {
			_ = a.Close()
			t.Fatalf("%d bytes of %d were taken for all", n, len(archive))
		}
		dir := filepath.Join(t.TempDir(), "new")
		complete := errors.New("not complete")
		if err := store.Unpack(bytes.NewReader(archive[:n]), dir, func() error { return complete }); err == nil {
			t.Fatalf("%d bytes of %d were unpacked", n, len(archive))
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("after %d bytes of %d the folder is there: %v", n, len(archive), err)
		}
	}
}

// An archive of somebody else cannot write where it likes, or pass for a store.
func TestHostileArchives(t *testing.T) {
	const good = "0000000000000001.seg"
	for name, headers := range map[string][]tar.Header{
		"a path":             {{Name: "../" + good, Typeflag: tar.TypeReg}},
		"an absolute path":   {{Name: "/" + good, Typeflag: tar.TypeReg}},
		"another name":       {{Name: "lock", Typeflag: tar.TypeReg}},
		"a long name":        {{Name: good + "x", Typeflag: tar.TypeReg}},
		"a link":             {{Name: good, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		"a hard link":        {{Name: good, Typeflag: tar.TypeLink, Linkname: "x"}},
		"a folder":           {{Name: good, Typeflag: tar.TypeDir}},
		"the same twice":     {{Name: good, Typeflag: tar.TypeReg}, {Name: good, Typeflag: tar.TypeReg}},
		"a good one and not": {{Name: good, Typeflag: tar.TypeReg}, {Name: "evil", Typeflag: tar.TypeReg}},
		"nothing":            {},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			out := tar.NewWriter(&b)
			for _, h := range headers {
				if err := out.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if a, err := store.OpenArchive(file(t, b.Bytes())); err == nil {
				_ = a.Close()
				t.Error("opened")
			}
			dir := t.TempDir()
			err := store.Unpack(bytes.NewReader(b.Bytes()), filepath.Join(dir, "new"), func() error { return nil })
			if err == nil && name != "nothing" {
				t.Error("unpacked")
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 && name != "nothing" {
				t.Errorf("left %v", left)
			}
		})
	}
}

// A folder that was empty is empty again when something goes wrong, and what
// was in it is left alone.
func TestCopyFails(t *testing.T) {
	archive := backedUp(t, 10)
	t.Run("at the end", func(t *testing.T) {
		dir := t.TempDir()
		errEnd := errors.New("the daemon says no")
		if err := store.Unpack(bytes.NewReader(archive), dir, func() error { return errEnd }); !errors.Is(err, errEnd) {
			t.Errorf("got %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	})
	t.Run("something is there", func(t *testing.T) {
		dir := t.TempDir()
		mine := filepath.Join(dir, "mine")
		if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := store.Copy(openArchive(t, archive), dir); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("got %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("left %v, %v", left, err)
		}
	})
	t.Run("the lock leads elsewhere", func(t *testing.T) {
		dir := t.TempDir()
		precious := filepath.Join(t.TempDir(), "precious")
		if err := errors.Join(os.WriteFile(precious, []byte("x"), 0o600), os.Symlink(precious, filepath.Join(dir, "lock"))); err != nil {
			t.Fatal(err)
		}
		if err := store.Copy(openArchive(t, archive), dir); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("got %v", err)
		}
		if b, err := os.ReadFile(precious); err != nil || string(b) != "x" {
			t.Errorf("it holds %q, %v", b, err)
		}
	})
	t.Run("a broker has it open", func(t *testing.T) {
		dir := t.TempDir()
		disk, err := journal.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Lock(); err != nil {
			t.Fatal(err)
		}
		defer disk.Unlock()
		if err := store.Copy(openArchive(t, archive), dir); !errors.Is(err, journal.ErrLocked) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no folder above", func(t *testing.T) {
		if err := store.Copy(openArchive(t, archive), filepath.Join(t.TempDir(), "a", "b")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the writer of a backup gives up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := stocked(t, faultdisk.New(1), 100)
			errFull := errors.New("stick full")
			for n := range 40 {
				if err := k.store.Backup(&limited{left: n * 100, err: errFull}); !errors.Is(err, errFull) {
					t.Errorf("after %d bytes: %v", n*100, err)
				}
			}
			k.retain(t, "still", 10)
			k.close(t)
		})
	})
}

// limited is a writer that takes some bytes and then fails.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		n := l.left
		l.left = 0
		return n, l.err
	}
	l.left -= len(p)
	return len(p), nil
}

// FuzzOpenArchive: whatever the bytes are, what is opened can be read within
// its bounds, and nothing but files of a store is in it.
func FuzzOpenArchive(f *testing.F) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	_ = out.WriteHeader(&tar.Header{Name: "0000000000000001.seg", Size: 600, Typeflag: tar.TypeReg})
	_, _ = out.Write(make([]byte, 600))
	_ = out.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:700])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := store.OpenArchive(file(t, data))
		if err != nil {
			return
		}
		defer a.Close()
		list, err := a.List()
		if err != nil || len(list) == 0 {
			t.Fatalf("opened and empty: %v", err)
		}
		var names []string
		for _, info := range list {
			in, err := a.Open(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size > int64(len(data)) {
				t.Fatalf("%s has %d bytes in an archive of %d", info.Name, info.Size, len(data))
			}
			if n, err := io.Copy(io.Discard, io.NewSectionReader(in, 0, info.Size)); err != nil || n != info.Size {
				t.Fatalf("%s: %d bytes of %d: %v", info.Name, n, info.Size, err)
			}
			if len(info.Name) != 20 || !strings.HasSuffix(info.Name, ".seg") || slices.Contains(names, info.Name) {
				t.Fatalf("file %q among %q", info.Name, names)
			}
			names = append(names, info.Name)
		}
		_, _ = store.Inspect(a)
	})
}
