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
	"testing/fstest"
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
	w.write("uplink-password", "x\n", 0o600)
	w.write("uplink.crt", "x\n", 0o644)
	w.write("uplink.key", "x\n", 0o600)
	w.write("hook-secret", "x\n", 0o600)
	w.write("otlp-token", "x\n", 0o600)
	c.Bridges = []appliance.BridgeConfig{{Name: "cloud", Address: "mqtts://cloud.example:8883", Username: "ward", Password: appliance.SecretRef("file:" + w.path("uplink-password")),
		Certificate: w.path("uplink.crt"), PrivateKey: w.path("uplink.key"), Topics: []appliance.BridgeTopic{{Filter: "#"}}}}
	c.Events.Sinks = []appliance.SinkConfig{{Name: "hook", Type: appliance.SinkWebhook, URL: "https://hook.example/", Secret: appliance.SecretRef("file:" + w.path("hook-secret"))}}
	c.OTLP.Endpoint, c.OTLP.Headers = "https://otlp.example/", map[string]appliance.SecretRef{"Authorization": appliance.SecretRef("file:" + w.path("otlp-token"))}
	w.ok(c.Validate())
	w.Patient = &doctor.Patient{ConfigFile: w.path("eb.yml"), Config: c, Version: "v1", Host: doctor.Host{
		User: os.Geteuid(), Now: time.Now(), OpenFiles: 1 << 20,
		Root: machine(nil), Synced: func() (bool, error) { return true, nil },
		Disk: func(string) (doctor.Disk, error) { return onCard(doctor.Disk{Free: 100 << 30}), nil },
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
ok flash: mmcblk0 has used 20% of its life at most
ok control: the control socket is for its owner and group alone
ok limits: there are descriptors for all connections
ok kernel: its limits leave room
ok clock: the clock is plausible, and something keeps it right
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
		"uplink's password to read":  {func(w *ward) { w.chmod("uplink-password", 0o604) }, "files", doctor.Problem, "bridges[0].password ", ""},
		"uplink's key to read":       {func(w *ward) { w.chmod("uplink.key", 0o644) }, "files", doctor.Problem, "bridges[0].key ", ""},
		"no certificate for uplink":  {func(w *ward) { w.ok(os.Remove(w.path("uplink.crt"))) }, "files", doctor.Problem, "bridges[0].certificate ", ""},
		"uplink's program to write": {func(w *ward) {
			w.write("token", "#!/bin/sh\n", 0o757)
			w.Config.Bridges[0].Password, w.Config.Bridges[0].PasswordCommand = "", []string{w.path("token"), "a"}
		}, "files", doctor.Problem, "bridges[0].password_command ", ""},
		"webhook's secret to read":   {func(w *ward) { w.chmod("hook-secret", 0o604) }, "files", doctor.Problem, "events.sinks[0].secret ", ""},
		"collector's token to read":  {func(w *ward) { w.chmod("otlp-token", 0o604) }, "files", doctor.Problem, "otlp.headers[Authorization] ", ""},
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
		"data on an overlay":               {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "overlay"}) }, "storage", doctor.Warn, "is on an overlay", ""},
		"data on the network":              {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "nfs"}) }, "storage", doctor.Warn, "is on nfs", ""},
		"disk read-only":                   {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, ReadOnly: true}) }, "storage", doctor.Problem, "mounted read-only", ""},
		"disk smaller than the store":      {func(w *ward) { w.disk(doctor.Disk{Free: 500 << 20}) }, "storage", doctor.Warn, "may grow to 1GiB, and has 500MiB", ""},
		"disk full":                        {func(w *ward) { w.disk(doctor.Disk{Free: 1 << 20}) }, "storage", doctor.Problem, "there are 1MiB left", ""},
		"disk gone":                        {func(w *ward) { w.Host.Disk = func(string) (doctor.Disk, error) { return doctor.Disk{}, syscall.EIO } }, "storage", doctor.Problem, "input/output error", ""},
		"control socket for all":           {func(w *ward) { w.Config.Control.Mode = 0o666 }, "control", doctor.Problem, "mode 0666", ""},
		"control socket's folder open":     {func(w *ward) { w.mkdir("open", 0o777); w.Config.Control.Socket = w.path("open/c.sock") }, "control", doctor.Problem, "everybody may replace", ""},
		"control socket's folder a file":   {func(w *ward) { w.Config.Control.Socket = w.path("rules/c.sock") }, "control", doctor.Problem, "is not a folder", ""},
		"too few descriptors":              {func(w *ward) { w.Host.OpenFiles = 10_000 }, "limits", doctor.Warn, "10000 connections need as many descriptors and 64 more", ""},
		"a clock that nothing keeps right": {func(w *ward) { w.Host.Synced = func() (bool, error) { return false, nil } }, "clock", doctor.Warn, "nothing keeps the clock right", ""},
		"data on a card for cameras":       {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Kind: "vfat"}) }, "storage", doctor.Problem, "is on vfat", ""},
		"reading is written down":          {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Atime: true}) }, "storage", doctor.Warn, "mount it with noatime", ""},
		"no inodes":                        {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Inodes: 100, FreeInodes: 3}) }, "storage", doctor.Problem, "3 more files", ""},
		"few inodes":                       {func(w *ward) { w.disk(doctor.Disk{Free: 100 << 30, Inodes: 100, FreeInodes: 40}) }, "storage", doctor.Warn, "40 more files", ""},
		"flash at its end":                 {func(w *ward) { w.tell("sys/block/mmcblk0/device/life_time", "0x0b 0x01") }, "flash", doctor.Problem, "mmcblk0: the flash is older than", ""},
		"flash that is old":                {func(w *ward) { w.tell("sys/block/mmcblk0/device/life_time", "0x01 0x09") }, "flash", doctor.Warn, "up to 90%", ""},
		"flash with few spare blocks":      {func(w *ward) { w.tell("sys/block/mmcblk0/device/pre_eol_info", "0x02") }, "flash", doctor.Warn, "80% of its spare blocks", ""},
		"flash without spare blocks":       {func(w *ward) { w.tell("sys/block/mmcblk0/device/pre_eol_info", "0x03") }, "flash", doctor.Problem, "next to no spare blocks", ""},
		"card that protects itself":        {func(w *ward) { w.tell("sys/block/mmcblk0/ro", "1") }, "flash", doctor.Problem, "write-protected", ""},
		"errors on the file system":        {func(w *ward) { w.tell("sys/fs/ext4/mmcblk0p2/errors_count", "7") }, "flash", doctor.Problem, "mmcblk0p2: the file system has met 7 errors", ""},
		"old flash below encryption": {func(w *ward) {
			w.Host.Disk = func(string) (doctor.Disk, error) { return doctor.Disk{Free: 100 << 30, Major: 253}, nil }
			w.tell("sys/dev/block/253:0/uevent", "MAJOR=253\nDEVNAME=dm-0", "sys/block/dm-0/slaves/mmcblk0p2/size", "1", "sys/block/mmcblk0/device/life_time", "0x0a 0x0a")
		}, "flash", doctor.Warn, "mmcblk0: the flash has used up to 100%", ""},
		"old flash below btrfs": {func(w *ward) {
			w.Host.Disk = func(string) (doctor.Disk, error) { return doctor.Disk{Free: 100 << 30, Minor: 44}, nil }
			w.tell("proc/self/mountinfo", "22 1 179:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:44 / "+w.dir+" rw,noatime shared:3 - btrfs /dev/mmcblk0p2 rw\n24 22 0:45 / "+w.dir+"/dat rw - tmpfs tmpfs rw",
				"sys/block/mmcblk0/device/life_time", "0x0a 0x0a")
		}, "flash", doctor.Warn, "mmcblk0: the flash has used up to 100%", ""},
		"few files for the machine":   {func(w *ward) { w.tell("proc/sys/fs/file-nr", "1000\t0\t9000") }, "kernel", doctor.Warn, "room for 8000 more open files", ""},
		"few who wait":                {func(w *ward) { w.tell("proc/sys/net/core/somaxconn", "128") }, "kernel", doctor.Warn, "net.core.somaxconn: 128 connections", ""},
		"no cookies":                  {func(w *ward) { w.tell("proc/sys/net/ipv4/tcp_syncookies", "0") }, "kernel", doctor.Warn, "net.ipv4.tcp_max_syn_backlog: 128", ""},
		"memory is promised":          {func(w *ward) { w.tell("proc/sys/vm/overcommit_memory", "2") }, "kernel", doctor.Warn, "promised all memory but 97MiB", ""},
		"few threads":                 {func(w *ward) { w.tell("sys/fs/cgroup/system.slice/pids.max", "20") }, "kernel", doctor.Warn, "/sys/fs/cgroup/system.slice/pids.max: 20 threads", ""},
		"few threads in a container":  {func(w *ward) { w.tell("sys/fs/cgroup/pids.max", "20", "proc/self/cgroup", "0::/") }, "kernel", doctor.Warn, "/sys/fs/cgroup/pids.max: 20 threads", ""},
		"before this program":         {func(w *ward) { w.Built = w.Host.Now.Add(year) }, "clock", doctor.Problem, "this program was made on", ""},
		"daemon not well":             {func(w *ward) { w.running(); w.Health.Problems = []string{"the store is full"} }, "daemon", doctor.Problem, "the store is full", ""},
		"daemon that does not answer": {func(w *ward) { w.Silent = errors.New("no answer within 5s"); w.fails(syscall.EADDRINUSE) }, "daemon", doctor.Problem, "no answer within 5s", ""},
		"daemon of another version":   {func(w *ward) { w.running(); w.Daemon.Version = "v0" }, "daemon", doctor.Warn, `version "v0" runs`, ""},
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
	w.Host.Disk = func(string) (doctor.Disk, error) { return onCard(d), nil }
}

