package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Versions of the program all have names of one length. Those of the first two
// kinds fail where a sound one is about to start.
const (
	versionRefuses = "refuses-"
	versionCrashes = "crashes-"
	versionSound   = "sound---"
)

// compiled is the program in a version that stands for all others.
var compiled = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := filepath.Abs("../cmd/edgebroker/serve.go")
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	const sound = "	service := &manager{log: log}\n"
	if strings.Count(string(source), sound) != 1 {
		return nil, errors.New("serve.go has no place for a fault")
	}
	fault := fmt.Sprintf("if v := version[:%d]; v == %q { return fmt.Errorf(\"no good\") } else if v == %q { panic(\"no good\") }\n", len(versionSound), versionRefuses, versionCrashes)
	faulty, overlay, program := filepath.Join(dir, "serve.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{file: faulty}})
	if err != nil {
		return nil, err
	}
	for path, content := range map[string]string{faulty: strings.Replace(string(source), sound, fault+sound, 1), overlay: string(list)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-ldflags", "-s -w -X main.version="+anyVersion, "-o", program, "../cmd/edgebroker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	return os.ReadFile(program)
})

const anyVersion = versionSound + "XXXX"

// install puts a version of the program at path, as package managers do, and
// returns its name.
func install(t *testing.T, path, kind string, n int) (version string) {
	t.Helper()
	program, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	version = fmt.Sprintf("%s%04d", kind, n)
	if err := os.WriteFile(path+".new", bytes.ReplaceAll(program, []byte(anyVersion), []byte(version)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return version
}

// served is a broker in a process of its own.
type served struct {
	dir, program, addr string
	log                *brokertest.Log
	process            *exec.Cmd
	ended              chan struct{}
}

func newServed(t *testing.T) *served {
	t.Helper()
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &served{dir: dir, program: filepath.Join(dir, "edgebroker"), addr: brokertest.Ports(t, 1)[0], log: new(brokertest.Log)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", s.log)
		}
	})
	return s
}

func (s *served) args(more ...string) []string {
	return append([]string{"serve", "--listen", s.addr, "--socket", filepath.Join(s.dir, "c.sock"), "--data", filepath.Join(s.dir, "data")}, more...)
}

// run starts the program with what env says besides, by way of a shell that knows
// its own process identifier.
func (s *served) run(t *testing.T, files []*os.File, env ...string) {
	t.Helper()
	c := exec.Command("/bin/sh", append([]string{"-c", `[ -n "$LISTEN_FDS" ] && export LISTEN_PID=$$; exec "$0" "$@"`, s.program}, s.args()...)...)
	c.Env = append(os.Environ(), env...)
	c.Stderr, c.ExtraFiles = s.log, files
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = c, make(chan struct{})
	go func() { _ = c.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-s.ended
	})
}

