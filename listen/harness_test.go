package listen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const patience = time.Minute // for what must happen, on a busy machine

// journal notes what happened in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// fakeReceiver notes the message frames that it is given.
type fakeReceiver struct {
	log      *journal
	receive  func(f wire.Frame) error
	writable func()
	flush    func()
}

func (r *fakeReceiver) Receive(f wire.Frame) error {
	if r.log != nil {
		r.log.add("message %v %x", f.Type, f.Raw)
	}
	if r.receive != nil {
		return r.receive(f)
	}
	return nil
}

func (r *fakeReceiver) Flush() {
	if r.flush != nil {
		r.flush()
	}
}

func (r *fakeReceiver) Writable() {
	if r.writable != nil {
		r.writable()
	}
}

// fakeServer does with a Conn what the MQTT server does: it reads single bytes
// through a small buffer, answers CONNECT and SUBSCRIBE, closes on DISCONNECT.
type fakeServer struct {
	log      *journal
	receiver func(c *Conn) Receiver
	control  func(c *Conn, f wire.Frame) error // instead of the answers below, after CONNECT
	ack      *wire.Connack                     // instead of success
	bound    func(c *Conn)
	auth     AuthStep // of every exchange, for clients that want one
	readSize int
	letsGo   bool // of a connection that is let in, to work on its control frames only: see Options.Control
}

func (s *fakeServer) establish(_ string, nc net.Conn) error {
	c := nc.(*Conn)
	defer c.Close()
	br := bufio.NewReaderSize(c, max(s.readSize, 16))
	f, err := readFrame(br)
	if err != nil {
		return fmt.Errorf("read connection: %w", err)
	}
	s.note(f)
	v := c.Version()
	ack := s.ack
	if ack == nil {
		ack = &wire.Connack{}
	}
	if s.auth != nil && c.Connect().HasAuthMethod && c.Authenticate(s.auth) != nil {
		ack = &wire.Connack{Reason: wire.NotAuthorized}
	}
	if _, err := c.Write(wire.AppendConnack(nil, v, ack)); err != nil {
		return err
	}
	if ack.Reason != wire.Success {
		return errors.New("refused by the server")
	}
	var r Receiver = &fakeReceiver{log: s.log}
	if s.receiver != nil {
		r = s.receiver(c)
	}
	c.Bind(r)
	if s.bound != nil {
		s.bound(c)
	}
	for {
		f, err := readFrame(br)
		if err != nil {
			return err
		}
		s.note(f)
		if s.control != nil {
			err = s.control(c, f)
		} else {
			err = s.answer(c, f, v)
		}
		if err != nil {
			return err
		}
		if f.Type == wire.DISCONNECT {
			return nil
		}
	}
}

// work is Options.Control.
func (s *fakeServer) work(c *Conn) error {
	br := bufio.NewReaderSize(c, max(s.readSize, 16))
	for {
		f, err := readFrame(br)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.note(f)
		if s.control != nil {
			err = s.control(c, f)
		} else {
			err = s.answer(c, f, c.Version())
		}
		if err != nil {
			return err
		}
	}
}

func (s *fakeServer) note(f wire.Frame) {
	if s.log != nil {
		s.log.add("control %v %x", f.Type, f.Raw)
	}
}

func (s *fakeServer) answer(c *Conn, f wire.Frame, v wire.Version) error {
	var err error
	switch f.Type {
	case wire.SUBSCRIBE:
		_, err = c.Write(wire.AppendSuback(nil, v, packetID(f), nil))
	case wire.UNSUBSCRIBE:
		_, err = c.Write(wire.AppendUnsuback(nil, v, packetID(f), nil))
	case wire.AUTH:
		if s.auth != nil && c.Reauthenticate(func() AuthStep { return s.auth }) != nil {
			c.Kick(wire.NotAuthorized, EndNotAuthorized)
		}
	}
	return err
}

func packetID(f wire.Frame) uint16 { return uint16(f.Body[0])<<8 | uint16(f.Body[1]) }

// readFrame reads one whole frame, byte by byte up to its length.
func readFrame(r *bufio.Reader) (wire.Frame, error) {
	var raw []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return wire.Frame{}, err
		}
		raw = append(raw, b)
		n, ok := wire.FrameSize(raw)
		if !ok {
			continue
		}
		rest := make([]byte, n-len(raw))
		if _, err := io.ReadFull(r, rest); err != nil {
			return wire.Frame{}, err
		}
		f, n, err := wire.Scan(append(raw, rest...), 0)
		if err != nil || n == 0 {
			return f, fmt.Errorf("frame %x: %w", raw, err)
		}
		return f, nil
	}
}

// ended is one call of OnEnd.
type ended struct {
	conn *Conn
	word string
	err  error
}

// rig is a gate with listeners whose connections a fake server handles.
type rig struct {
	testing.TB
	gate    *Gate
	server  *fakeServer
	log     *journal
	ends    chan ended
	refused chan string
	conns   chan *Conn // bound ones
	cert    tls.Certificate
}

func newRig(t testing.TB, o Options, s *fakeServer) *rig {
	t.Helper()
	r := &rig{TB: t, server: s, log: &journal{}, ends: make(chan ended, 4096),
		refused: make(chan string, 4096), conns: make(chan *Conn, 4096)}
	if s.log == nil {
		s.log = r.log
	}
	if s.bound == nil {
		s.bound = func(c *Conn) { r.conns <- c }
	}
	if o.OnEnd == nil {
		o.OnEnd = func(c *Conn, err error) {
			word, _ := c.EndReason()
			r.ends <- ended{c, word, err}
		}
	}
	o.OnRefuse = func(_, _, reason string) { r.refused <- reason }
	if s.letsGo {
		o.Control = s.work
	}
	r.gate = NewGate(o)
	return r
}

