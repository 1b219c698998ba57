// Package packaging_test runs what packages and scripts/install.sh run on gateways,
// in root file systems made for that, in the shell that gateways have.
package packaging_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shells is the shells that scripts for gateways must run in.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	list := map[string][]string{"sh": {"sh"}}
	if path, err := exec.LookPath("busybox"); err == nil {
		list["busybox"] = []string{path, "sh"}
	} else {
		t.Log("busybox is not installed; only sh is tried")
	}
	return list
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// filesBelow is the paths of all files below root, without it.
func filesBelow(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Into the root of an image: what each system needs, upgraded with a way back,
// removed without what is the user's, and purged with it.
func TestInstallIntoRoot(t *testing.T) {
	for name, shell := range shells(t) {
		for init, c := range map[string]struct {
			mark string // by which the system is known
			want []string
		}{
			"systemd": {"/usr/lib/systemd/systemd", []string{"/etc/systemd/system/edgebroker.service", "/usr/lib/edgebroker/254.conf"}},
			"openrc":  {"/sbin/openrc-run", []string{"/etc/conf.d/edgebroker", "/etc/init.d/edgebroker"}},
			"procd":   {"/etc/rc.common", []string{"/etc/init.d/edgebroker", "/lib/upgrade/keep.d/edgebroker"}},
			"none":    {"/bin/nothing", nil},
		} {
			t.Run(name+" "+init, func(t *testing.T) {
				root, binaries := t.TempDir(), t.TempDir()
				write(t, root+c.mark, "", 0o755)
				write(t, binaries+"/one", "first", 0o644)
				write(t, binaries+"/two", "second", 0o600)
				install := func(args ...string) {
					t.Helper()
					cmd := exec.Command(shell[0], append(append(shell[1:len(shell):len(shell)], "../scripts/install.sh", "--root", root), args...)...)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("%v: %v\n%s", args, err, out)
					}
				}
				install(binaries + "/one")
				want := append([]string{c.mark, "/usr/bin/edgebroker", "/usr/lib/sysusers.d/edgebroker.conf"}, c.want...)
				slices.Sort(want)
				if got := filesBelow(t, root); !slices.Equal(got, want) {
					t.Errorf("installed\n%q, want\n%q", got, want)
				}
				if info, err := os.Stat(root + "/usr/bin/edgebroker"); err != nil || info.Mode().Perm() != 0o755 {
					t.Errorf("the binary: %v, %v", info.Mode(), err)
				}

				write(t, root+"/etc/edgebroker/edgebroker.yml", "mine", 0o640)
				write(t, root+"/var/lib/edgebroker/1.seg", "state", 0o600)
				write(t, root+"/etc/conf.d/edgebroker", "mine", 0o644)
				install(binaries + "/two")
				install(binaries + "/two") // not a way back to the same
				if is, was := read(t, root+"/usr/bin/edgebroker"), read(t, root+"/usr/lib/edgebroker/previous/edgebroker"); is != "second" || was != "first" {
					t.Errorf("after the upgrade: %q, and to go back to %q", is, was)
				}
				if read(t, root+"/etc/edgebroker/edgebroker.yml") != "mine" || read(t, root+"/etc/conf.d/edgebroker") != "mine" {
					t.Error("the upgrade has changed a configuration")
				}

				install("--uninstall")
				want = []string{c.mark, "/etc/edgebroker/edgebroker.yml", "/var/lib/edgebroker/1.seg"}
				slices.Sort(want)
				if got := filesBelow(t, root); !slices.Equal(got, want) {
					t.Errorf("after --uninstall\n%q, want\n%q", got, want)
				}
				install("--uninstall") // there is nothing left, which is no error
				install("--purge")
				if got := filesBelow(t, root); !slices.Equal(got, []string{c.mark}) {
					t.Errorf("after --purge %q", got)
				}
			})
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct{ args, says string }{
				{"--root /nowhere/at/all", "there is no folder"},
				{"--root", "needs a value"},
				{"--frob", "--uninstall"}, // the usage
				{"--root . --init sysv", "no files for 'sysv'"},
				{"--root . one two", "one binary is enough"},
				{"--root . /nowhere/edgebroker", "there is no /nowhere/edgebroker"},
			} {
				args := append(shell[1:len(shell):len(shell)], "../scripts/install.sh")
				out, err := exec.Command(shell[0], append(args, strings.Fields(c.args)...)...).CombinedOutput()
				if err == nil || !strings.Contains(string(out), c.says) {
					t.Errorf("%s: %v, said\n%s", c.args, err, out)
				}
			}
		})
	}
	if _, err := os.Stat("usr"); err == nil {
		t.Error("something was installed")
	}
}

// What nfpm is told to pack is there, and no script is forgotten.
func TestPackagedFilesExist(t *testing.T) {
	config := read(t, "nfpm.yaml")
	n := 0
	for _, m := range regexp.MustCompile(`src: "?([^",]+)"?`).FindAllStringSubmatch(config, -1) {
		if strings.HasPrefix(m[1], "@") {
			continue
		}
		n++
		if _, err := os.Stat("../" + m[1]); err != nil {
			t.Error(err)
		}
	}
	for _, m := range regexp.MustCompile(`"@SCRIPTS@/([^"]+)"`).FindAllStringSubmatch(config, -1) {
		n++
		if text := read(t, m[1]); strings.Contains(text, "steps.sh") && !strings.Contains(text, "\n. ./steps.sh\n") {
			t.Errorf("%s does not take in the steps, in a line of its own", m[1])
		}
	}
	if n < 20 {
		t.Errorf("only %d files", n)
	}
	for _, script := range []string{"deb/*", "rpm/*", "apk/*", "ipk/*"} {
		found, _ := filepath.Glob(script)
		for _, f := range found {
			if !strings.Contains(config, "@SCRIPTS@/"+f+`"`) {
				t.Errorf("%s is in no package", f)
			}
		}
	}
}
