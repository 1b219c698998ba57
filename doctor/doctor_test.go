package doctor_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/doctor"
	"github.com/synthetism/edgebroker/statsd"
)

// ward is a patient that is well, in a folder of its own.
type ward struct {
	testing.TB
	*doctor.Patient
	dir string
	ca  *certs.Authority
}

func newWard(t testing.TB) *ward {
	t.Helper()
	dir := t.TempDir()
	w := &ward{TB: t, dir: dir}
	w.ok(os.Chmod(dir, 0o700))
	var err error
	w.ca, err = certs.CreateAuthority(w.path("pki"), "ward")
	w.ok(err)
	w.issue(0)
	w.write("users", "ann:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHRzYWx0$jqGaMZtTJSXUfnikrl4JR7vu1mOM4PAmibiOTs8IJGI\n", 0o600)
	w.write("rules", "allow user=ann all #\n", 0o644)
	w.write("secret", "Bearer x\n", 0o600)
	w.write("eb.yml", "# nothing\n", 0o644)
	w.ok(os.Mkdir(w.path("data"), 0o700))
	w.ok(os.Mkdir(w.path("run"), 0o750))
	c := appliance.DefaultConfig()
	c.Listeners = []appliance.ListenerConfig{
		{Name: "local", Type: appliance.ListenTCP, Address: "127.0.0.1:1883"},
		{Name: "lan", Type: appliance.ListenTLS, Address: "192.0.2.1:8883", Certificate: w.path("server.crt"), PrivateKey: w.path("server.key"),
			ClientCA: w.ca.CertificateFile(), CRL: w.ca.CRLFile(), ClientCertificates: appliance.ClientCertificatesOptional},
		{Name: "sock", Type: appliance.ListenUnix, Address: w.path("run/mqtt.sock")},
		{Name: "passed", Type: appliance.ListenTCP, Address: "systemd:lan"},
	}
	c.Control.Socket = w.path("run/c.sock")
	c.Access.Passwords, c.Access.Rules = w.path("users"), []string{w.path("rules")}
	c.Access.HTTP.URL, c.Access.HTTP.Authorization = "https://auth.example/", appliance.SecretRef("file:"+w.path("secret"))
	w.write("people", "ann:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHRzYWx0$jqGaMZtTJSXUfnikrl4JR7vu1mOM4PAmibiOTs8IJGI:admin\n", 0o600)
	c.HTTP.Address, c.HTTP.Users = "192.0.2.1:8443", w.path("people")
	c.HTTP.TLS.Certificate, c.HTTP.TLS.PrivateKey = w.path("web.crt"), w.path("web.key")
	c.Storage.Directory = w.path("data")
	w.ok(c.Validate())
	w.Patient = &doctor.Patient{ConfigFile: w.path("eb.yml"), Config: c, Version: "v1", Host: doctor.Host{
		User: os.Geteuid(), Now: time.Now(), OpenFiles: 1 << 20,
		Disk: func(string) (doctor.Disk, error) { return doctor.Disk{Free: 100 << 30}, nil },
		Bind: func(string, string) error { return nil },
	}}
	return w
}

func (w *ward) path(name string) string { return filepath.Join(w.dir, name) }

func (w *ward) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *ward) write(name, text string, mode fs.FileMode) {
	w.Helper()
	w.ok(os.WriteFile(w.path(name), []byte(text), mode))
	w.ok(os.Chmod(w.path(name), mode))
}

func (w *ward) chmod(name string, mode fs.FileMode) { w.Helper(); w.ok(os.Chmod(w.path(name), mode)) }

// issue makes the certificate of the broker, which ends after life.
func (w *ward) issue(life time.Duration) {
	w.Helper()
	i, err := w.ca.IssueServer(certs.Request{Lifetime: life}, "192.0.2.1")
	w.ok(err)
	w.ok(i.Write(w.path("server.crt"), w.path("server.key"), true))
	w.issueWeb(0)
}

// issueWeb makes that of the HTTP address.
func (w *ward) issueWeb(life time.Duration) {
	w.Helper()
	i, err := w.ca.IssueServer(certs.Request{Lifetime: life}, "192.0.2.1")
	w.ok(err)
	w.ok(i.Write(w.path("web.crt"), w.path("web.key"), true))
}