// onCard is d on the second partition of the machine's card.
func onCard(d doctor.Disk) doctor.Disk {
	d.Major, d.Minor = 179, 2
	return d
}

// machine is /proc and /sys of a gateway that is well, but for changes.
func machine(changes map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for _, files := range []map[string]string{{
		"sys/dev/block/179:2/uevent":            "MAJOR=179\nMINOR=2\nDEVNAME=mmcblk0p2\nDEVTYPE=partition",
		"sys/block/mmcblk0/mmcblk0p2/partition": "2",
		"sys/block/mmcblk0/device/life_time":    "0x02 0x01",
		"sys/block/mmcblk0/device/pre_eol_info": "0x01",
		"sys/block/mmcblk0/ro":                  "0",
		"sys/block/sda/sda1/partition":          "1",
		"sys/block/sda/device/life_time":        "0x0b 0x0b", // another disk
		"sys/fs/ext4/mmcblk0p2/errors_count":    "0",
		"sys/fs/cgroup/system.slice/pids.max":   "max",
		"sys/fs/cgroup/system.slice/x/pids.max": "512",
		"proc/self/cgroup":                      "0::/system.slice/x",
		"proc/sys/fs/file-nr":                   "1088\t0\t9223372036854775807",
		"proc/sys/net/core/somaxconn":           "4096",
		"proc/sys/net/ipv4/tcp_max_syn_backlog": "128",
		"proc/sys/net/ipv4/tcp_syncookies":      "1",
		"proc/sys/vm/overcommit_memory":         "0",
		"proc/meminfo":                          "MemTotal: 1000 kB\nCommitLimit:     1000000 kB\nCommitted_AS:     900000 kB",
	}, changes} {
		for name, text := range files {
			root[name] = &fstest.MapFile{Data: []byte(text + "\n")}
		}
	}
	return root
}

