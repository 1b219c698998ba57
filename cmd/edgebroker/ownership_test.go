package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// packagedFolder is /etc/edgebroker as packages make it, elsewhere.
func packagedFolder(t *testing.T, gid int) home {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := filepath.Join(t.TempDir(), "eb")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 0, gid); err != nil {
		t.Fatal(err)
	}
	return home{dir}
}

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	var said bytes.Buffer
	if code := run(t.Context(), append([]string{program}, args...), nil, &said, &said); code != exitOK {
		t.Fatalf("%v: exit code %d\n%s", args, code, &said)
	}
}

// The daemon, which has the group of the folder, may read what it needs and
// nothing else, whatever root's umask is.
func TestInitLetsTheGroupRead(t *testing.T) {
	const gid = 54321
	defer syscall.Umask(syscall.Umask(0o077))
	h := packagedFolder(t, gid)
	t.Setenv("EDGEBROKER_SOCKET", filepath.Join(h.dir, "none.sock"))
	mustRun(t, "init", "--dir", h.dir)
	mustRun(t, "users", "add", "--file", h.path("more"), "ann")
	mustRun(t, "device", "add", "--dir", h.dir, "pump-7")
	mustRun(t, "device", "add", "--dir", h.dir, "--cert", "pump-8")
	mustRun(t, "device", "del", "--dir", h.dir, "pump-8")
	readable := map[string]bool{"edgebroker.yml": true, "users": true, "rules": true, "more": true,
		"pki/server.crt": true, "pki/server.key": true, "pki/ca.crt": true, "pki/ca.crl": true}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(h.dir, path)
		st := info.Sys().(*syscall.Stat_t)
		byGroup := st.Gid == gid && info.Mode()&0o040 != 0
		if st.Uid != 0 || info.Mode()&0o022 != 0 || filepath.Ext(name) != ".crt" && filepath.Ext(name) != ".crl" && info.Mode()&0o007 != 0 {
			t.Errorf("%s belongs to %d, mode %v", name, st.Uid, info.Mode())
		}
		if readable[name] && !byGroup || byGroup && !readable[name] {
			t.Errorf("%s: mode %v, group %d", name, info.Mode(), st.Gid)
		}
		delete(readable, name)
		return nil
	})
	if err != nil || len(readable) > 0 {
		t.Error(err, readable)
	}
}

// In a folder of root alone, or of a user, init gives nobody anything.
func TestInitElsewhereSharesNothing(t *testing.T) {
	h := packagedFolder(t, 0)
	mustRun(t, "init", "--dir", h.dir)
	info, err := os.Stat(h.key())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A package brings the config, and init the rest of what it names.
func TestInitCompletesThePackagedConfig(t *testing.T) {
	h := home{t.TempDir()}
	if err := writeNew(h.config(), h.configText("")); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(h.config())
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, "init", "--dir", h.dir)
	after, err := os.Stat(h.config())
	if err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the config was written again: %v", err)
	}
	mustRun(t, "config", "check", h.config())

	for name, change := range map[string]func(home) error{
		"a config of one's own": func(h home) error { return writeNew(h.config(), h.configText("")+"log: {level: debug}\n") },
		"users": func(h home) error {
			if err := writeNew(h.config(), h.configText("")); err != nil {
				return err
			}
			return writeNew(h.users(), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := home{t.TempDir()}
			if err := change(h); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			if code := run(t.Context(), []string{program, "init", "--dir", h.dir}, nil, &said, &said); code != exitError {
				t.Errorf("exit code %d\n%s", code, &said)
			}
			if _, err := os.Lstat(h.pki()); err == nil {
				t.Error("made certificates all the same")
			}
		})
	}
	// A folder for data makes another config.
	h = home{t.TempDir()}
	if err := writeNew(h.config(), h.configText("")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := run(t.Context(), []string{program, "init", "--dir", h.dir, "--data", h.path("data")}, nil, &said, &said); code != exitError {
		t.Errorf("with --data: exit code %d\n%s", code, &said)
	}
	if _, err := os.Lstat(h.pki()); err == nil {
		t.Error("with --data: made certificates before it failed")
	}
}

// What was imported may be read by the daemon, and by nobody who is neither that nor
// root.
func TestImportLetsTheGroupRead(t *testing.T) {
	const gid = 54321
	h := packagedFolder(t, gid)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, []byte("listener 1883\nallow_anonymous true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "import", "mosquitto", "--out", h.dir, conf)
	info, err := os.Stat(h.config())
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != gid || info.Mode().Perm() != 0o640 {
		t.Errorf("the config belongs to %d:%d, mode %v", st.Uid, st.Gid, info.Mode())
	}
}
