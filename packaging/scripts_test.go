package packaging_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// gateway is a root file system with busybox, where the programs that scripts
// call write down how they were called.
type gateway struct {
	t    *testing.T
	root string
}

// newGateway makes one with the programs of that names.
func newGateway(t *testing.T, programs ...string) gateway {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and busybox")
	}
	if f, err := elf.Open(busybox); err != nil {
		t.Fatal(err)
	} else if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 {
		t.Skip("needs a busybox that is linked statically; on Debian: busybox-static")
	}
	g := gateway{t, t.TempDir()}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	g.write("/bin/busybox", string(text), 0o755)
	for _, applet := range strings.Fields("sh ls awk grep mkdir rm rmdir ln cp id chgrp chmod cat touch") {
		if err := os.Symlink("busybox", g.root+"/bin/"+applet); err != nil {
			t.Fatal(err)
		}
	}
	g.write("/dev/null", "", 0o666) // a device cannot be made everywhere
	g.write("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644)
	g.write("/etc/group", "root:x:0:\n", 0o644)
	for _, p := range programs {
		g.write("/usr/sbin/"+p, "#!/bin/sh\necho \"${0##*/} $*\" >>/calls\n"+exceptions[p], 0o755)
	}
	g.write("/usr/bin/edgebroker", `#!/bin/sh
[ "$*" = init ] || exit 9
[ ! -e /etc/edgebroker/mine ] || { echo "edgebroker: error: /etc/edgebroker/mine is there already; nothing was changed" >&2; exit 1; }
mkdir /etc/edgebroker/pki && touch /etc/edgebroker/users /etc/edgebroker/rules
echo "password: secret-word"
`, 0o755)
	packaged, err := filepath.Glob("[dai]*/*")
	if err != nil {
		t.Fatal(err)
	}
	rpm, _ := filepath.Glob("rpm/*")
	for _, f := range append(append(packaged, rpm...), "steps.sh") {
		g.write("/pkg/"+f, read(t, f), 0o644)
	}
	return g
}

// exceptions is programs whose answer counts.
var exceptions = map[string]string{
	"getent":   "exit 2", // nobody is known
	"groupadd": newGroup, "addgroup": newGroup,
	"useradd": newUser, "adduser": newUser,
}

const (
	newGroup = `for name; do :; done; echo "$name:x:900:" >>/etc/group`
	newUser  = `for name; do :; done; echo "$name:x:900:900::/:/bin/false" >>/etc/passwd`
)

func (g gateway) write(path, text string, mode os.FileMode) {
	g.t.Helper()
	write(g.t, g.root+path, text, mode)
}

func (g gateway) has(path string) bool {
	_, err := os.Lstat(g.root + path)
	return err == nil
}

// run runs a script as the package manager does, and returns what it says and
// the calls that it has made.
func (g gateway) run(env []string, script string, args ...string) (said, calls string) {
	g.t.Helper()
	_ = os.Remove(g.root + "/calls")
	cmd := exec.Command("/bin/sh", append([]string{script}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	cmd.Dir = "/pkg"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: g.root}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("%s %v: %v\n%s", script, args, err, &out)
	}
	if strings.Contains(out.String(), "secret-word") {
		g.t.Errorf("%s shows the administrator's password, which ends up in logs", script)
	}
	if text, err := os.ReadFile(g.root + "/calls"); err == nil {
		calls = string(text)
	}
	return out.String(), calls
}

// owner is the owner, group and mode of a path.
func (g gateway) owner(path string) (uid, gid, mode uint32) {
	g.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(g.root+path, &st); err != nil {
		g.t.Fatal(err)
	}
	return st.Uid, st.Gid, st.Mode & 0o7777
}

// newProgram runs, and takes any configuration but one that nobody does.
const newProgram = `#!/bin/sh
case "$*" in
version) ;;
"config check "*) ! grep -q nonsense "$3" || { echo "edgebroker: error: nonsense"; exit 2; } ;;
*) exit 9 ;;
esac
`

// upgradeProgram is what the package manager does between the scripts.
func (g gateway) upgradeProgram() {
	g.t.Helper()
	g.write("/usr/bin/new", newProgram, 0o755)
	if err := os.Rename(g.root+"/usr/bin/new", g.root+"/usr/bin/edgebroker"); err != nil {
		g.t.Fatal(err)
	}
}

// life is what one kind of package runs in the life of an installation.
type life struct {
	programs       []string
	install        [][]string // scripts with their arguments; "" is when the files are unpacked
	upgrade        [][]string
	remove         [][]string
	started        string // the calls that must be made
	restarted      string
	stopped        string
	neverInUpgrade []string // beginnings of calls that must not be
	booted         string   // a file by which the system is known to run
}

