package bench

import (
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

func TestOnLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1883": true, "127.9.9.9:1883": true, "localhost:1883": true, "mqtts://127.0.0.1:8883": true, "ws://localhost:80/mqtt": true,
		"10.0.0.1:1883": false, "gateway:1883": false, "[::1]:1883": false, "unix:/run/mqtt": false, "unix:127.0.0.1:1": false, "": false, "127.0.0.1": false,
	} {
		if got := onLoopback(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestSourcesFor(t *testing.T) {
	few := ephemeralPorts() / 2
	many := ephemeralPorts() * 3
	for _, tt := range []struct {
		address     string
		connections int
		least, most int
	}{
		{"127.0.0.1:1883", few, 1, 1},
		{"127.0.0.1:1883", many, 4, 5},
		{"10.0.0.1:1883", few, 1, 1},
		{"unix:/run/x", many, 1, 1},
	} {
		if n, err := sourcesFor(tt.address, tt.connections); err != nil || n < tt.least || n > tt.most {
			t.Errorf("%d to %s: %d sources, %v", tt.connections, tt.address, n, err)
		}
	}
	if _, err := sourcesFor("10.0.0.1:1883", many); err == nil || !strings.Contains(err.Error(), "ip_local_port_range") {
		t.Errorf("got %v", err)
	}
}

// Connections come from all local addresses in turn, and arrive.
func TestDialerTakesTurns(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	seen := make(chan string, 8)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			seen <- nc.RemoteAddr().(*net.TCPAddr).IP.String()
			buf := make([]byte, 100)
			_, _ = nc.Read(buf)
			_, _ = nc.Write(wire.AppendConnack(nil, wire.V311, &wire.Connack{}))
			defer nc.Close()
		}
	}()
	o := Options{Address: ln.Addr().String(), Scenario: Idle}.withDefaults()
	d, err := newDialer(&o, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.sources = append(d.sources, sourcesFrom(2, 2)...)
	var from []string
	for range 6 {
		c, err := d.connect(t.Context(), "x", session{})
		if err != nil {
			t.Fatal(err)
		}
		from = append(from, <-seen)
		c.close()
	}
	slices.Sort(from)
	if want := []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"}; !slices.Equal(from, want) {
		t.Errorf("connections came from %v", from)
	}
}

func TestAllowFiles(t *testing.T) {
	if err := allowFiles(10); err != nil {
		t.Error(err)
	}
	err := allowFiles(math.MaxInt32) // more than any kernel takes
	if !errors.Is(err, errTooManyFiles) || !strings.Contains(err.Error(), "ulimit") {
		t.Errorf("got %v", err)
	}
}

func TestPortsOf(t *testing.T) {
	for text, want := range map[string]int{"32768\t60999\n": 28232, "1 1": 1, "": 7, "1": 7, "5 4": 7, "a b": 7, "1 2 3": 7} {
		if got := portsOf([]byte(text), 7); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// Every message of a publisher belongs to exactly those who are to hear it, and
// positions say of each number whether all that concern a hearer have arrived.
func TestStreamNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stride := rapid.Uint64Range(1, 20).Draw(t, "stride")
		st := stream{hearing: hearing{offset: rapid.Uint64Range(0, stride-1).Draw(t, "offset"), stride: stride}}
		sent := rapid.Uint64Range(0, 200).Draw(t, "sent")
		var want uint64
		for n := range sent {
			if n%stride == st.offset {
				want++
			}
		}
		if got := st.expects(sent); got != want {
			t.Fatalf("%d of %d instead of %d", got, sent, want)
		}
		if at := want*stride + st.offset; at < sent {
			t.Fatalf("after %d messages the position is %d: %d are never reached", want, at, sent)
		}
		if want > 0 {
			if at := (want-1)*stride + st.offset; at >= sent {
				t.Fatalf("the position %d passes %d before the last message", at, sent)
			}
		}
	})
}