// listen starts a listener of the given type.
func (r *rig) listen(kind string) *Listener {
	r.Helper()
	cfg := Config{ID: kind, Type: kind, Address: "127.0.0.1:0"}
	switch kind {
	case TypeUnix:
		cfg.Address = filepath.Join(r.TempDir(), "s")
	case TypeTLS, TypeWebSocketTLS:
		cfg.TLS, _ = r.tlsConfigs()
	}
	return r.start(cfg)
}

// start starts a listener.
func (r *rig) start(cfg Config) *Listener {
	r.Helper()
	l := New(cfg, r.gate)
	if err := l.Init(nil); err != nil {
		r.Fatal(err)
	}
	go l.Serve(r.server.establish)
	r.Cleanup(func() {
		l.Close(nil)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
			r.Error(err)
		}
	})
	return l
}

func (r *rig) dial(l *Listener) *client {
	r.Helper()
	network := "tcp"
	switch l.Protocol() {
	case TypeTLS, TypeWebSocketTLS:
		return r.dialTLS(l, nil)
	case TypeUnix:
		network = TypeUnix
	}
	nc, err := net.Dial(network, l.Address())
	if err != nil {
		r.Fatal(err)
	}
	return newClient(r.TB, nc)
}

// admit makes a connection of nc as a listener called "pipe" would.
func (r *rig) admit(nc net.Conn) *Conn { return admit(r.gate, nc) }

func admit(g *Gate, nc net.Conn) *Conn {
	return g.admit(New(Config{ID: "pipe"}, g), new(Policy), nc)
}

// pipe connects a client without a listener.
func (r *rig) pipe() *client {
	ours, theirs := net.Pipe()
	if c := r.admit(ours); c != nil {
		go c.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
	}
	return newClient(r.TB, theirs)
}

func (r *rig) end() ended {
	r.Helper()
	return await(r.TB, r.ends, "end of a connection")
}

func (r *rig) conn() *Conn {
	r.Helper()
	return await(r.TB, r.conns, "a bound connection")
}

func await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// eventually polls for what no channel tells.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look, end := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer end.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-end.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// client is the far end of a connection.
type client struct {
	testing.TB
	net.Conn
	br *bufio.Reader
	v  wire.Version
}

func newClient(t testing.TB, nc net.Conn) *client {
	t.Cleanup(func() { nc.Close() })
	return &client{TB: t, Conn: nc, br: bufio.NewReader(nc)}
}

func (c *client) send(parts ...[]byte) *client {
	c.Helper()
	if _, err := c.Write(bytes.Join(parts, nil)); err != nil {
		c.Fatalf("send: %v", err)
	}
	return c
}

// connect sends CONNECT and reads the CONNACK.
func (c *client) connect(con wire.Connect) *client {
	c.Helper()
	c.v = con.Version
	c.send(connectFrame(con))
	if f := c.frame(); f.Type != wire.CONNACK {
		c.Fatalf("got %v instead of CONNACK", f.Type)
	}
	return c
}

func (c *client) frame() wire.Frame {
	c.Helper()
	f, err := readFrame(c.br)
	if err != nil {
		c.Fatalf("read: %v", err)
	}
	return f
}

// rest reads until the peer closes.
func (c *client) rest() []byte {
	c.Helper()
	b, err := io.ReadAll(c.br)
	if err != nil {
		c.Fatalf("read to the end: %v", err)
	}
	return b
}

// disconnected reads the DISCONNECT that must be all that is left.
func (c *client) disconnected() wire.Reason {
	c.Helper()
	raw := c.rest()
	f, n, err := wire.Scan(raw, 0)
	if err != nil || n != len(raw) || f.Type != wire.DISCONNECT {
		c.Fatalf("got %x (%v) instead of one DISCONNECT", raw, err)
	}
	d, err := wire.DecodeDisconnect(f, wire.V5)
	if err != nil {
		c.Fatal(err)
	}
	return d.Reason
}

func connectFrame(con wire.Connect) []byte {
	if con.ReceiveMaximum == 0 {
		con.ReceiveMaximum = 65535
	}
	con.RequestProblemInfo = true
	return wire.AppendConnect(nil, &con)
}

func v5(id string) wire.Connect {
	return wire.Connect{Version: wire.V5, CleanStart: true, ClientID: id}
}

func v311(id string) wire.Connect {
	return wire.Connect{Version: wire.V311, CleanStart: true, ClientID: id}
}

func publish(v wire.Version, qos byte, id uint16, payload []byte) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: v, QoS: qos, Topic: []byte("t"), Payload: payload}, id)
}

func subscribe(v wire.Version, id uint16, filters ...string) []byte {
	s := wire.Subscribe{PacketID: id}
	for _, f := range filters {
		s.Filters = append(s.Filters, wire.Filter{Filter: f})
	}
	return wire.AppendSubscribe(nil, v, &s)
}

var (
	pingreq    = []byte{0xC0, 0}
	pingresp   = []byte{0xD0, 0}
	disconnect = []byte{0xE0, 0}
)
