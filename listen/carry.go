package listen

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/wire"
)

// Carried is what another process needs to go on with a connection, beside its
// descriptor.
type Carried struct {
	Listener  string
	Origin    *CarriedOrigin // nil: the peer speaks for itself
	Age       time.Duration  // since it was accepted
	Silence   time.Duration  // since a frame of it came
	MaxPacket int
	ID        string
	Username  *string // see Conn.SetUsername
	Connect   []byte  // CONNECT, without password; nil: none has come yet
	Input     []byte  // read and not dealt with
	Output    []byte  // not written
	Traffic   Traffic
	Gone      bool // it has ended since, and nobody knows yet
}

// CarriedOrigin is what a PROXY header has said.
type CarriedOrigin struct {
	Remote, Local string // host:port
	Name          string
}

// Carry returns what another process needs of a connection that Freeze has
// stopped, and around which there is a Dam. early is input that comes before
// what the connection holds. An error means that it cannot be carried.
func (c *Conn) Carry(early []byte) (*Carried, error) {
	k := &Carried{Listener: c.Listener(), Age: time.Since(c.connected), MaxPacket: c.maxPacket, ID: c.ID(), Username: c.username, Traffic: c.Traffic()}
	if o := c.origin.Load(); o != nil {
		k.Origin = &CarriedOrigin{o.remote.String(), o.local.String(), o.name}
	}
	k.Silence = min(k.Age, time.Duration(c.gate.wheel.tick()-c.lastSeen.Load())*tick)
	k.Input = append(append(k.Input, early...), c.in.bytes()...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if con := c.connect.Load(); con != nil {
		if !c.connack || c.recv == nil {
			return nil, errors.New("it has not been let in yet")
		}
		k.Connect = wire.AppendConnect(nil, carriedConnect(con, c.ID()))
	}
	k.Gone = c.closed.Load() || c.out.dead
	for b := c.out.head; b != nil; b = b.next {
		for _, v := range b.vecs[b.at:] {
			k.Output = append(k.Output, v...)
		}
	}
	return k, nil
}

// carriedConnect is con without what is a secret, or over.
func carriedConnect(con *wire.Connect, id string) *wire.Connect {
	s := *con
	s.ClientID = id
	s.HasPassword, s.Password, s.AuthData = false, nil, nil
	return &s
}

// adoption is what a connection that another process has begun needs until it is
// on its way.
type adoption struct {
	heard time.Time
	under chan struct{}   // closed when it is
	begin <-chan struct{} // closed when its client may be read
	begun bool

	patience time.Duration // see wheel.add; known when the server has said CONNACK
}

// Adopt goes on with a connection that another process has carried, elapsed ago.
// It hands it to establish, as it would a new one, except that the server's
// CONNACK stays here, and returns at once; note is its Note. Limits do not count
// for it. Nothing is read before begin is closed: by then all should be
// underway, so that what one sends finds the others.
func (l *Listener) Adopt(nc net.Conn, k *Carried, elapsed time.Duration, note any, begin <-chan struct{}, establish func(*Conn) error) (*Conn, error) {
	var con *wire.Connect
	if k.Connect != nil {
		f, n, err := wire.Scan(k.Connect, 0)
		if err == nil && n != len(k.Connect) {
			err = fmt.Errorf("%d of %d bytes are a packet", n, len(k.Connect))
		}
		if err != nil {
			return nil, fmt.Errorf("carried CONNECT: %w", err)
		}
		d, err := wire.DecodeConnect(f)
		if err != nil {
			return nil, fmt.Errorf("carried CONNECT: %w", err)
		}
		con = &d
	}
	c := newConn(l, l.policy.Load(), nc)
	c.maxPacket, c.username, c.Note = k.MaxPacket, k.Username, note
	c.connected = time.Now().Add(-k.Age - elapsed)
	if k.Origin != nil {
		c.proxied = true
		c.origin.Store(&origin{remote: carriedAddr(k.Origin.Remote), local: carriedAddr(k.Origin.Local), name: k.Origin.Name})
	}
	if len(k.Input) > 0 {
		c.in = input{buf: k.Input, w: len(k.Input)}
	}
	c.bytesIn.Store(k.Traffic.BytesIn)
	c.packetsIn.Store(k.Traffic.PacketsIn)
	c.out.packets, c.out.bytes = k.Traffic.PacketsOut, k.Traffic.BytesOut
	if con != nil {
		c.adopted = &adoption{heard: time.Now().Add(-k.Silence - elapsed), under: make(chan struct{}), begin: begin}
		c.SetID(k.ID)
		c.connect.Store(con)
		server := stripped(con)
		server.ClientID = k.ID // also the one that was assigned
		c.control = wire.AppendConnect(nil, server)
		c.connectSize = len(k.Connect)
		if held := int64(max(0, c.connectSize+len(con.User)*userCost-smallConnect)); held > 0 { // whatever the limit
			c.gate.connects.Add(held)
			c.connectHeld = held
		}
	}
	if len(k.Output) > 0 {
		c.out.append(k.Output)
		c.out.behind = c.out.packets - 1
	}
	l.gate.adopt(c, k.Traffic)
	go c.serve(establish)
	return c, nil
}

func carriedAddr(s string) net.Addr {
	if a, err := net.ResolveTCPAddr("tcp", s); err == nil { // it is an address, no name
		return a
	}
	return &net.UnixAddr{Name: s, Net: "unix"}
}

// adopt makes c one of the gate's.
func (g *Gate) adopt(c *Conn, before Traffic) {
	from := peer.Network(peer.Address(c.RemoteAddr()))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
	c.strange = g.strange.PushBack(c)
	c.at.load.open++
	g.countLocked(c, from)
	g.unauth++
	g.maximum = max(g.maximum, len(g.conns))
	g.past.subtract(before) // it was not this process's; sums may wrap on the way
}

func (t *Traffic) subtract(o Traffic) {
	t.BytesIn -= o.BytesIn
	t.BytesOut -= o.BytesOut
	t.PacketsIn -= o.PacketsIn
	t.PacketsOut -= o.PacketsOut
}

// Adopted reports whether another process has begun the connection.
func (c *Conn) Adopted() bool { return c.adopted != nil }

// Underway returns a channel that is closed when a connection that was adopted
// can be read again; Done may be closed before. Nil for others.
func (c *Conn) Underway() <-chan struct{} {
	if c.adopted == nil {
		return nil
	}
	return c.adopted.under
}

// underway notes that an adopted connection can be read again, and waits until it
// may be. For its reader.
func (c *Conn) underway() {
	if a := c.adopted; a != nil && !a.begun {
		a.begun = true
		close(a.under)
		<-a.begin
		c.gate.wheel.addHeard(&c.alive, a.patience, time.Since(a.heard)) // not before: what it has sent could not be heard
	}
}

// goOn takes the place of CONNACK, which the client has had.
func (c *Conn) goOn(keepAlive time.Duration) error {
	c.mu.Lock()
	ok := !c.closed.Load() && !c.out.dead
	c.connack = ok
	c.accountLocked()
	c.mu.Unlock()
	if !ok {
		return net.ErrClosed
	}
	c.gate.authenticated(c)
	c.adopted.patience = keepAlive
	return nil
}
