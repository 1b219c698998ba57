package bench

import (
	"bufio"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets this binary be a broker for TestFindBroker: a process that
// listens at the address in the environment until its input ends.
func TestMain(m *testing.M) {
	if where := os.Getenv("BENCH_TEST_LISTEN"); where != "" {
		listenUntilInputEnds(where)
		return
	}
	os.Exit(m.Run())
}

func TestFindBroker(t *testing.T) {
	for _, where := range []string{"tcp 127.0.0.1:0", "tcp :0", "tcp [::1]:0", "unix " + filepath.Join(t.TempDir(), "s")} {
		t.Run(strings.Fields(where)[0], func(t *testing.T) {
			address, pid := otherProcess(t, where)
			got, err := FindBroker(t.Context(), address)
			if err != nil || got != pid {
				t.Errorf("%s: process %d instead of %d, %v", address, got, pid, err)
			}
		})
	}
}

// otherProcess listens in a process of its own. It skips the test where the
// machine has no such address.
func otherProcess(t *testing.T, where string) (address string, pid int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "BENCH_TEST_LISTEN="+where)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Skipf("%s: nobody can listen here", where)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

func TestFindBrokerFails(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:1":        "nobody listens",
		"192.0.2.1:1883":     "is not this machine",
		"127.0.0.1":          "has no port",
		"unix:/nowhere/sock": "nobody listens",
	} {
		if pid, err := FindBroker(t.Context(), address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d, %v", address, pid, err)
		}
	}
}

func TestTCPListeners(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 11 1 0 100 0 0 10 0
   1: 0200007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 12 1 0 100 0 0 10 0
   2: 00000000:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 13 1 0 100 0 0 10 0
   3: 0100007F:075B 0100007F:9999 01 00000000:00000000 00:00000000 00000000   100        0 14 1 0 100 0 0 10 0
   4: 0100007F:075C 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 15 1 0 100 0 0 10 0
   5: 00000000000000000000000001000000:075B 00000000000000000000000000000000:0000 0A 0:0 0:0 0 100 0 16 1
   6: 0000000000000000FFFF00000100007F:075B 00000000000000000000000000000000:0000 0A 0:0 0:0 0 100 0 17 1
   7: broken
   8: zz:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 18 1
`
	ip := netip.MustParseAddr
	for _, tt := range []struct {
		ips  []netip.Addr
		port uint16
		want []string
	}{
		{[]netip.Addr{ip("127.0.0.1")}, 1883, []string{"11", "13", "17"}},
		{[]netip.Addr{ip("::ffff:127.0.0.2")}, 1883, []string{"12", "13"}},
		{[]netip.Addr{ip("::1")}, 1883, []string{"13", "16"}},
		{[]netip.Addr{ip("127.0.0.1")}, 1884, []string{"15"}},
		{[]netip.Addr{ip("127.0.0.1")}, 1, nil},
	} {
		if got := tcpListeners([]byte(table), tt.ips, tt.port); !slices.Equal(got, tt.want) {
			t.Errorf("%v:%d: %v instead of %v", tt.ips, tt.port, got, tt.want)
		}
	}
}

func TestUnixListeners(t *testing.T) {
	const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 21 /run/mqtt.sock
0000000000000000: 00000003 00000000 00000000 0001 03 22 /run/mqtt.sock
0000000000000000: 00000002 00000000 00010000 0001 01 23 /run/mqtt.sock2
0000000000000000: 00000003 00000000 00000000 0001 03 24
`
	if got := unixListeners([]byte(table), "/run/mqtt.sock"); !slices.Equal(got, []string{"21"}) {
		t.Errorf("got %v", got)
	}
}