func lives() map[string]life {
	return map[string]life{
		"deb": {
			programs:       []string{"systemctl", "deb-systemd-helper", "deb-systemd-invoke", "getent", "useradd", "groupadd"},
			install:        [][]string{{"deb/preinst", "install"}, {""}, {"deb/postinst", "configure", ""}},
			upgrade:        [][]string{{"deb/prerm", "upgrade", "2"}, {"deb/preinst", "upgrade", "1", "2"}, {""}, {"deb/postrm", "upgrade", "2"}, {"deb/postinst", "configure", "1"}},
			remove:         [][]string{{"deb/prerm", "remove"}, {"deb/postrm", "remove"}},
			started:        "deb-systemd-invoke restart edgebroker.service\n",
			restarted:      "deb-systemd-invoke restart edgebroker.service\n",
			stopped:        "deb-systemd-invoke stop edgebroker.service\n",
			neverInUpgrade: []string{"deb-systemd-invoke stop", "systemctl stop", "deb-systemd-invoke start"},
			booted:         "/run/systemd/system/x",
		},
		"rpm": {
			programs:       []string{"systemctl", "getent", "useradd", "groupadd"},
			install:        [][]string{{"rpm/pre", "1"}, {""}, {"rpm/post", "1"}},
			upgrade:        [][]string{{"rpm/pre", "2"}, {""}, {"rpm/post", "2"}, {"rpm/preun", "1"}, {"rpm/postun", "1"}},
			remove:         [][]string{{"rpm/preun", "0"}, {"rpm/postun", "0"}},
			started:        "systemctl start edgebroker.service\n",
			restarted:      "systemctl try-restart edgebroker.service\n",
			stopped:        "systemctl --no-reload disable --now edgebroker.service\n",
			neverInUpgrade: []string{"systemctl stop", "systemctl start", "systemctl --no-reload"},
			booted:         "/run/systemd/system/x",
		},
		"apk": {
			programs:       []string{"rc-service", "rc-update", "adduser", "addgroup"},
			install:        [][]string{{"apk/pre-install"}, {""}, {"apk/post-install"}},
			upgrade:        [][]string{{"apk/pre-upgrade"}, {""}, {"apk/post-upgrade"}},
			remove:         [][]string{{"apk/pre-deinstall"}, {"apk/post-deinstall"}},
			restarted:      "rc-service edgebroker restart\n",
			stopped:        "rc-service --ifstarted edgebroker stop\n",
			neverInUpgrade: []string{"rc-service edgebroker stop", "rc-service --ifstarted edgebroker stop", "rc-update"},
			booted:         "/run/openrc/x",
		},
	}
}

// all runs scripts in order and returns the calls that they have made.
func (g gateway) all(scripts [][]string, unpack func()) (said, calls string) {
	g.t.Helper()
	for _, s := range scripts {
		if s[0] == "" {
			unpack()
			continue
		}
		a, b := g.run(nil, s[0], s[1:]...)
		said, calls = said+a, calls+b
	}
	return said, calls
}

