package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/wire"
)

// answer is what a scripted broker does about one frame: bytes to send back,
// and whether to close the connection then.
type answer func(f wire.Frame) (reply []byte, end bool)

// unread stands among the frames for a reply that the client has not waited for.
const unread wire.Type = 0

// accept is the answer of a broker that takes everything as it should.
func accept(f wire.Frame) ([]byte, bool) {
	switch f.Type {
	case wire.CONNECT:
		return wire.AppendConnack(nil, wire.V5, &wire.Connack{}), false
	case wire.PUBLISH:
		p, err := wire.DecodePublish(f, wire.V5)
		switch {
		case err != nil:
			return nil, true
		case p.QoS == 1:
			return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, wire.Success), false
		}
	case wire.SUBSCRIBE:
		s, err := wire.DecodeSubscribe(f, wire.V5)
		if err != nil {
			return nil, true
		}
		return wire.AppendSuback(nil, wire.V5, s.PacketID, make([]wire.Reason, len(s.Filters))), false
	case wire.PINGREQ:
		return wire.AppendPing(nil, wire.PINGRESP), false
	case wire.DISCONNECT:
		return nil, true
	}
	return nil, false
}

// scriptedBroker serves one connection with on until the test ends, and returns
// its address and, once the connection is over, the frames it got.
func scriptedBroker(t *testing.T, on answer) (address string, frames <-chan []wire.Type) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	got := make(chan []wire.Type, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.(*net.TCPConn).SetWriteBuffer(64 << 10) // which the kernel enlarges else
		got <- converse(conn, on)
	}()
	return l.Addr().String(), got
}

func converse(conn net.Conn, on answer) (seen []wire.Type) {
	defer conn.Close()
	var in []byte
	chunk := make([]byte, 4096)
	for {
		f, n, err := wire.Scan(in, 1<<20)
		if err != nil {
			return seen
		}
		if n == 0 {
			k, err := conn.Read(chunk)
			if err != nil {
				return seen
			}
			in = append(in, chunk[:k]...)
			continue
		}
		seen = append(seen, f.Type)
		reply, end := on(f)
		if len(reply) > 0 {
			if _, err := conn.Write(reply); err != nil {
				seen = append(seen, unread) // a client that has gone may have sent more before it went
			}
		}
		if end {
			return seen
		}
		in = in[n:]
	}
}

// instead answers frames of one type differently from accept.
func instead(t wire.Type, with answer) answer {
	return func(f wire.Frame) ([]byte, bool) {
		if f.Type == t {
			return with(f)
		}
		return accept(f)
	}
}