func (s *served) reachable(t *testing.T) {
	t.Helper()
	brokertest.WaitFor(t, "the broker to listen", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// report is what `edgebroker stats` prints.
type report struct {
	Version     string
	ClientCount int
}

func (s *served) report(t *testing.T) (r report) {
	t.Helper()
	out, err := exec.Command(s.program, "stats", "--socket", filepath.Join(s.dir, "c.sock"), "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		r.Version = err.Error()
	}
	return r
}

func (s *served) awaitVersion(t *testing.T, version string) {
	t.Helper()
	brokertest.WaitFor(t, "version "+version, func() bool { return s.report(t).Version == version })
}

// herd is how many pairs of clients, and of clients of libraries, there are.
func herd() (pairs, libraries int) {
	if n, err := strconv.Atoi(os.Getenv("EDGEBROKER_HANDOVER_PAIRS")); err == nil {
		return n, 6
	}
	return 12, 3
}

// TestHandoverByExec upgrades a process in its place, again and again, under
// clients that notice nothing. A program that cannot be run is not run.
func TestHandoverByExec(t *testing.T) {
	s := newServed(t)
	install(t, s.program, versionSound, 1)
	s.run(t, nil)
	s.reachable(t)
	n, l := herd()
	fleet, libs := startPairs(t, s.addr, n), startLibraries(t, s.addr, l)
	ask := func() {
		if err := s.process.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
	for i := 2; i <= 4; i++ {
		fleet.await(t, 10)
		version := install(t, s.program, versionSound, i)
		ask()
		s.awaitVersion(t, version)
	}
	for name, content := range map[string]string{"is none": "no program", "fails": "#!/bin/sh\nexit 1\n", "says something else": "#!/bin/sh\necho handover 0\n"} {
		if err := os.Remove(s.program); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.program, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(s.log.String(), "not upgraded")
		ask()
		brokertest.WaitFor(t, "refusal of a program that "+name, func() bool { return strings.Count(s.log.String(), "not upgraded") > before })
		fleet.await(t, 5)
	}
	install(t, s.program, versionSound, 4)
	fleet.await(t, 10)
	if r := s.report(t); r.Version != versionSound+"0004" || r.ClientCount != 2*n+2*l {
		t.Errorf("%+v", r)
	}
	fleet.finish(t)
	libs.finish(t)
	t.Logf("longest wait for an acknowledgement %v, for a round of a library %v", fleet.longest(), libs.longest())
}

// A stop that is ordered while the next program is looked at is not forgotten.
func TestStopDuringAnUpgrade(t *testing.T) {
	s := newServed(t)
	install(t, s.program, versionSound, 1)
	s.run(t, nil)
	s.reachable(t)
	c := brokertest.Dial(t, s.addr, brokertest.Clean(wire.V5, "c"))
	next, began, begin := filepath.Join(s.dir, "next"), filepath.Join(s.dir, "began"), filepath.Join(s.dir, "begin")
	install(t, next, versionSound, 2)
	if err := os.Remove(s.program); err != nil {
		t.Fatal(err)
	}
	patient := fmt.Sprintf("#!/bin/sh\ntouch %s\nuntil [ -e %s ]; do sleep 0.1; done\nexec %s \"$@\"\n", began, begin, next)
	if err := os.WriteFile(s.program, []byte(patient), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.process.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the next program to begin", func() bool { _, err := os.Stat(began); return err == nil })
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(begin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the end", func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
	c.ExpectClosed()
}

// keeper is a service manager as far as the broker can tell: it keeps the
// descriptors that it is sent, and passes them to the next process.
type keeper struct {
	path string
	conn *net.UnixConn
	done sync.WaitGroup

	mu    sync.Mutex // guards what follows
	kept  map[string]*os.File
	ready int
}

func startKeeper(t *testing.T, dir string) *keeper {
	t.Helper()
	k := &keeper{path: filepath.Join(dir, "notify"), kept: make(map[string]*os.File)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: k.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	k.conn = conn
	k.done.Go(k.serve)
	t.Cleanup(func() { conn.Close(); k.done.Wait(); k.drop() })
	return k
}

func (k *keeper) serve() {
	buf, rights := make([]byte, 4096), make([]byte, 4096)
	for {
		n, size, _, _, err := k.conn.ReadMsgUnix(buf, rights)
		if err != nil {
			return
		}
		var files []*os.File
		if msgs, err := syscall.ParseSocketControlMessage(rights[:size]); err == nil {
			for i := range msgs {
				fds, _ := syscall.ParseUnixRights(&msgs[i])
				for _, fd := range fds {
					syscall.CloseOnExec(fd)
					files = append(files, os.NewFile(uintptr(fd), "kept"))
				}
			}
		}
		k.take(string(buf[:n]), files)
	}
}

func (k *keeper) take(text string, files []*os.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	says := make(map[string]string)
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		says[key] = value
	}
	switch {
	case says["READY"] == "1":
		k.ready++
	case says["FDSTORE"] == "1" && len(files) == 1:
		k.kept[says["FDNAME"]] = files[0]
		return
	case says["FDSTOREREMOVE"] == "1":
		if f := k.kept[says["FDNAME"]]; f != nil {
			_ = f.Close()
			delete(k.kept, says["FDNAME"])
		}
	}
	for _, f := range files { // that of a barrier
		_ = f.Close()
	}
}

func (k *keeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, f := range k.kept {
		_ = f.Close()
		delete(k.kept, name)
	}
}

func (k *keeper) holds() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.kept)
}

// spawn runs the next process, and returns how often one has been ready before.
func (k *keeper) spawn(t *testing.T, s *served) (before int) {
	t.Helper()
	k.mu.Lock()
	var files []*os.File
	var names []string
	for name, f := range k.kept {
		files, names = append(files, f), append(names, name)
	}
	before = k.ready
	k.mu.Unlock()
	env := []string{"NOTIFY_SOCKET=" + k.path, "FDSTORE=4"}
	if len(files) > 0 {
		env = append(env, fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	s.run(t, files, env...)
	return before
}

// start runs the next process and waits until it is ready.
func (k *keeper) start(t *testing.T, s *served) {
	t.Helper()
	before := k.spawn(t, s)
	brokertest.WaitFor(t, "a process that is ready", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ready > before {
			return true
		}
		select {
		case <-s.ended:
			t.Fatalf("the process has ended: %v", s.process.ProcessState)
		default:
		}
		return false
	})
}

func (s *served) terminate(t *testing.T) {
	t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.ended
}

// TestHandoverByServiceManager restarts the broker under a service manager that
// keeps descriptors, also when the new program fails: then the old one goes on.
func TestHandoverByServiceManager(t *testing.T) {
	s := newServed(t)
	install(t, s.program, versionSound, 1)
	k := startKeeper(t, s.dir)
	k.start(t, s)
	n, l := herd()
	fleet, libs := startPairs(t, s.addr, n), startLibraries(t, s.addr, l)
	for i := 2; i <= 3; i++ {
		fleet.await(t, 10)
		version := install(t, s.program, versionSound, i)
		s.terminate(t)
		if k.holds() != 1 {
			t.Fatalf("%d descriptors are kept", k.holds())
		}
		k.start(t, s)
		s.awaitVersion(t, version)
	}
	brokertest.WaitFor(t, "the manager to forget", func() bool { return k.holds() == 0 })
	fleet.await(t, 10)

	// One that cannot start gives way at once to the one before.
	install(t, s.program, versionRefuses, 4)
	s.terminate(t)
	k.start(t, s)
	s.awaitVersion(t, versionSound+"0003")
	fleet.await(t, 10)
	brokertest.WaitFor(t, "the manager to forget", func() bool { return k.holds() == 0 }) // or connections would outlive their end

	// One that crashes is given up when it is started again.
	install(t, s.program, versionCrashes, 5)
	s.terminate(t)
	k.crash(t, s)
	k.start(t, s)
	s.awaitVersion(t, versionSound+"0003")
	fleet.await(t, 10)

	// The next one is given its chance.
	last := install(t, s.program, versionSound, 6)
	s.terminate(t)
	k.start(t, s)
	s.awaitVersion(t, last)
	fleet.await(t, 10)

	if r := s.report(t); r.ClientCount != 2*n+2*l {
		t.Errorf("%+v", r)
	}
	fleet.finish(t)
	libs.finish(t)
	t.Logf("longest wait for an acknowledgement %v, for a round of a library %v", fleet.longest(), libs.longest())

	// A stop that nobody follows ends every connection.
	c := brokertest.Dial(t, s.addr, brokertest.Clean(wire.V5, "last"))
	s.terminate(t)
	k.drop()
	c.ExpectClosed()
}

// crash runs a process that ends before it is ready.
func (k *keeper) crash(t *testing.T, s *served) {
	t.Helper()
	k.spawn(t, s)
	select {
	case <-s.ended:
	case <-t.Context().Done():
	}
}

// TestHandoverOfAddress is for a broker that somebody else runs, at the address in
// EDGEBROKER_HANDOVER_ADDR: it runs the command EDGEBROKER_HANDOVER_COMMAND under
// clients that must not notice, three times, and says how long they have waited.
func TestHandoverOfAddress(t *testing.T) {
	addr, command := os.Getenv("EDGEBROKER_HANDOVER_ADDR"), os.Getenv("EDGEBROKER_HANDOVER_COMMAND")
	if addr == "" || command == "" {
		t.Skip("set EDGEBROKER_HANDOVER_ADDR and EDGEBROKER_HANDOVER_COMMAND")
	}
	n, l := herd()
	fleet, libs := startPairs(t, addr, n), startLibraries(t, addr, l)
	for range 3 {
		fleet.await(t, 50)
		began := time.Now()
		if out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("the command took %v", time.Since(began))
		fleet.await(t, 50)
		t.Logf("longest wait so far for an acknowledgement %v, for a round of a library %v", fleet.longest(), libs.longest())
	}
	fleet.finish(t)
	libs.finish(t)
}