func TestLifeOfAPackage(t *testing.T) {
	for kind, l := range lives() {
		t.Run(kind, func(t *testing.T) {
			g := newGateway(t, l.programs...)
			g.write(l.booted, "", 0o644)
			program := read(t, g.root+"/usr/bin/edgebroker")
			if err := os.Remove(g.root + "/usr/bin/edgebroker"); err != nil {
				t.Fatal(err)
			}
			said, calls := g.all(l.install, func() {
				g.write("/usr/bin/edgebroker", program, 0o755)
				g.write("/etc/edgebroker/edgebroker.yml", "packaged", 0o644)
			})
			if !strings.Contains(calls, l.started) {
				t.Errorf("after the installation: calls\n%s", calls)
			}
			if !strings.Contains(said, "edgebroker users passwd admin") || !g.has("/etc/edgebroker/pki") {
				t.Errorf("no first configuration; said\n%s", said)
			}
			if !strings.Contains(read(t, g.root+"/etc/passwd"), "\nedgebroker:") || g.has("/usr/lib/edgebroker") {
				t.Error("no user, or something to go back to where nothing was")
			}
			if uid, gid, mode := g.owner("/etc/edgebroker"); uid != 0 || gid == 0 || mode != 0o2750 {
				t.Errorf("/etc/edgebroker: %d:%d %o", uid, gid, mode)
			}

			g.write("/etc/edgebroker/users", "mine", 0o640)
			g.write("/var/lib/edgebroker/1.seg", "state", 0o600)
			passwd := read(t, g.root+"/etc/passwd")
			said, calls = g.all(l.upgrade, g.upgradeProgram)
			if strings.Count(calls, l.restarted) != 1 {
				t.Errorf("the upgrade does not restart once: calls\n%s", calls)
			}
			for line := range strings.Lines(calls) {
				for _, never := range l.neverInUpgrade {
					if strings.HasPrefix(line, never) {
						t.Errorf("the upgrade calls %s", line)
					}
				}
			}
			if read(t, g.root+"/usr/bin/edgebroker") != newProgram || read(t, g.root+"/usr/lib/edgebroker/previous/edgebroker") != program {
				t.Error("the program of before is not there to go back to")
			}
			if said != "" || read(t, g.root+"/etc/edgebroker/users") != "mine" || read(t, g.root+"/etc/passwd") != passwd {
				t.Errorf("the upgrade has changed something; said\n%s", said)
			}

			if kind == "deb" { // the same version once more
				g.run(nil, "deb/preinst", "upgrade", "2", "2")
				if read(t, g.root+"/usr/lib/edgebroker/previous/edgebroker") != program {
					t.Error("a reinstallation has forgotten the program of before")
				}
			}

			// A version that would not start.
			g.write("/etc/edgebroker/edgebroker.yml", "nonsense", 0o644)
			said, calls = g.all(l.upgrade, g.upgradeProgram)
			if strings.Contains(calls, l.restarted) || !strings.Contains(said, "the one before goes on") || !strings.Contains(said, "error: nonsense") {
				t.Errorf("a version that refuses the configuration: said\n%s, calls\n%s", said, calls)
			}
			g.write("/etc/edgebroker/edgebroker.yml", "packaged", 0o644)

			_, calls = g.all(l.remove, nil)
			if !strings.Contains(calls, l.stopped) {
				t.Errorf("removed without a stop: calls\n%s", calls)
			}
			if g.has("/usr/lib/edgebroker") || !g.has("/etc/edgebroker/pki") || !g.has("/var/lib/edgebroker/1.seg") {
				t.Error("removing leaves the program of before, or removes configuration or state")
			}
			if kind != "deb" {
				return
			}
			g.write("/var/lib/private/edgebroker/1.seg", "state of DynamicUser", 0o600)
			g.run(nil, "deb/postrm", "purge")
			for _, path := range []string{"/etc/edgebroker", "/var/lib/edgebroker", "/var/lib/private/edgebroker"} {
				if g.has(path) {
					t.Errorf("purging leaves %s", path)
				}
			}
		})
	}
}

// What somebody has configured before the package came is left as it is; and an
// image that many gateways get has no keys.
func TestFirstConfigurationIsNotForced(t *testing.T) {
	for name, c := range map[string]struct {
		env, says string
		before    func(gateway)
		pki       bool
	}{
		"new":             {pki: true, says: "made certificates"},
		"an image":        {env: "EDGEBROKER_INIT=no", says: "edgebroker init"},
		"a config of old": {before: func(g gateway) { g.write("/etc/edgebroker/mine", "", 0o600) }, says: "kept the configuration"},
		"users of old":    {before: func(g gateway) { g.write("/etc/edgebroker/users", "", 0o600) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, "getent", "useradd", "groupadd", "systemctl", "deb-systemd-invoke")
			if c.before != nil {
				c.before(g)
			}
			said, calls := g.run([]string{c.env}, "deb/postinst", "configure", "")
			if g.has("/etc/edgebroker/pki") != c.pki || !strings.Contains(said, c.says) || c.says == "" && said != "" {
				t.Errorf("certificates: %v, said\n%s", g.has("/etc/edgebroker/pki"), said)
			}
			if strings.Contains(calls, "deb-systemd-invoke") || strings.Contains(calls, "systemctl") {
				t.Errorf("called %s where no systemd runs", calls)
			}
		})
	}
}

// A folder that somebody has given to somebody else stays theirs.
func TestConfigFolderOfSomebodyElse(t *testing.T) {
	g := newGateway(t, "getent", "useradd", "groupadd")
	g.write("/etc/edgebroker/users", "", 0o600)
	if err := os.Chown(g.root+"/etc/edgebroker", 0, 4321); err != nil {
		t.Fatal(err)
	}
	g.run(nil, "deb/postinst", "configure", "1")
	if _, gid, mode := g.owner("/etc/edgebroker"); gid != 4321 || mode != 0o755 {
		t.Errorf("group %d, mode %o", gid, mode)
	}
}
