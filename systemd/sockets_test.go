package systemd

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestPassed(t *testing.T) {
	for _, tt := range []struct {
		env   map[string]string
		count int
		names []string
		bad   bool
	}{
		{nil, 0, nil, false},
		{map[string]string{"LISTEN_FDS": "2", "LISTEN_PID": "8"}, 0, nil, false}, // for somebody else
		{map[string]string{"LISTEN_FDS": "2"}, 0, nil, false},
		{map[string]string{"LISTEN_FDS": "2", "LISTEN_PID": "7"}, 2, nil, false},
		{map[string]string{"LISTEN_FDS": "2", "LISTEN_PID": "7", "LISTEN_FDNAMES": "a:"}, 2, []string{"a", ""}, false},
		{map[string]string{"LISTEN_FDS": "two", "LISTEN_PID": "7"}, 0, nil, true},
		{map[string]string{"LISTEN_FDS": "-1", "LISTEN_PID": "7"}, 0, nil, true},
		{map[string]string{"LISTEN_FDS": "100000", "LISTEN_PID": "7"}, 0, nil, true},
	} {
		count, names, err := passed(func(key string) string { return tt.env[key] }, 7)
		if count != tt.count || !slices.Equal(names, tt.names) || (err != nil) != tt.bad {
			t.Errorf("%v: %d, %q, %v", tt.env, count, names, err)
		}
	}
}

// put makes descriptors of files that follow each other, and returns the first.
func put(t *testing.T, files ...interface{ File() (*os.File, error) }) int {
	t.Helper()
	const first = 700 // above what the test uses itself
	for i, l := range files {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(f.Fd()), first+i, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return first
}

func TestTakeOver(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	first := put(t, tcp.(*net.TCPListener), unix.(*net.UnixListener))
	list, err := takeOver(first, 2, []string{"lan"})
	if err != nil || len(list) != 2 || list[0].Name != "lan" || list[1].Name != "unknown" {
		t.Fatalf("%v, %v", list, err)
	}
	for i, want := range []net.Listener{tcp, unix} {
		l := list[i].Listener
		if l.Addr().String() != want.Addr().String() {
			t.Errorf("socket %d is %v; want %v", i, l.Addr(), want.Addr())
		}
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if s, err := l.Accept(); err != nil {
			t.Error(err)
		} else {
			_ = s.Close()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(first+i, &st); err == nil {
			t.Errorf("descriptor %d is still open", first+i)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the manager's socket is gone: %v", err)
	}
}

// What is no listening socket is named, and nothing stays open.
func TestTakeOverRefuses(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	first := put(t, tcp.(*net.TCPListener), datagrams.(*net.UDPConn))
	list, err := takeOver(first, 2, []string{"lan", "odd"})
	if err == nil || len(list) > 0 || !strings.Contains(err.Error(), `socket 2, "odd"`) {
		t.Errorf("%v, %v", list, err)
	}
	for i := range 2 {
		var st syscall.Stat_t
		if err := syscall.Fstat(first+i, &st); err == nil {
			t.Errorf("descriptor %d is still open", first+i)
		}
	}
}
