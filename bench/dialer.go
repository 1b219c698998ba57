package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	mqttdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

const (
	// bufferBudget is about how much memory the read buffers of a run have, bytes.
	bufferBudget = 64 << 20
	minBuffer    = 1 << 10
	maxBuffer    = 128 << 10
	// ownFiles are open besides connections: streams, poller, /proc.
	ownFiles = 64
)

// dialer connects the clients of one run. Any goroutine may call it.
type dialer struct {
	opts    *Options
	sources []net.Dialer // local addresses that take turns
	turn    atomic.Uint64
	buffer  int // bytes of a read buffer at first
	limit   int // largest frame accepted, bytes
}

// newDialer prepares for as many connections at a time, and files besides them.
// It is an error when the machine does not allow so many.
func newDialer(o *Options, connections, files int) (*dialer, error) {
	if err := allowFiles(connections + files + ownFiles); err != nil {
		return nil, fmt.Errorf("open %d connections: %w", connections, err)
	}
	d := &dialer{opts: o, limit: o.Payload + 4096 + len(o.Topic) + len(userProperties(o.UserProperties))}
	d.buffer = min(max(bufferBudget/max(connections, 1), minBuffer), maxBuffer)
	if !o.Scenario.publishes() && o.Scenario != Sub {
		d.buffer = minBuffer // nothing but acknowledgements comes
	}
	n, err := sourcesFor(o.Address, connections)
	if err != nil {
		return nil, err
	}
	d.sources = append(d.sources, net.Dialer{})
	d.sources = append(d.sources, sourcesFrom(2, n-1)...)
	return d, nil
}

// sourcesFrom is n dialers from 127.0.0.first on. 127.0.0.0/8 is all this
// machine, and each address has ports of its own.
func sourcesFrom(first, n int) (all []net.Dialer) {
	for i := range n {
		k := first + i
		all = append(all, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(k>>8), byte(k))}, Control: bindLate})
	}
	return all
}

// sourcesFor is how many local addresses as many connections to address need.
func sourcesFor(address string, connections int) (int, error) {
	ports := ephemeralPorts() * 9 / 10 // others want some, too
	if connections <= ports || strings.HasPrefix(address, "unix:") {
		return 1, nil
	}
	if !onLoopback(address) {
		return 0, fmt.Errorf("open %d connections: this machine has about %d ports for connections to one address; run bench on several machines at once, or widen net.ipv4.ip_local_port_range", connections, ports)
	}
	return min(1+(connections-1)/ports, 200), nil
}

// onLoopback tells whether address is one of 127.0.0.0/8.
func onLoopback(address string) bool {
	host := hostOf(address)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is4() && ip.IsLoopback()
}

// hostOf is the host in an address of a broker, empty if there is none.
func hostOf(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return ""
	}
	host, _, err := net.SplitHostPort(hostPort(address))
	if err != nil {
		return ""
	}
	return host
}

// hostPort is an address of a broker without scheme and path.
func hostPort(address string) string {
	if _, after, ok := strings.Cut(address, "://"); ok {
		address = after
	}
	address, _, _ = strings.Cut(address, "/")
	return address
}

// refusal is a CONNACK that says no.
type refusal struct{ reason wire.Reason }

func (r refusal) Error() string { return fmt.Sprintf("refused: %v", r.reason) }

// session is how a client connects.
type session struct {
	kept      bool // outlives the connection
	keepAlive time.Duration
}

// connect brings up one client, and waits for its CONNACK.
func (d *dialer) connect(ctx context.Context, clientID string, s session) (*conn, error) {
	o := d.opts
	source := &d.sources[d.turn.Add(1)%uint64(len(d.sources))]
	nc, err := mqttdial.Through(ctx, source, o.Address, handshakeTimeout, o.TLS)
	if err != nil {
		return nil, unreachable(err)
	}
	c := &conn{name: clientID, version: o.Version, net: nc, limit: d.limit, buf: make([]byte, d.buffer)}
	connect := wire.Connect{
		Version: o.Version, CleanStart: !s.kept, ClientID: clientID, KeepAlive: uint16(s.keepAlive / time.Second),
		HasUsername: o.Username != "", Username: o.Username,
		HasPassword: o.Password != "", Password: []byte(o.Password),
	}
	if s.kept && o.Version == wire.V5 {
		connect.SessionExpiry = keepFor
	}
	begin := time.Now()
	f, err := c.exchange(wire.AppendConnect(nil, &connect), wire.CONNACK)
	c.connackAfter = time.Since(begin)
	if err == nil {
		c.connack, err = wire.DecodeConnack(f, o.Version)
	}
	if err == nil && c.connack.Reason != wire.Success {
		err = refusal{c.connack.Reason}
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect %s: %w", clientID, err)
	}
	return c, nil
}

// errTooManyFiles is wrapped when the process may not open so many files.
var errTooManyFiles = errors.New("too few open files are allowed")
