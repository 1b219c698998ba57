package listen

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// fakeTapper notes what its taps are told.
type fakeTapper struct {
	journal
	want func(client string) bool

	mu   sync.Mutex
	sent []byte
	asks []string
	done chan string // the end of each connection
}

func newFakeTapper(want func(client string) bool) *fakeTapper {
	return &fakeTapper{want: want, done: make(chan string, 64)}
}

func (t *fakeTapper) Tap(c *Conn, client string, before int) Tap {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asks = append(t.asks, client)
	if !t.want(client) {
		return nil
	}
	t.add("tap %q %d", client, before)
	return fakeTap{t}
}

type fakeTap struct{ t *fakeTapper }

func (f fakeTap) Received(fr wire.Frame) { f.t.add("in %v %x", fr.Type, fr.Raw) }

func (f fakeTap) Broken(input []byte, err error) { f.t.add("broken %x %v", input, err) }

func (f fakeTap) Sent(head, body []byte, _ int) {
	raw := slices.Concat(head, body)
	fr, n, err := wire.Scan(raw, 0)
	if err != nil || n != len(raw) {
		f.t.add("not a packet: %x", raw)
		return
	}
	f.t.mu.Lock()
	f.t.sent = append(f.t.sent, raw...)
	f.t.mu.Unlock()
	f.t.add("out %v %x", fr.Type, raw)
}

func (f fakeTap) Ended(word string, err error, unread, unsent int) {
	f.t.add("end %s %d %d", word, unread, unsent)
	f.t.done <- fmt.Sprint(err)
}

func (t *fakeTapper) taken() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.sent)
}

func of(id string) func(string) bool { return func(client string) bool { return client == id } }

// TestTapEveryListener traces a client from its CONNECT to its end, over every
// kind of socket, and one that is there already.
func TestTapEveryListener(t *testing.T) {
	for _, kind := range []string{TypeTCP, TypeUnix, TypeTLS} {
		t.Run(kind, func(t *testing.T) {
			s := &fakeServer{receiver: func(c *Conn) Receiver {
				return &fakeReceiver{receive: func(f wire.Frame) error { // what comes goes back, whole or in two parts
					if len(f.Raw) > 4 {
						c.SendShared(f.Raw[:4], bytes.Clone(f.Raw[4:]))
					} else {
						c.Send(f.Raw)
					}
					return nil
				}}
			}}
			r := newRig(t, Options{}, s)
			l := r.listen(kind)
			tapper := newFakeTapper(of("x"))
			remove := r.gate.Tap(tapper)
			other := r.dial(l).connect(v5("other"))
			c := r.dial(l).connect(v5("x"))
			big := publish(wire.V5, 0, 0, bytes.Repeat([]byte("p"), 100_000))
			c.send(publish(wire.V5, 1, 7, []byte("hi")), big, pingreq)
			var back []byte
			for range 3 {
				back = append(back, c.frame().Raw...)
			}
			c.send(disconnect)
			await(t, tapper.done, "the end")
			con := connectFrame(v5("x"))
			ack := wire.AppendConnack(nil, wire.V5, &wire.Connack{})
			want := []string{`tap "x" 0`, fmt.Sprintf("in CONNECT %x", con), fmt.Sprintf("out CONNACK %x", ack),
				fmt.Sprintf("in PUBLISH %x", publish(wire.V5, 1, 7, []byte("hi"))), fmt.Sprintf("out PUBLISH %x", publish(wire.V5, 1, 7, []byte("hi"))),
				fmt.Sprintf("in PUBLISH %x", big), fmt.Sprintf("out PUBLISH %x", big), "in PINGREQ c000", "out PINGRESP d000",
				"in DISCONNECT e000", "end normal 0 0"}
			if got := tapper.all(); !slices.Equal(got, want) {
				t.Errorf("got %.200q\nwant %.200q", got, want)
			}
			if got := tapper.taken(); !bytes.Equal(got, append(ack, back...)) {
				t.Errorf("the client has read something else than what was traced")
			}
			remove()
			other.send(pingreq).frame()
			if n := len(tapper.all()); n != len(want) {
				t.Errorf("after the end of the trace: %q", tapper.all()[len(want):])
			}
			if r.gate.tappers.Load() != nil {
				t.Error("the gate still knows the tapper")
			}
		})
	}
}

