package systemd

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// bus is a connection to a D-Bus, of which it knows as much as it takes to read
// a few properties: method calls with an argument or two, one after the other,
// and their replies. Messages that others send are skipped.
type bus struct {
	conn   net.Conn
	r      *bufio.Reader
	serial uint32
}

const (
	destination   = "org.freedesktop.systemd1"
	maxBusMessage = 1 << 20
)

// dialBus connects to the bus at a socket; all that is done with it must be done
// by then.
func dialBus(addr string, timeout time.Duration) (*bus, error) {
	conn, err := net.DialTimeout("unix", addr, timeout)
	if err != nil {
		return nil, err
	}
	b := &bus{conn: conn, r: bufio.NewReader(conn)}
	if err := b.login(time.Now().Add(timeout)); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bus) close() { _ = b.conn.Close() }

// login says who we are, which the kernel has told the bus anyway.
func (b *bus) login(deadline time.Time) error {
	if err := b.conn.SetDeadline(deadline); err != nil {
		return err
	}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := io.WriteString(b.conn, "\x00AUTH EXTERNAL "+uid+"\r\n"); err != nil {
		return err
	}
	line, err := b.r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "OK ") {
		return fmt.Errorf("log in to the bus: %q", strings.TrimSpace(line))
	}
	if _, err := io.WriteString(b.conn, "BEGIN\r\n"); err != nil {
		return err
	}
	_, err = b.invoke("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "", nil)
	return err
}

// call calls a method of the service manager.
func (b *bus) call(path, iface, method, signature string, args func(*marshal)) (*unmarshal, error) {
	return b.invoke(destination, path, iface, method, signature, args)
}

// get reads a property of it.
func (b *bus) get(path, iface, name string) (*unmarshal, error) {
	return b.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", func(m *marshal) { m.text(iface); m.text(name) })
}

func (b *bus) invoke(dest, path, iface, method, signature string, args func(*marshal)) (*unmarshal, error) {
	b.serial++
	var body marshal
	if args != nil {
		args(&body)
	}
	m := marshal{b: []byte{'l', 1, 0, 1}} // little endian, a call, no flags, version 1
	m.u32(uint32(len(body.b)))
	m.u32(b.serial)
	var fields marshal
	field := func(code byte, kind string, put func()) {
		fields.align(8)
		fields.b = append(fields.b, code)
		fields.signature(kind)
		put()
	}
	field(1, "o", func() { fields.text(path) })
	field(2, "s", func() { fields.text(iface) })
	field(3, "s", func() { fields.text(method) })
	field(6, "s", func() { fields.text(dest) })
	if signature != "" {
		field(8, "g", func() { fields.signature(signature) })
	}
	m.u32(uint32(len(fields.b)))
	m.b = append(m.b, fields.b...)
	m.align(8)
	if _, err := b.conn.Write(append(m.b, body.b...)); err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	for range 100 { // whatever else comes
		reply, to, kind, err := b.read()
		switch {
		case err != nil:
			return nil, fmt.Errorf("call %s: %w", method, err)
		case to != b.serial:
		case kind == 3:
			return nil, fmt.Errorf("call %s: %s", method, reply.text())
		case kind == 2:
			return reply, nil
		}
	}
	return nil, fmt.Errorf("call %s: no answer", method)
}

// read reads a message: its body, to which call it replies, and its kind.
func (b *bus) read() (body *unmarshal, to uint32, kind byte, err error) {
	var head [16]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return nil, 0, 0, err
	}
	order := binary.ByteOrder(binary.LittleEndian)
	switch head[0] {
	case 'l':
	case 'B':
		order = binary.BigEndian
	default:
		return nil, 0, 0, fmt.Errorf("message begins with %#x", head[0])
	}
	size, fields := uint64(order.Uint32(head[4:])), uint64(order.Uint32(head[12:]))
	padded := (fields + 7) &^ 7
	if size+padded > maxBusMessage {
		return nil, 0, 0, errors.New("message is too long")
	}
	rest := make([]byte, padded+size)
	if _, err := io.ReadFull(b.r, rest); err != nil {
		return nil, 0, 0, err
	}
	f := &unmarshal{b: rest[:fields], order: order}
	for !f.bad && f.at < len(f.b) {
		if f.align(8); f.at >= len(f.b) {
			break
		}
		code, sig := f.u8(), f.signature()
		switch sig {
		case "u":
			if v := f.u32(); code == 5 {
				to = v
			}
		case "s", "o":
			f.text()
		case "g":
			f.signature()
		default:
			f.bad = true
		}
	}
	if f.bad {
		return nil, 0, 0, errors.New("message has a header of another form")
	}
	return &unmarshal{b: rest[padded:], order: order}, to, head[1], nil
}

// marshal writes values as D-Bus has them, little endian.
type marshal struct{ b []byte }

func (m *marshal) align(n int) {
	for len(m.b)%n != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *marshal) u32(v uint32) {
	m.align(4)
	m.b = binary.LittleEndian.AppendUint32(m.b, v)
}

func (m *marshal) text(s string) {
	m.u32(uint32(len(s)))
	m.b = append(append(m.b, s...), 0)
}

func (m *marshal) signature(s string) {
	m.b = append(m.b, byte(len(s)))
	m.b = append(append(m.b, s...), 0)
}

// unmarshal reads them. What is not there is zero, and bad says so.
type unmarshal struct {
	b     []byte
	at    int
	order binary.ByteOrder
	bad   bool
}

func (u *unmarshal) align(n int) { u.at = (u.at + n - 1) / n * n }

func (u *unmarshal) take(n int) []byte {
	if u.bad || n < 0 || u.at > len(u.b) || n > len(u.b)-u.at {
		u.bad = true
		return nil
	}
	p := u.b[u.at : u.at+n]
	u.at += n
	return p
}

func (u *unmarshal) u8() byte {
	if p := u.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (u *unmarshal) u32() uint32 {
	u.align(4)
	if p := u.take(4); p != nil {
		return u.order.Uint32(p)
	}
	return 0
}

func (u *unmarshal) text() string {
	n := u.u32()
	if n > maxBusMessage {
		u.bad = true
		return ""
	}
	s := string(u.take(int(n)))
	u.take(1)
	return s
}

func (u *unmarshal) signature() string {
	s := string(u.take(int(u.u8())))
	u.take(1)
	return s
}

func (u *unmarshal) is(signature string) {
	if u.signature() != signature {
		u.bad = true
	}
}

func (u *unmarshal) variantU32() uint32 {
	u.is("u")
	return u.u32()
}

func (u *unmarshal) variantText() string {
	u.is("s")
	return u.text()
}

// variantJob is the number and the path of a job.
func (u *unmarshal) variantJob() (uint32, string) {
	u.is("(uo)")
	u.align(8)
	return u.u32(), u.text()
}
