package listen

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// TestConnSplitsStream sends one conversation in every possible cut and
// expects the same order of control and message frames each time.
func TestConnSplitsStream(t *testing.T) {
	con := v5("c")
	con.Will = &wire.Will{Topic: "w", Payload: []byte("x")}
	con.SessionExpiry = 60
	sub, unsub := subscribe(wire.V5, 7, "a/#"), wire.AppendUnsubscribe(nil, wire.V5, &wire.Unsubscribe{PacketID: 8, Filters: []string{"a/#"}})
	frames := [][]byte{
		connectFrame(con),
		publish(wire.V5, 1, 1, []byte("one")),
		sub,
		pingreq,
		publish(wire.V5, 0, 0, bytes.Repeat([]byte("z"), 300)),
		publish(wire.V5, 2, 2, nil),
		unsub,
		wire.AppendAck(nil, wire.PUBREL, wire.V5, 2, wire.Success),
		wire.AppendAck(nil, wire.PUBACK, wire.V5, 9, wire.Success),
		disconnect,
	}
	stream := bytes.Join(frames, nil)
	bare := v5("c")
	want := []string{
		fmt.Sprintf("control CONNECT %x", connectFrame(bare)),
		fmt.Sprintf("message PUBLISH %x", frames[1]),
		fmt.Sprintf("control SUBSCRIBE %x", sub),
		fmt.Sprintf("message PUBLISH %x", frames[4]),
		fmt.Sprintf("message PUBLISH %x", frames[5]),
		fmt.Sprintf("control UNSUBSCRIBE %x", unsub),
		fmt.Sprintf("message PUBREL %x", frames[7]),
		fmt.Sprintf("message PUBACK %x", frames[8]),
		"control DISCONNECT e000",
	}
	answers := []wire.Type{wire.CONNACK, wire.SUBACK, wire.PINGRESP, wire.UNSUBACK}

	talk := func(t *testing.T, kind string, chunks [][]byte) {
		t.Helper()
		r := newRig(t, Options{}, &fakeServer{})
		var c *client
		if kind == "pipe" {
			c = r.pipe()
		} else {
			c = r.dial(r.listen(kind))
		}
		for _, p := range chunks {
			c.send(p)
		}
		for _, want := range answers {
			if f := c.frame(); f.Type != want {
				t.Fatalf("got %v, want %v", f.Type, want)
			}
		}
		if rest := c.rest(); len(rest) > 0 {
			t.Errorf("surplus output %x", rest)
		}
		e := r.end()
		if e.word != EndNormal || e.err != nil {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
		if got := r.log.all(); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got := e.conn.Traffic(); got.PacketsIn != uint64(len(frames)) || got.BytesIn != uint64(len(stream)) || got.PacketsOut != uint64(len(answers)) {
			t.Errorf("traffic %+v", got)
		}
		if w := e.conn.Connect().Will; w == nil || w.Topic != "w" || e.conn.Connect().SessionExpiry != 60 {
			t.Errorf("CONNECT was not kept: %+v", e.conn.Connect())
		}
	}
	for _, kind := range []string{TypeTCP, TypeTLS, TypeUnix, "pipe"} {
		t.Run(kind+" joined", func(t *testing.T) { talk(t, kind, [][]byte{stream}) })
		t.Run(kind+" byte by byte", func(t *testing.T) {
			var chunks [][]byte
			for i := range stream {
				chunks = append(chunks, stream[i:i+1])
			}
			talk(t, kind, chunks)
		})
	}
	t.Run("pipe cut once", func(t *testing.T) {
		for i := 1; i < len(stream); i++ {
			talk(t, "pipe", [][]byte{stream[:i], stream[i:]})
		}
	})
}

func TestConnLargeFrames(t *testing.T) { over(t, testConnLargeFrames, TypeTCP, TypeTLS) }

func testConnLargeFrames(t *testing.T, kind string) {
	r := newRig(t, Options{Limits: Limits{MaxPacketSize: 1 << 20}}, &fakeServer{})
	c := r.dial(r.listen(kind)).connect(v311("c"))
	conn := r.conn()
	var want []string
	want = append(want, fmt.Sprintf("control CONNECT %x", connectFrame(v311("c"))))
	for _, n := range []int{1, 100, pageSize - 6, pageSize, pageSize + 1, 3*pageSize + 17, 1<<20 - 8} {
		f := publish(wire.V311, 0, 0, bytes.Repeat([]byte{byte(n)}, n))
		c.send(f, pingreq)
		want = append(want, fmt.Sprintf("message PUBLISH %x", f))
		c.frame()
	}
	c.send(disconnect)
	r.end()
	if !slices.Equal(r.log.all()[:len(want)], want) {
		t.Error("a large frame was damaged")
	}
	eventually(t, "the socket to be closed", func() bool { return r.gate.Totals().Connections == 0 })
	if conn.in.buf != nil || conn.in.page != nil {
		t.Error("the input buffer was kept")
	}
}

// TestConnHoldsNoBufferWhileServerThinks looks at the input buffer while the
// server authenticates a client that has sent more already.
func TestConnHoldsNoBufferWhileServerThinks(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	held := make(chan int, 1)
	c := r.pipe2(func(c *Conn) error {
		held <- cap(c.in.buf)
		return nil
	})
	c.send(connectFrame(v311("c")), pingreq)
	if n := await(t, held, "the server"); n > 64 {
		t.Errorf("%d bytes held", n)
	}
}

// TestInputGrowsWithArrival announces a large frame and sends little of it.
func TestInputGrowsWithArrival(t *testing.T) {
	var in input
	feed := func(p []byte) {
		for len(p) > 0 {
			n := copy(in.room(), p)
			in.w += n
			p = p[n:]
		}
	}
	feed([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3})
	in.park()
	if cap(in.buf) > 64 {
		t.Errorf("a parked beginning of 8 bytes holds %d", cap(in.buf))
	}
	in.take(8)
	if n := len(in.room()); n < pageSize/2 {
		t.Errorf("room for %d bytes when a parked beginning is used up", n)
	}
	feed(make([]byte, 8))
	total := 8
	for range 10 {
		feed(bytes.Repeat([]byte{7}, 9000))
		total += 9000
		in.park()
		if cap(in.buf) > 2*total+pageSize {
			t.Fatalf("%d bytes arrived, %d are held", total, cap(in.buf))
		}
	}
	if got := in.bytes(); len(got) != total || got[0] != 0 || got[total-1] != 7 {
		t.Error("input was damaged")
	}
	in.drop()
	if in.buf != nil {
		t.Error("drop kept a buffer")
	}
}

func TestConnRefusesConnect(t *testing.T) {
	long := v5("c")
	long.User = []wire.UserProperty{{Key: "k", Value: strings.Repeat("v", 600)}}
	long3 := v311(strings.Repeat("i", 600))
	badFlags := connectFrame(v311("c"))
	badFlags[9] |= 1
	badFlags5 := connectFrame(v5("c"))
	badFlags5[9] |= 1
	level9 := connectFrame(v311("c"))
	level9[8] = 9
	anonymous := connectFrame(v311(""))
	anonymous[9] &^= 2 // no clean session [MQTT3-3.1.3-8]
	for _, tc := range []struct {
		name   string
		in     []byte
		out    []byte
		reason string
	}{
		{"not MQTT", []byte("GET / HTTP/1.1\r\n\r\n"), nil, RefusedNotMQTT},
		{"another frame first", publish(wire.V5, 0, 0, nil), nil, RefusedNotMQTT},
		{"reserved header flags", []byte{0x11, 0}, nil, RefusedMalformed},
		{"endless length", []byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x01}, nil, RefusedMalformed},
		{"too large, version unknown yet", []byte{0x10, 0x80, 0x08}, nil, RefusedTooLarge},
		{"too large, 5", connectFrame(long), []byte{0x20, 3, 0, 0x95, 0}, RefusedTooLarge},
		{"too large, 3.1.1", connectFrame(long3), nil, RefusedTooLarge},
		{"malformed, 3.1.1", badFlags, nil, RefusedMalformed},
		{"malformed, 5", badFlags5, []byte{0x20, 3, 0, 0x81, 0}, RefusedMalformed},
		{"unknown version", level9, []byte{0x20, 2, 0, 1}, RefusedVersion},
		{"no client id for a kept session", anonymous, []byte{0x20, 2, 0, 2}, RefusedClientID},
		{"empty", []byte{0x10, 0}, nil, RefusedMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{Limits: Limits{MaxConnectSize: 512}}, &fakeServer{})
			c := r.dial(r.listen(TypeTCP)).send(tc.in)
			var got []byte
			if tc.out != nil {
				got = c.rest()
			}
			if !bytes.Equal(got, tc.out) {
				t.Errorf("answer %x, want %x", got, tc.out)
			}
			if e := r.end(); e.word != EndProtocolError || e.err == nil {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
			if got := await(t, r.refused, "refusal"); got != tc.reason {
				t.Errorf("refused with %q, want %q", got, tc.reason)
			}
			if got := r.log.all(); len(got) > 0 {
				t.Errorf("the server saw %v", got)
			}
			if n := r.gate.Totals().Refused[tc.reason]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

func TestConnRejectsFrames(t *testing.T) { over(t, testConnRejectsFrames, TypeTCP, TypeTLS) }

func testConnRejectsFrames(t *testing.T, kind string) {
	withAuth := v5("c")
	withAuth.HasAuthMethod, withAuth.AuthMethod = true, "m"
	expiring := wire.AppendDisconnectFields(nil, &wire.Disconnect{HasExpiry: true, SessionExpiry: 5})
	fail := func(err error) func(wire.Frame) error { return func(wire.Frame) error { return err } }
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		in      []byte
		receive func(wire.Frame) error
		reason  wire.Reason // Success: the connection is closed without a word
		word    string
	}{
		{name: "truncated SUBSCRIBE", in: []byte{0x82, 5, 0, 1, 0, 0, 0}, reason: wire.MalformedPacket},
		{name: "SUBSCRIBE without filters", in: []byte{0x82, 3, 0, 1, 0}, reason: wire.ProtocolError},
		{name: "truncated SUBSCRIBE, 3.1.1", connect: v311("c"), in: []byte{0x82, 3, 0, 1, 9}},
		{name: "second CONNECT", in: connectFrame(v5("d")), reason: wire.ProtocolError},
		{name: "CONNACK", in: []byte{0x20, 3, 0, 0, 0}, reason: wire.ProtocolError},
		{name: "PINGRESP", in: pingresp, reason: wire.ProtocolError},
		{name: "PINGREQ with a body", in: []byte{0xC0, 1, 0}, reason: wire.MalformedPacket},
		{name: "reserved type", in: []byte{0x00, 0}, reason: wire.MalformedPacket},
		{name: "QoS 3", in: []byte{0x36, 0}, reason: wire.MalformedPacket},
		{name: "too large", in: []byte{0x30, 0x81, 0x08}, reason: wire.PacketTooLarge},
		{name: "AUTH in 3.1.1", connect: v311("c"), in: []byte{0xF0, 0}},
		{name: "AUTH without a method", in: []byte{0xF0, 0}, reason: wire.ProtocolError},
		{name: "AUTH with another method", connect: withAuth, in: wire.AppendAuth(nil, &wire.Auth{Reason: wire.ReAuthenticate, Method: "n"}), reason: wire.ProtocolError},
		{name: "DISCONNECT that makes a session expire later", in: expiring, reason: wire.ProtocolError},
		{name: "refused message", in: publish(wire.V5, 0, 0, nil), reason: wire.TopicAliasInvalid,
			receive: fail(fmt.Errorf("wrapped: %w", &wire.Error{Reason: wire.TopicAliasInvalid}))},
		{name: "unauthorised message", in: publish(wire.V5, 0, 0, nil), reason: wire.NotAuthorized, word: EndNotAuthorized,
			receive: fail(&wire.Error{Reason: wire.NotAuthorized})},
		{name: "refused message, 3.1.1", connect: v311("c"), in: publish(wire.V311, 0, 0, nil),
			receive: fail(&wire.Error{Reason: wire.ProtocolError})},
		{name: "our fault", in: publish(wire.V5, 0, 0, nil), receive: fail(errors.New("disk on fire")),
			reason: wire.UnspecifiedError, word: EndInternalError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.connect.Version == 0 {
				tc.connect = v5("c")
			}
			if tc.word == "" {
				tc.word = EndProtocolError
			}
			r := newRig(t, Options{Limits: Limits{MaxPacketSize: 1024}}, &fakeServer{})
			r.server.receiver = func(*Conn) Receiver { return &fakeReceiver{receive: tc.receive} }
			c := r.dial(r.listen(kind)).connect(tc.connect)
			c.send(tc.in, pingreq)
			if tc.reason == wire.Success {
				if out := c.rest(); len(out) > 0 {
					t.Errorf("sent %x", out)
				}
			} else if got := c.disconnected(); got != tc.reason {
				t.Errorf("disconnected with %v, want %v", got, tc.reason)
			}
			e := r.end()
			if _, cause := e.conn.EndReason(); e.word != tc.word || cause == nil {
				t.Errorf("ended with %q, %v; want %q", e.word, cause, tc.word)
			}
			if got := r.log.all(); len(got) != 1 {
				t.Errorf("the server saw %v", got)
			}
		})
	}
}

func TestConnDisconnectKept(t *testing.T) { over(t, testConnDisconnectKept, TypeTCP, TypeTLS) }

func testConnDisconnectKept(t *testing.T, kind string) {
	for _, tc := range []struct {
		reason wire.Reason
		word   string
	}{
		{wire.Success, EndNormal},
		{wire.DisconnectWithWill, EndNormal},
		{wire.ProtocolError, EndProtocolError},
	} {
		t.Run(tc.reason.String(), func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			con := v5("c")
			con.SessionExpiry = 10
			c := r.dial(r.listen(kind)).connect(con)
			c.send(wire.AppendDisconnectFields(nil, &wire.Disconnect{Reason: tc.reason, HasExpiry: true, SessionExpiry: 99}), pingreq)
			e := r.end()
			d, ok := e.conn.Disconnect()
			if !ok || d.Reason != tc.reason || d.SessionExpiry != 99 || e.word != tc.word {
				t.Errorf("kept %+v, ended with %q", d, e.word)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		r.dial(r.listen(kind)).connect(v5("c")).Close()
		e := r.end()
		if _, ok := e.conn.Disconnect(); ok || e.word != EndTCPClosed {
			t.Errorf("ended with %q", e.word)
		}
	})
}

// TestConnNotBound has a server that goes on without binding a receiver.
func TestConnNotBound(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	r.server.receiver = func(*Conn) Receiver { return nil }
	c := r.dial(r.listen(TypeTCP)).connect(v5("c"))
	if got := c.disconnected(); got != wire.ImplementationError {
		t.Errorf("disconnected with %v", got)
	}
	if e := r.end(); e.word != EndInternalError || !errors.Is(e.err, errNotBound) {
		t.Errorf("ended with %q, %v", e.word, e.err)
	}
}

// TestConnFlushesReceiver checks that the Receiver is flushed after a batch
// and before a control frame is handed over.
func TestConnFlushesReceiver(t *testing.T) { over(t, testConnFlushesReceiver, TypeTCP, TypeTLS) }

func testConnFlushesReceiver(t *testing.T, kind string) {
	log := &journal{}
	r := newRig(t, Options{}, &fakeServer{log: log})
	r.server.receiver = func(*Conn) Receiver {
		return &fakeReceiver{log: log, flush: func() { log.add("flush") }}
	}
	c := r.dial(r.listen(kind)).connect(v311("c"))
	p, s := publish(wire.V311, 0, 0, nil), subscribe(wire.V311, 1, "a")
	c.send(p, p, s, p, disconnect)
	r.end()
	got := slices.DeleteFunc(log.all(), func(s string) bool { return strings.HasPrefix(s, "control CONNECT") })
	for len(got) > 0 && got[0] == "flush" { // before the client sent anything
		got = got[1:]
	}
	pub := fmt.Sprintf("message PUBLISH %x", p)
	want := []string{pub, pub, "flush", fmt.Sprintf("control SUBSCRIBE %x", s), pub, "flush", "control DISCONNECT e000"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