func TestBrokerSaysNo(t *testing.T) {
	silence := func(wire.Frame) ([]byte, bool) { return nil, false }
	hangUp := func(wire.Frame) ([]byte, bool) { return nil, true }
	refuse := func(ack wire.Type, r wire.Reason) answer {
		return func(f wire.Frame) ([]byte, bool) {
			p, _ := wire.DecodePublish(f, wire.V5)
			return wire.AppendAck(nil, ack, wire.V5, p.PacketID, r), false
		}
	}
	goodbye := func(r wire.Reason, text string) answer {
		return func(wire.Frame) ([]byte, bool) { return wire.AppendDisconnect(nil, wire.V5, r, text), true }
	}
	pub := func(flags ...string) []string { return append(append([]string{"pub"}, flags...), "t", "m") }
	sub := func(flags ...string) []string { return append(append([]string{"sub"}, flags...), "a", "b") }

	for name, tc := range map[string]struct {
		args []string
		on   answer
		code int
		want string
	}{
		"connect refused": {pub(), instead(wire.CONNECT, func(wire.Frame) ([]byte, bool) {
			return wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.NotAuthorized, ReasonString: "no\x1bway"}), true
		}), exitError, `: refused: not authorized (0x87): no\x1bway`},
		"connect unanswered": {pub("--timeout", "1s"), silence, exitUnreachable, "no answer to CONNECT within 1s"},
		"connect cut off":    {pub(), hangUp, exitUnreachable, "connection closed without an answer to CONNECT"},
		"connect answered by another": {pub(), func(wire.Frame) ([]byte, bool) {
			return []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request, and some more"), true
		}, exitError, ": the answer is no MQTT: "},
		"qos 1 refused":             {pub("-q", "1"), instead(wire.PUBLISH, refuse(wire.PUBACK, wire.QuotaExceeded)), exitError, `publish to "t": refused: quota exceeded (0x97)`},
		"qos 2 refused":             {pub("-q", "2"), instead(wire.PUBLISH, refuse(wire.PUBREC, wire.NotAuthorized)), exitError, `publish to "t": refused: not authorized (0x87)`},
		"qos 1 unanswered":          {pub("-q", "1", "--timeout", "3s"), instead(wire.PUBLISH, silence), exitError, "does not answer"},
		"qos 0 ends the connection": {pub(), instead(wire.PUBLISH, goodbye(wire.TopicNameInvalid, "not here")), exitError, "closed the connection: topic name invalid (0x90): not here"},
		"qos 1 ends the connection": {pub("-q", "1"), instead(wire.PUBLISH, goodbye(wire.PacketTooLarge, "")), exitError, "closed the connection: packet too large (0x95)"},
		"qos 0 cut off":             {pub(), instead(wire.PUBLISH, hangUp), exitError, "closed the connection without a reason"},
		"one filter refused": {sub(), instead(wire.SUBSCRIBE, func(f wire.Frame) ([]byte, bool) {
			s, _ := wire.DecodeSubscribe(f, wire.V5)
			return wire.AppendSuback(nil, wire.V5, s.PacketID, []wire.Reason{wire.Success, wire.NotAuthorized}), false
		}), exitError, `subscribe to "b": refused: not authorized (0x87)`},
		"subscribe cut off": {sub(), instead(wire.SUBSCRIBE, goodbye(wire.ServerBusy, "")), exitError, "closed the connection: server busy (0x89)"},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := scriptedBroker(t, tc.on)
			args := append([]string{tc.args[0], "--address", address}, tc.args[1:]...)
			r := edgebroker(t, args...)
			wantCode(t, r, tc.code)
			if first, _, _ := strings.Cut(r.stderr, "\n"); !strings.Contains(first, tc.want) {
				t.Errorf("stderr %q, want %q", r.stderr, tc.want)
			}
		})
	}
}

func TestPubQoS0IsReadBeforeItEnds(t *testing.T) {
	address, frames := scriptedBroker(t, accept)
	r := edgebroker(t, "pub", "--address", address, "--count", "2", "t", "m")
	wantCode(t, r, exitOK)
	got := <-frames
	want := []wire.Type{wire.CONNECT, wire.PUBLISH, wire.PUBLISH, wire.PINGREQ, wire.DISCONNECT}
	if len(got) != len(want) {
		t.Fatalf("frames %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("frames %v, want %v", got, want)
		}
	}
}

// A command ends when the broker has ended the session, which may take longer
// than to read DISCONNECT. It answers nothing any more.
func TestEndsAfterTheBroker(t *testing.T) {
	address, frames := scriptedBroker(t, instead(wire.DISCONNECT, func(wire.Frame) (late []byte, end bool) {
		for id := range uint16(512) { // more than sockets hold, and read well within partingWait
			late = wire.AppendPublish(late, &wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("t"), Payload: make([]byte, 4096)}, id+1)
		}
		return late, true
	}))
	wantCode(t, edgebroker(t, "pub", "--address", address, "--qos", "1", "t", "m"), exitOK)
	want := []wire.Type{wire.CONNECT, wire.PUBLISH, wire.DISCONNECT}
	if got := <-frames; !slices.Equal(got, want) {
		t.Errorf("frames %v, want %v", got, want)
	}
}

func TestSubAcknowledgesWhatItPrintsAndNoMore(t *testing.T) {
	address, frames := scriptedBroker(t, instead(wire.SUBSCRIBE, func(f wire.Frame) ([]byte, bool) {
		reply, _ := accept(f)
		for id := range uint16(5) {
			reply = wire.AppendPublish(reply, &wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("t"), Payload: []byte{'a' + byte(id)}}, id+1)
		}
		return reply, false
	}))
	r := edgebroker(t, "sub", "--address", address, "--qos", "1", "--count", "2", "t")
	wantCode(t, r, exitOK)
	if r.stdout != "t a\nt b\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	acks := 0
	for _, f := range <-frames {
		if f == wire.PUBACK {
			acks++
		}
	}
	if acks != 2 {
		t.Errorf("%d acknowledged, want 2", acks)
	}
}

