package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// childEnv makes a test process play the broker of TestOutOfFiles.
const childEnv = "EDGEBROKER_E2E_OUT_OF_FILES"

// A broker that has no file descriptors left keeps serving those who are
// connected, and takes new connections as soon as there are some again.
func TestOutOfFiles(t *testing.T) {
	if os.Getenv(childEnv) == "1" {
		outOfFiles(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestOutOfFiles$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1")
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines, over := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(over)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		hold.Close()
		<-over
		if err := child.Wait(); err != nil {
			t.Errorf("the broker's process: %v", err)
			for len(lines) > 0 {
				t.Log(<-lines)
			}
		}
	})
	await := func(word string) string {
		t.Helper()
		for {
			if rest, ok := strings.CutPrefix(receive(t, word, lines), word+" "); ok {
				return rest
			}
		}
	}
	addr := await("address")

	con := brokertest.Clean(wire.V5, "first")
	first := brokertest.Dial(t, addr, con)
	await("limited")
	waiting := make([]*brokertest.Client, 40)
	for i := range waiting {
		con.ClientID = fmt.Sprint("waiting", i)
		waiting[i] = brokertest.DialRaw(t, addr, wire.V5)
		waiting[i].Send(wire.AppendConnect(nil, &con))
	}
	await("exhausted")
	first.Subscribe(1, "t")
	first.Publish("t", "still served", 1, false)
	first.ExpectMessage("t", "still served")
	last := waiting[len(waiting)-1]
	for _, c := range waiting[:len(waiting)-1] {
		c.Conn().Close()
	}
	last.Expect(wire.CONNACK)
	last.Ping()
	con.ClientID = "late"
	brokertest.Dial(t, addr, con).Ping()
}

// outOfFiles is the broker's process. It ends when its input does.
func outOfFiles(t *testing.T) {
	b := start(t, nil)
	fmt.Println("\naddress", b.addr)
	brokertest.WaitFor(t, "the first client", func() bool { return b.Stats().ClientCount == 1 })
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = uint64(len(open) + 10)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Println("limited to", limit.Cur)
	brokertest.WaitFor(t, "an error of accept", func() bool { return strings.Contains(b.log.String(), "cannot accept connections") })
	fmt.Println("exhausted for now")
	if _, err := io.ReadAll(os.Stdin); err != nil {
		t.Error(err)
	}
	if n := strings.Count(b.log.String(), "cannot accept connections"); n != 1 {
		t.Errorf("%d warnings, want one for the whole spell:\n%s", n, b.log)
	}
}

// footprint is the memory of live objects and of stacks.
func footprint() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// Sockets that announce much and send little cost little.
func TestHalfOpenConnections(t *testing.T) {
	const n = 1000
	b := start(t, func(c *appliance.Config) {
		c.Limits.MaxUnauthenticated = 2 * n
		c.Limits.ConnectTimeout = time.Minute
	})
	old := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "old"))
	for name, announced := range map[string]struct {
		header []byte
		cutOff bool
	}{
		"256 MB":                {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, true},
		"as much as is allowed": {[]byte{0x10, 0x80, 0xf0, 0x03}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := footprint()
			socks := make([]net.Conn, n)
			for i := range socks {
				nc, err := net.Dial("tcp", b.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				if _, err := nc.Write(append(announced.header, 0, 4, 'M', 'Q')); err != nil && !announced.cutOff {
					t.Fatal(err)
				}
				socks[i] = nc
			}
			if announced.cutOff {
				for _, nc := range socks {
					if err := nc.SetReadDeadline(time.Now().Add(brokertest.Patience)); err != nil {
						t.Fatal(err)
					}
					if left, err := io.ReadAll(nc); len(left) > 0 || os.IsTimeout(err) {
						t.Fatalf("sent % x, %v", left, err)
					}
				}
			} else {
				old.Ping()
				brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "new")).Disconnect()
			}
			// Both ends of the sockets are in this process.
			if after := footprint(); after > before+n*20<<10 {
				t.Errorf("memory grew from %d to %d KB, by %d bytes a socket", before>>10, after>>10, (after-before)/n)
			}
		})
	}
}

// Those who fill up the places for clients that have not said who they are
// keep nobody out for longer than the time they have for that, and nobody
// who is in notices.
func TestPlacesBeforeConnect(t *testing.T) {
	const places = 50
	b := start(t, func(c *appliance.Config) {
		c.Limits.MaxUnauthenticated = places
		c.Limits.ConnectTimeout = 500 * time.Millisecond
	})
	old := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "old"))
	refusals := b.watch("refusal")
	for range places {
		nc, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	con := brokertest.Clean(wire.V5, "new")
	brokertest.WaitFor(t, "a place for a client that says who it is", func() bool {
		nc, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(wire.AppendConnect(nil, &con)); err != nil {
			return false
		}
		first := make([]byte, 1)
		_, err = io.ReadFull(nc, first)
		return err == nil && first[0] == byte(wire.CONNACK)<<4
	})
	old.Ping()
	reasons := func(word string) (n int) {
		for _, e := range refusals.all() {
			if refusalReason(e) == word {
				n++
			}
		}
		return n
	}
	brokertest.WaitFor(t, "the refusals to be reported", func() bool { return reasons("slow_connect") == places })
	if reasons("max_unauthenticated") == 0 {
		t.Error("nobody was refused a place; the test shows nothing")
	}
}