// link moves what is at name into the folder to, and leaves a link.
func (w *ward) link(name, to string) {
	w.Helper()
	w.ok(os.Rename(w.path(name), filepath.Join(w.path(to), name)))
	w.ok(os.Symlink(filepath.Join(w.path(to), name), w.path(name)))
}

func (w *ward) mkdir(name string, mode fs.FileMode) {
	w.Helper()
	w.ok(os.Mkdir(w.path(name), 0o700))
	w.chmod(name, mode)
}

// running makes the patient one whose broker runs.
func (w *ward) running() { w.Daemon = &statsd.Snapshot{Version: "v1"} }

// TestWell is a setup without fault: each check says what is good, in one line.
func TestWell(t *testing.T) {
	w := newWard(t)
	var got strings.Builder
	for _, f := range doctor.Examine(*w.Patient) {
		fmt.Fprintf(&got, "%s %s: %s%s%s\n", f.Severity, f.Check, f.Where, strings.ReplaceAll(f.What, w.dir, "DIR"), f.Mend)
	}
	const want = `ok config: DIR/eb.yml is valid, and nobody else can change it
ok files: nobody else can change the files that the config names, or read the secret ones
ok certificates: certificates, keys and lists fit each other, and none ends soon
ok access: users, rules, keys and secrets can be read
ok listeners: nobody is let in by accident
ok http: passwords do not cross a network as they are, and the users of the http address are its own
ok ports: all addresses are free
ok storage: DIR/data can be written, and there is room
ok control: the control socket is for its owner and group alone
ok limits: there are descriptors for all connections
ok clock: the clock is plausible
ok daemon: no broker runs; what is said here is about the next start
`
	if got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

// TestFaults makes one fault at a time: it is found, by the check that is for
// it, and nothing else is.
func TestFaults(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		fault func(w *ward)
		check string
		bad   doctor.Severity
		says  string
		also  string // another check that has to say something about it, too
	}{
		"config for all to write":    {func(w *ward) { w.chmod("eb.yml", 0o666) }, "config", doctor.Problem, "everybody may write it (mode 0666)", ""},
		"config gone":                {func(w *ward) { w.ok(os.Remove(w.path("eb.yml"))) }, "config", doctor.Problem, "there is no such file", ""},
		"config in a folder for all": {func(w *ward) { w.mkdir("open", 0o777); w.link("eb.yml", "open") }, "config", doctor.Problem, "open is a folder in which everybody may replace what there is (mode 0777)", ""},
		"secret for all to read":     {func(w *ward) { w.chmod("secret", 0o604) }, "files", doctor.Problem, "access.http.authorization", "access"},
		"users for all to read":      {func(w *ward) { w.chmod("users", 0o644) }, "files", doctor.Problem, "everybody may read it (mode 0644), and it is secret -> run: chmod o= ", "access"},
		"key for all to read":        {func(w *ward) { w.chmod("server.key", 0o644) }, "files", doctor.Problem, "listeners[1].key", "certificates"},
		"rules for all to write":     {func(w *ward) { w.chmod("rules", 0o646) }, "files", doctor.Problem, "access.rules[0]", "access"},
		"authority for all to write": {func(w *ward) { w.chmod("pki/ca.crt", 0o666) }, "files", doctor.Problem, "listeners[1].client_ca", "certificates"},
		"link into a folder for all": {func(w *ward) { w.mkdir("open", 0o777); w.link("rules", "open") }, "files", doctor.Problem, "open is a folder in which everybody may replace", ""},
		"links in a row": {func(w *ward) {
			w.mkdir("a", 0o700)
			w.mkdir("open", 0o757)
			w.link("rules", "open")
			w.link("open", "a")
		}, "files", doctor.Problem, "a/open is a folder in which everybody may replace", ""},
		"a loop of links":       {func(w *ward) { w.ok(os.Remove(w.path("rules"))); w.ok(os.Symlink("rules", w.path("rules"))) }, "files", doctor.Problem, "too many levels of symbolic links", "access"},
		"a folder is no file":   {func(w *ward) { w.ok(os.Remove(w.path("pki/ca.crl"))); w.mkdir("pki/ca.crl", 0o700) }, "files", doctor.Problem, "is not a regular file", "certificates"},
		"certificate ends soon": {func(w *ward) { w.issue(20 * 24 * time.Hour) }, "certificates", doctor.Warn, "listeners[1].certificate", ""},
		"certificate has ended": {func(w *ward) { w.issue(24 * time.Hour); w.Host.Now = w.Host.Now.Add(48 * time.Hour) }, "certificates", doctor.Problem, "has ended on", ""},
		"another certificate's key": {func(w *ward) {
			key, _ := os.ReadFile(w.path("server.key"))
			w.issue(0)
			w.write("server.key", string(key), 0o600)
		}, "certificates", doctor.Problem, "this key does not belong to the certificate", ""},
		"no certificate":          {func(w *ward) { w.write("server.crt", "hello", 0o644) }, "certificates", doctor.Problem, "not a PEM file", ""},
		"key passed by systemd":   {func(w *ward) { w.Config.Listeners[1].PrivateKey = "credential:key" }, "certificates", doctor.Warn, "systemd passes it", "access"},
		"list made tomorrow":      {func(w *ward) { w.Host.Now = certs.Epoch().Add(time.Hour) }, "certificates", doctor.Problem, "is not valid before", ""},
		"broken rules":            {func(w *ward) { w.write("rules", "alow any all #\n", 0o644) }, "access", doctor.Problem, `"alow" is no beginning of a rule`, ""},
		"everything to everybody": {func(w *ward) { w.write("rules", "allow any all #\n", 0o644) }, "access", doctor.Warn, "lets every client", ""},
		"client id alone":         {func(w *ward) { w.write("rules", "allow client=pump-* all a\n", 0o644) }, "access", doctor.Warn, "trusts the client id alone", ""},
		"a secret not set":        {func(w *ward) { w.Config.Access.HTTP.Authorization = "env:EB_TEST_ABSENT" }, "access", doctor.Warn, "env:EB_TEST_ABSENT was not looked at", ""},
		"people for all to read":  {func(w *ward) { w.chmod("people", 0o644) }, "files", doctor.Problem, "http.users", "access"},
		"web key for all to read": {func(w *ward) { w.chmod("web.key", 0o644) }, "files", doctor.Problem, "http.tls.key", "certificates"},
		"web certificate ends":    {func(w *ward) { w.issueWeb(20 * 24 * time.Hour) }, "certificates", doctor.Warn, "http.tls.certificate", ""},
		"no web certificate":      {func(w *ward) { w.write("web.crt", "hello", 0o644) }, "certificates", doctor.Problem, "http.tls", ""},
		"broken people":           {func(w *ward) { w.write("people", "ann:\n", 0o600) }, "access", doctor.Problem, "http.users", ""},
		"plain http":              {func(w *ward) { w.Config.HTTP.TLS = appliance.HTTPTLSConfig{}; w.Config.HTTP.Plain = true }, "http", doctor.Warn, "passwords cross the network", ""},
		"people are devices":      {func(w *ward) { w.Config.HTTP.Users = w.Config.Access.Passwords }, "http", doctor.Warn, "name a file of its own", ""},
		"web port is taken": {func(w *ward) {
			w.Host.Bind = func(_, address string) error {
				if address == "192.0.2.1:8443" {
					return syscall.EADDRINUSE
				}
				return nil
			}
		}, "ports", doctor.Problem, "http.address 192.0.2.1:8443: another program", ""},
		"open to the network": {func(w *ward) { yes := true; w.Config.Listeners[1].AllowAnonymous = &yes }, "listeners", doctor.Warn, "whoever reaches this address comes in without a password -> ", ""},
		"open, and no rules": {func(w *ward) {
			w.Config = appliance.DefaultConfig()
			yes := true
			w.Config.Listeners[0].AllowAnonymous = &yes
			w.Config.Listeners[0].Address = ":1883"
		}, "listeners", doctor.Warn, "may read and write everything", ""},
		"passwords in the clear":       {func(w *ward) { w.Config.Listeners[0].Address = "0.0.0.0:1883" }, "listeners", doctor.Warn, "passwords cross the network", ""},
		"port taken":                   {func(w *ward) { w.fails(syscall.EADDRINUSE) }, "ports", doctor.Problem, "127.0.0.1:1883: another program has taken this port", ""},
		"address of no interface":      {func(w *ward) { w.fails(syscall.EADDRNOTAVAIL) }, "ports", doctor.Problem, "no interface of this machine", ""},
		"port of root":                 {func(w *ward) { w.fails(syscall.EACCES) }, "ports", doctor.Warn, "may not take this port", ""},
		"no such address":              {func(w *ward) { w.fails(errors.New("lookup x: no such host")) }, "ports", doctor.Problem, "no such host", ""},
		"somebody on the socket":       {func(w *ward) { w.answers("run/mqtt.sock") }, "ports", doctor.Problem, "another program answers", ""},
		"a file in the socket's place": {func(w *ward) { w.write("run/mqtt.sock", "", 0o600) }, "ports", doctor.Problem, "there is a file that is no socket", ""},
		"data for all to read":         {func(w *ward) { w.chmod("data", 0o755) }, "storage", doctor.Warn, "everybody may look into it (mode 0755)", ""},
		"data for all to write":        {func(w *ward) { w.chmod("data", 0o777) }, "storage", doctor.Problem, "everybody may write in it", ""},
		"data is a file":               {func(w *ward) { w.Config.Storage.Directory = w.path("rules") }, "storage", doctor.Problem, "is not a folder", ""},
		"data in a folder for all":     {func(w *ward) { w.mkdir("open", 0o777); w.link("data", "open") }, "storage", doctor.Problem, "open is a folder in which everybody may replace", ""},
		"data in memory":               {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "tmpfs"}) }, "storage", doctor.Problem, "is in memory (tmpfs)", ""},
		"data of the daemon, in memory": {func(w *ward) {
			w.running()
			w.Daemon.Storage.Directory = w.path("data")
			w.Config.Storage.Directory = ""
			w.disk(doctor.Disk{Free: 100 << 30, Kind: "tmpfs"})
		}, "storage", doctor.Problem, "is in memory (tmpfs)", ""},
		"data on an overlay":             {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "overlay"}) }, "storage", doctor.Warn, "is on an overlay", ""},
		"data on the network":            {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "nfs"}) }, "storage", doctor.Warn, "is on nfs", ""},
		"disk read-only":                 {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, ReadOnly: true}) }, "storage", doctor.Problem, "mounted read-only", ""},
		"disk smaller than the store":    {func(w *ward) { w.disk(doctor.Disk{Free: 500 << 20}) }, "storage", doctor.Warn, "may grow to 1GiB, and has 500MiB", ""},
		"disk full":                      {func(w *ward) { w.disk(doctor.Disk{Free: 1 << 20}) }, "storage", doctor.Problem, "there are 1MiB left", ""},
		"disk gone":                      {func(w *ward) { w.Host.Disk = func(string) (doctor.Disk, error) { return doctor.Disk{}, syscall.EIO } }, "storage", doctor.Problem, "input/output error", ""},
		"control socket for all":         {func(w *ward) { w.Config.Control.Mode = 0o666 }, "control", doctor.Problem, "mode 0666", ""},
		"control socket's folder open":   {func(w *ward) { w.mkdir("open", 0o777); w.Config.Control.Socket = w.path("open/c.sock") }, "control", doctor.Problem, "everybody may replace", ""},
		"control socket's folder a file": {func(w *ward) { w.Config.Control.Socket = w.path("rules/c.sock") }, "control", doctor.Problem, "is not a folder", ""},
		"too few descriptors":            {func(w *ward) { w.Host.OpenFiles = 10_000 }, "limits", doctor.Warn, "10000 connections need as many descriptors and 64 more", ""},
		"before this program":            {func(w *ward) { w.Built = w.Host.Now.Add(year) }, "clock", doctor.Problem, "this program was made on", ""},
		"daemon not well":                {func(w *ward) { w.running(); w.Health.Problems = []string{"the store is full"} }, "daemon", doctor.Problem, "the store is full", ""},
		"daemon that does not answer":    {func(w *ward) { w.Silent = errors.New("no answer within 5s"); w.fails(syscall.EADDRINUSE) }, "daemon", doctor.Problem, "no answer within 5s", ""},
		"daemon of another version":      {func(w *ward) { w.running(); w.Daemon.Version = "v0" }, "daemon", doctor.Warn, `version "v0" runs`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t)
			c.fault(w)
			findings := doctor.Examine(*w.Patient)
			found := false
			for _, f := range findings {
				text := f.Where + ": " + f.What + " -> " + f.Mend
				if f.Severity == doctor.OK {
					if f.Mend != "" {
						t.Errorf("good, and to be mended: %+v", f)
					}
					continue
				}
				if f.What == "" || f.Mend == "" {
					t.Errorf("does not say what, or how to mend it: %+v", f)
				}
				found = found || f.Check == c.check && f.Severity == c.bad && strings.Contains(text, c.says)
				if f.Check != c.check && (c.also == "" || f.Check != c.also) {
					t.Errorf("also found: %+v", f)
				}
			}
			if !found {
				t.Errorf("not found; all there is: %+v", findings)
			}
			if worst := doctor.Worst(findings); c.also == "" && worst != c.bad {
				t.Errorf("the worst is %q", worst)
			}
		})
	}
}

