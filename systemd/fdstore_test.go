package systemd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// received is what a manager reads from its socket.
type received struct {
	text  string
	files []*os.File
}

// startStore is a manager that reads; answers says whether it closes what comes
// with a barrier.
func startStore(t *testing.T, answers bool) <-chan received {
	t.Helper()
	addr := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", addr)
	got := make(chan received, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf, rights := make([]byte, 4096), make([]byte, 4096)
		for {
			n, size, _, _, err := conn.ReadMsgUnix(buf, rights)
			if err != nil {
				return
			}
			r := received{text: string(buf[:n])}
			msgs, _ := syscall.ParseSocketControlMessage(rights[:size])
			for i := range msgs {
				fds, _ := syscall.ParseUnixRights(&msgs[i])
				for _, fd := range fds {
					r.files = append(r.files, os.NewFile(uintptr(fd), "received"))
				}
			}
			if r.text == "BARRIER=1" && answers {
				for _, f := range r.files {
					_ = f.Close()
				}
			}
			got <- r
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return got
}

// A descriptor that is kept is the same, and Keep returns when the manager has
// read it.
func TestKeep(t *testing.T) {
	got := startStore(t, true)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Keep("parcel", w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	store, barrier := <-got, <-got
	if store.text != "FDSTORE=1\nFDNAME=parcel\nFDPOLL=0" || len(store.files) != 1 || barrier.text != "BARRIER=1" || len(barrier.files) != 1 {
		t.Fatalf("%q with %d files, %q with %d", store.text, len(store.files), barrier.text, len(barrier.files))
	}
	if _, err := store.files[0].WriteString("x"); err != nil {
		t.Error(err)
	}
	_ = store.files[0].Close()
	buf := make([]byte, 2)
	if n, err := r.Read(buf); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if err := Forget("parcel"); err != nil {
		t.Error(err)
	}
	if f := <-got; f.text != "FDSTOREREMOVE=1\nFDNAME=parcel" {
		t.Errorf("%q", f.text)
	}
}

func TestKeepFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Keep("parcel", w); err == nil {
		t.Error("kept by nobody")
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Keep("parcel", w); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("manager is gone: %v", err)
	}
	got := startStore(t, false)
	if err := keep("parcel", w, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("manager does not answer: %v", err)
	}
	for range 2 {
		for _, f := range (<-got).files {
			_ = f.Close()
		}
	}
}

func TestKeeps(t *testing.T) {
	for _, tt := range []struct {
		store, notify string
		want          bool
	}{
		{"4", "/run/notify", true}, {"4", "", false}, {"", "/run/notify", false}, {"0", "/run/notify", false}, {"x", "/run/notify", false},
	} {
		t.Setenv("FDSTORE", tt.store)
		t.Setenv("NOTIFY_SOCKET", tt.notify)
		if got := Keeps(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestKept(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		pid, fds, names string
		kept            int
	}{
		{self, "", "", -1},
		{self, "2", "lan:parcel", 4},
		{self, "1", "parcel", 3},
		{self, "1", "lan", -1},
		{self, "1", "lan:parcel", -1}, // more names than descriptors
		{"1", "1", "parcel", -1},
		{self, "x", "parcel", -1},
	} {
		t.Setenv("LISTEN_PID", tt.pid)
		t.Setenv("LISTEN_FDS", tt.fds)
		t.Setenv("LISTEN_FDNAMES", tt.names)
		if got := Kept("parcel"); got != tt.kept {
			t.Errorf("%+v: kept is %d", tt, got)
		}
	}
}

// What is kept is not taken for a socket to listen on.
func TestTakeOverLeavesWhatIsKept(t *testing.T) {
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
	first := put(t, datagrams.(*net.UDPConn), tcp.(*net.TCPListener))
	list, err := takeOver(first, 2, []string{"parcel", "lan"}, "parcel")
	if err != nil || len(list) != 1 || list[0].Name != "lan" {
		t.Fatalf("%v, %v", list, err)
	}
	_ = list[0].Listener.Close()
	if err := syscall.Close(first); err != nil {
		t.Errorf("what is kept has been closed: %v", err)
	}
}

// The unit lets a restart hand over, and says when it is a stop.
func TestUnitHandsOver(t *testing.T) {
	most := setting(t, "FileDescriptorStoreMax")
	n := 0
	for _, e := range setting(t, "Environment") {
		if v, ok := strings.CutPrefix(e, "FDSTORE="); ok && len(most) == 1 && v == most[0] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("FileDescriptorStoreMax=%v, Environment=%q", most, setting(t, "Environment"))
	}
	if stop := setting(t, "ExecStop"); len(stop) != 1 || !strings.HasPrefix(stop[0], "-+") || !strings.Contains(stop[0], "-s USR1") {
		t.Errorf("ExecStop=%q", stop)
	}
}