// TestTapInTheMiddle starts to trace at any moment of a conversation: what is
// traced begins and ends at packets in both directions, and is the rest of what
// the client has read, without a gap.
func TestTapInTheMiddle(t *testing.T) {
	s := &fakeServer{receiver: func(c *Conn) Receiver {
		return &fakeReceiver{receive: func(f wire.Frame) error { c.Send(f.Raw); return nil }, flush: c.Flush}
	}}
	r := newRig(t, Options{}, s)
	l := r.listen(TypeTCP)
	c := r.dial(l).connect(v311("x"))
	var read []byte
	for i := range 20 {
		tapper := newFakeTapper(of("x"))
		joined := make(chan func())
		go func() { joined <- r.gate.Tap(tapper) }()
		var sent [][]byte
		for n := range 50 {
			sent = append(sent, publish(wire.V311, 1, uint16(1+i*50+n), bytes.Repeat([]byte("x"), n)))
		}
		all := bytes.Join(sent, nil)
		cut := (i * 97) % len(all)
		c.send(all[:cut])
		c.send(all[cut:])
		read = read[:0]
		for range sent {
			read = append(read, c.frame().Raw...)
		}
		remove := await(t, joined, "the tap")
		c.send(pingreq)
		read = append(read, c.frame().Raw...)
		remove()
		if got := tapper.taken(); !bytes.HasSuffix(read, got) || len(got) < 2 {
			t.Fatalf("traced %x\nread   %x", got, read)
		}
		ins := 0
		for _, line := range tapper.all() {
			if strings.HasPrefix(line, "not a") || strings.HasPrefix(line, "broken") {
				t.Fatal(line)
			}
			if strings.HasPrefix(line, "in ") {
				ins++
			}
		}
		if ins == 0 {
			t.Fatal("nothing came in")
		}
	}
}

// TestTapAnySplit sends the same bytes in pieces of any size: the trace is the
// same.
func TestTapAnySplit(t *testing.T) {
	var all []byte
	for _, p := range [][]byte{connectFrame(v5("x")), subscribe(wire.V5, 1, "a", "b/#"), publish(wire.V5, 2, 2, []byte("payload")), pingreq,
		wire.AppendAck(nil, wire.PUBREL, wire.V5, 2, 0), publish(wire.V5, 0, 0, bytes.Repeat([]byte("z"), 300)), {0x36, 0, 0}} {
		all = append(all, p...)
	}
	run := func(t testing.TB, pieces [][]byte) []string {
		r := newRig(t, Options{}, &fakeServer{})
		tapper := newFakeTapper(of("x"))
		defer r.gate.Tap(tapper)()
		ours, theirs := net.Pipe()
		c := r.admit(ours)
		go c.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
		go func() {
			for _, p := range pieces {
				_, _ = theirs.Write(p) // it is closed in the end
			}
		}()
		go func() {
			p := make([]byte, 512)
			for {
				if _, err := theirs.Read(p); err != nil {
					return
				}
			}
		}()
		await(t, tapper.done, "the end")
		_ = theirs.Close()
		return tapper.all()
	}
	// How much there is of what is broken is a matter of the pieces.
	normal := func(lines []string) []string {
		for i, l := range lines {
			if strings.HasPrefix(l, "broken ") {
				f := strings.SplitN(l, " ", 3)
				lines[i] = "broken " + f[1][:2] + " " + f[2]
			} else if strings.HasPrefix(l, "end ") {
				lines[i] = strings.Join(strings.Fields(l)[:2], " ")
			}
		}
		return lines
	}
	want := normal(run(t, [][]byte{all}))
	if len(want) < 12 || !strings.HasPrefix(want[len(want)-2], "out DISCONNECT") || !strings.HasPrefix(want[len(want)-3], "broken 36 ") {
		t.Fatalf("%q", want)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var pieces [][]byte
		for rest := all; len(rest) > 0; {
			n := min(rapid.IntRange(1, 40).Draw(rt, "size"), len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		if got := normal(run(t, pieces)); !slices.Equal(got, want) {
			rt.Fatalf("got %q\nwant %q", got, want)
		}
	})
}

// TestTapRefused traces clients that do not get in.
func TestTapRefused(t *testing.T) {
	malformed := connectFrame(v5("x"))
	malformed[len(malformed)-3] = 9 // the client id seems to be longer
	noID := connectFrame(v311(""))
	noID[9] = 0 // no clean session
	for name, c := range map[string]struct {
		send []byte
		ack  *wire.Connack
		want []string // the beginnings of lines, in order
	}{
		"by the server":  {connectFrame(v5("x")), &wire.Connack{Reason: wire.NotAuthorized}, []string{"in CONNECT", "out CONNACK 20030087", "end "}},
		"malformed":      {malformed, nil, []string{"in CONNECT", "broken  read", "out CONNACK", "end protocol_error"}},
		"without an id":  {noID, nil, []string{"in CONNECT", "broken  client", "out CONNACK 20020002", "end protocol_error"}},
		"HTTP":           {[]byte("GET / HTTP/1.1\r\n\r\n"), nil, []string{"broken 474554", "end protocol_error"}},
		"TLS":            {[]byte{0x16, 3, 1, 0, 4, 1, 0, 0, 0}, nil, []string{"broken 1603", "end protocol_error"}},
		"no end of size": {[]byte{0x10, 0xFF, 0xFF, 0xFF, 0xFF, 1}, nil, []string{"broken 10ff", "end protocol_error"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{ack: c.ack})
			l := r.listen(TypeTCP)
			tapper := newFakeTapper(func(string) bool { return true })
			defer r.gate.Tap(tapper)()
			cl := r.dial(l)
			cl.send(c.send)
			await(t, tapper.done, "the end")
			lines := tapper.all()[1:]
			if len(lines) != len(c.want) {
				t.Fatalf("%q", lines)
			}
			for i, want := range c.want {
				if want = strings.Replace(want, "  read", "", 1); !strings.HasPrefix(lines[i], strings.Replace(want, "  client", "", 1)) {
					t.Errorf("%q, want %q", lines[i], want)
				}
			}
		})
	}
}