func (w *ward) disk(d doctor.Disk) {
	w.Host.Disk = func(string) (doctor.Disk, error) { return d, nil }
}

// fails has the address of the first listener not be bound.
func (w *ward) fails(err error) {
	w.Host.Bind = func(_, address string) error {
		if address == "127.0.0.1:1883" {
			return &net.OpError{Op: "listen", Err: err}
		}
		return nil
	}
}

// answers has somebody else at a unix socket.
func (w *ward) answers(name string) {
	l, err := net.Listen("unix", w.path(name))
	w.ok(err)
	w.Cleanup(func() { _ = l.Close() })
}

// A port that is really taken, and this machine's facts.
func TestThisHost(t *testing.T) {
	h := doctor.ThisHost()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := h.Bind("tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := h.Bind("tcp", "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	if d, err := h.Disk(t.TempDir()); err != nil || d.Free == 0 || d.ReadOnly {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := h.Disk("/proc"); err != nil || d.Kind != "" {
		t.Errorf("/proc: %+v, %v", d, err)
	}
	if d, err := h.Disk("/dev/shm"); err == nil && d.Kind != "tmpfs" {
		t.Errorf("/dev/shm: %+v", d)
	}
	if h.OpenFiles == 0 || h.User != os.Geteuid() || time.Since(h.Now) > time.Hour {
		t.Errorf("%+v", h)
	}
}

// Somebody else's file in a folder like /tmp may be anything tomorrow.
func TestForeignFileInTemporaryFolder(t *testing.T) {
	w := newWard(t)
	w.mkdir("tmp", 0o777|fs.ModeSticky)
	w.link("rules", "tmp")
	if worst := doctor.Worst(doctor.Examine(*w.Patient)); worst != doctor.OK {
		t.Errorf("one's own file there: %s", worst)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	w.ok(os.Chown(w.path("tmp/rules"), 65534, 65534))
	for _, f := range doctor.Examine(*w.Patient) {
		if f.Check == "files" && f.Severity == doctor.Problem && strings.Contains(f.What, "tmp/rules belongs to user 65534, in a folder in which everybody may make files") {
			return
		}
	}
	t.Error("not found")
}

func TestBadConfig(t *testing.T) {
	_, err := appliance.ParseConfig("eb.yml", []byte("log:\n  level: loud\nlimit: 3\n"))
	got := doctor.BadConfig("eb.yml", err)
	if len(got) != 2 || got[0].Where != "eb.yml:2:10: log.level" || got[0].Severity != doctor.Problem || got[0].Mend == "" || got[0].What != `"loud" is not a log level` {
		t.Errorf("%+v", got)
	}
	got = doctor.BadConfig("eb.yml", fs.ErrNotExist)
	if len(got) != 1 || got[0].Where != "eb.yml" || got[0].Mend == "" {
		t.Errorf("%+v", got)
	}
}