// tell has the machine's files say something else: names and texts.
func (w *ward) tell(files ...string) {
	changes := map[string]string{}
	for i := 0; i < len(files); i += 2 {
		changes[files[i]] = files[i+1]
	}
	w.Host.Root = machine(changes)
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
	if d, err := h.Disk(t.TempDir()); err != nil || d.Major == 0 && d.Minor == 0 {
		t.Errorf("no device: %+v, %v", d, err)
	}
	if b, err := fs.ReadFile(h.Root, "proc/sys/fs/file-nr"); err != nil || len(b) == 0 {
		t.Errorf("/proc: %q, %v", b, err)
	}
	if _, err := h.Synced(); err != nil && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSYS) {
		t.Errorf("clock: %v", err)
	}
	if h.OpenFiles == 0 || h.User != os.Geteuid() || time.Since(h.Now) > time.Hour {
		t.Errorf("%+v", h)
	}
}

// What the machine does not tell is no finding, and what it tells in other words
// than expected neither.
func TestMachineThatTellsNothing(t *testing.T) {
	for name, change := range map[string]func(w *ward){
		"no files":     func(w *ward) { w.Host.Root = fstest.MapFS{} },
		"no root":      func(w *ward) { w.Host.Root = nil },
		"not asked":    func(w *ward) { w.Host.Synced = nil },
		"not answered": func(w *ward) { w.Host.Synced = func() (bool, error) { return false, syscall.ENOSYS } },
		"empty life": func(w *ward) {
			w.tell("sys/block/mmcblk0/device/life_time", "", "sys/block/mmcblk0/device/pre_eol_info", "")
		},
		"undefined": func(w *ward) {
			w.tell("sys/block/mmcblk0/device/life_time", "0x00 0x00", "sys/block/mmcblk0/device/pre_eol_info", "0x00")
		},
		"nonsense": func(w *ward) {
			w.tell("sys/block/mmcblk0/device/life_time", "new 0xFFF 0xFF", "proc/sys/fs/file-nr", "many", "proc/sys/net/core/somaxconn", "x")
		},
		"loop of disks": func(w *ward) { w.tell("sys/block/mmcblk0p2/slaves/mmcblk0p2/size", "1") },
		"odd mounts": func(w *ward) {
			w.tell("sys/dev/block/179:2/uevent", "x", "proc/self/mountinfo", "a - b\n - \n1 2 3 4 / - ext4 /dev/\n\n")
		},
		"inodes as one needs": func(w *ward) {
			w.disk(doctor.Disk{Free: 100 << 30, Inodes: 0, FreeInodes: 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t)
			change(w)
			for _, f := range doctor.Examine(*w.Patient) {
				if f.Severity != doctor.OK {
					t.Errorf("%+v", f)
				}
			}
		})
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

// Root may read what the daemon may not: it is told so, with what mends it.
func TestDaemonMayNotRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	given := func(t *testing.T) *ward {
		w := newWard(t)
		w.ok(filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, 0, nobody))
		}))
		w.ok(os.Chown(w.path("data"), nobody, nobody))
		w.ok(os.Chmod(filepath.Dir(w.dir), 0o755)) // made by the test
		for _, name := range []string{"", "pki"} {
			w.chmod(name, 0o750)
		}
		entries, err := os.ReadDir(w.dir)
		w.ok(err)
		for _, e := range entries {
			if e.Type().IsRegular() {
				w.chmod(e.Name(), 0o640)
			}
		}
		return w
	}
	for name, c := range map[string]struct {
		fault func(w *ward)
		says  string // nothing: that all is well
	}{
		"well":              {func(*ward) {}, ""},
		"users":             {func(w *ward) { w.chmod("users", 0o600) }, "users: the broker runs as nobody, who may not read it (mode 0600) -> run: chgrp nogroup "},
		"another group":     {func(w *ward) { w.ok(os.Chown(w.path("users"), 0, 0)) }, "who may not read it (mode 0640)"},
		"for all":           {func(w *ward) { w.ok(os.Chown(w.path("rules"), 0, 0)); w.chmod("rules", 0o644) }, ""},
		"its own, closed":   {func(w *ward) { w.ok(os.Chown(w.path("rules"), nobody, 0)); w.chmod("rules", 0o040) }, "who may not read it (mode 0040)"},
		"a folder":          {func(w *ward) { w.chmod("pki", 0o700) }, "who may not enter the folder "},
		"behind a link":     {func(w *ward) { w.mkdir("deep", 0o700); w.link("rules", "deep") }, "who may not enter the folder "},
		"the config":        {func(w *ward) { w.chmod("eb.yml", 0o600) }, "eb.yml: the broker runs as nobody"},
		"state of root":     {func(w *ward) { w.ok(os.Chown(w.path("data"), 0, 0)); w.chmod("users", 0o600) }, ""},
		"state nowhere":     {func(w *ward) { w.Config.Storage.Directory = ""; w.chmod("users", 0o600) }, "the broker runs as "},
		"not root who asks": {func(w *ward) { w.Host.User = 1000; w.chmod("users", 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := given(t)
			c.fault(w)
			said := ""
			for _, f := range doctor.Examine(*w.Patient) {
				if strings.Contains(f.What, "the broker runs as") {
					said += fmt.Sprintf("%s: %s -> %s\n", f.Where, f.What, f.Mend)
				}
			}
			if (said == "") != (c.says == "") || !strings.Contains(said, c.says) {
				t.Errorf("said:\n%s\nwant %q", said, c.says)
			}
		})
	}
}