// TestTapKnowsTheIDOfBrokenConnects is for who traces a client whose CONNECT is
// not accepted.
func TestTapKnowsTheIDOfBrokenConnects(t *testing.T) {
	con := v5("x")
	con.HasUsername, con.Username = true, "u"
	raw := connectFrame(con)
	raw[len(raw)-1] = 0xFF // the user name is not UTF-8
	r := newRig(t, Options{}, &fakeServer{})
	tapper := newFakeTapper(of("x"))
	defer r.gate.Tap(tapper)()
	r.dial(r.listen(TypeTCP)).send(raw)
	await(t, tapper.done, "the end")
	if lines := tapper.all(); len(lines) < 4 || !strings.HasPrefix(lines[1], "in CONNECT") {
		t.Errorf("%q", lines)
	}
}

// panicking is a tap that panics whatever it is told.
type panicking struct{}

func (p panicking) Tap(*Conn, string, int) Tap  { return p }
func (panicking) Received(wire.Frame)           { panic("received") }
func (panicking) Broken([]byte, error)          { panic("broken") }
func (panicking) Sent([]byte, []byte, int)      { panic("sent") }
func (panicking) Ended(string, error, int, int) { panic("ended") }

// TestTapThatPanics costs the connection nothing, and the other tap neither.
func TestTapThatPanics(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTCP)
	defer r.gate.Tap(panicking{})()
	tapper := newFakeTapper(of("x"))
	defer r.gate.Tap(tapper)()
	c := r.dial(l).connect(v5("x"))
	c.send(pingreq).frame()
	c.send([]byte{0xC1, 0}) // is broken, so that the connection is kicked
	if reason := c.disconnected(); reason != wire.MalformedPacket {
		t.Error(reason)
	}
	await(t, tapper.done, "the end")
	if n := len(tapper.all()); n != 8 {
		t.Errorf("%q", tapper.all())
	}
}

// TestTapsComeAndGo taps and untaps while many send and connections come and
// go. It is for the race detector.
func TestTapsComeAndGo(t *testing.T) {
	s := &fakeServer{receiver: func(c *Conn) Receiver {
		return &fakeReceiver{receive: func(f wire.Frame) error { c.Send(f.Raw); return nil }, flush: c.Flush}
	}}
	r := newRig(t, Options{}, s)
	l := r.listen(TypeTCP)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tapper := newFakeTapper(of("x"))
				remove := r.gate.Tap(tapper)
				remove()
				for _, line := range tapper.all() {
					if strings.HasPrefix(line, "not a") {
						t.Error(line)
					}
				}
			}
		})
	}
	for range 20 {
		c := r.dial(l).connect(v311("x"))
		for range 20 {
			c.send(publish(wire.V311, 0, 0, []byte("y")), pingreq)
			c.frame()
			c.frame()
		}
		c.send(disconnect)
	}
	close(stop)
	running.Wait()
}

// TestTapUnsent tells what a client that reads nothing has not got.
func TestTapUnsent(t *testing.T) {
	r := newRig(t, Options{SocketBuffer: 4 << 10}, &fakeServer{})
	l := r.listen(TypeTCP)
	tapper := newFakeTapper(of("x"))
	defer r.gate.Tap(tapper)()
	c := r.dial(l).connect(v311("x"))
	conn := r.conn()
	body := bytes.Repeat([]byte("b"), 4<<20)
	conn.SendShared(wire.AppendPublishHead(nil, &wire.Out{Version: wire.V311, Topic: []byte("t"), Payload: body}, 0), body)
	conn.Flush()
	_ = c.Close()
	err := await(t, tapper.done, "the end")
	last := tapper.all()[len(tapper.all())-1]
	var word string
	var unread, unsent int
	if _, scanErr := fmt.Sscanf(last, "end %s %d %d", &word, &unread, &unsent); scanErr != nil || unsent == 0 || unsent > 4<<20+64 {
		t.Errorf("%q (%s)", last, err)
	}
}