// A gateway's name is often in no DNS: another broker, or none, is not what is missing.
func TestUnknownName(t *testing.T) {
	var out bytes.Buffer
	err := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "gateway-7"}}
	if code := report(&out, unreachableBroker("mqtts://gateway-7:8883", err)); code != exitUnreachable {
		t.Errorf("exit code %d", code)
	}
	want := "edgebroker: error: reach broker mqtts://gateway-7:8883: lookup gateway-7: no such host\n" +
		"edgebroker: hint: this machine finds no address for gateway-7: name the broker by its address, or give the name one in DNS or /etc/hosts\n"
	if out.String() != want {
		t.Errorf("it says\n%swant\n%s", out.String(), want)
	}
}

func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from file\r\nnot this"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		flags          []string
		user, password string
	}{
		"environment": {[]string{"--user", "u"}, "u", "from env"},
		"file wins":   {[]string{"--user", "u", "--password-file", file}, "u", "from file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("EDGEBROKER_PASSWORD", "from env")
			got := make(chan wire.Connect, 1)
			address, _ := scriptedBroker(t, instead(wire.CONNECT, func(f wire.Frame) ([]byte, bool) {
				c, _ := wire.DecodeConnect(f)
				got <- c
				return accept(f)
			}))
			args := append([]string{"pub", "--address", address}, tc.flags...)
			wantCode(t, edgebroker(t, append(args, "t", "m")...), exitOK)
			if c := <-got; c.Username != tc.user || string(c.Password) != tc.password {
				t.Errorf("user %q, password %q", c.Username, c.Password)
			}
		})
	}
}

func TestPubLinesEndsWithTheConnection(t *testing.T) {
	address, _ := scriptedBroker(t, instead(wire.PUBLISH, func(wire.Frame) ([]byte, bool) {
		return wire.AppendDisconnect(nil, wire.V5, wire.AdministrativeAction, ""), true
	}))
	stdin, feed, err := os.Pipe() // never closed by the writer: only the connection's end can stop it
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer feed.Close()
	if _, err := feed.WriteString("one\n"); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{program, "pub", "--address", address, "--lines", "t"}, stdin, &out, &errs)
	if code != exitError || !strings.Contains(errs.String(), "administrative action (0x98)") {
		t.Errorf("code %d, stderr %q", code, errs.String())
	}
}

func TestPubLinesInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address, _ := scriptedBroker(t, instead(wire.PUBLISH, func(f wire.Frame) ([]byte, bool) {
		cancel()
		return accept(f)
	}))
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer feed.Close()
	if _, err := feed.WriteString("one\n"); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(ctx, []string{program, "pub", "--address", address, "--lines", "t"}, stdin, &out, &errs); code != exitError || errs.String() != "edgebroker: error: interrupted\n" {
		t.Errorf("code %d, stderr %q", code, errs.String())
	}
}

// What several goroutines send over one WebSocket must not get mixed up.
func TestWholePackets(t *testing.T) {
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{{Name: "web", Type: appliance.ListenWebSocket, Address: "127.0.0.1:0"}}
	cfg.Control.Socket = filepath.Join(t.TempDir(), "s")
	b, err := appliance.New(cfg, appliance.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	cp := &paho.Connect{ClientID: "c", CleanStart: true, KeepAlive: 60}
	m, _, err := dialMQTT(t.Context(), endpoint{address: "ws://" + b.Addr("web") + "/mqtt"}, cp, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.client.Disconnect(&paho.Disconnect{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if _, err := m.pings.ping(); err != nil {
					t.Error(err)
					return
				}
				if _, err := m.client.Publish(t.Context(), &paho.Publish{Topic: "t", QoS: 1, Payload: []byte("x")}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
