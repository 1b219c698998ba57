package statsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/unixsocket"
)

// How a name is looked up: for at most so long, and again so often, since the
// server may move.
const (
	lookupTimeout = 5 * time.Second
	lookupEvery   = 5 * time.Minute
)

// ParsePushAddress takes apart "udp://HOST:PORT" or "unixgram:/PATH", where
// network becomes "udp" or "unixgram" and where the rest.
func ParsePushAddress(address string) (network, where string, err error) {
	if path, ok := strings.CutPrefix(address, "unixgram:"); ok {
		path = strings.TrimPrefix(path, "//")
		switch {
		case !strings.HasPrefix(path, "/"):
			return "", "", errors.New("the path of the socket is not absolute")
		case strings.ContainsRune(path, 0) || len(path) > unixsocket.MaxPath:
			return "", "", fmt.Errorf("the path cannot be that of a unix socket, which has at most %d bytes, none of them zero", unixsocket.MaxPath)
		}
		return "unixgram", path, nil
	}
	where, ok := strings.CutPrefix(address, "udp://")
	if !ok {
		return "", "", errors.New("it begins neither with unixgram: nor with udp://HOST")
	}
	host, port, err := net.SplitHostPort(where)
	if err != nil || host == "" {
		return "", "", errors.New("there must be a host and a port after udp://")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", errors.New("the port is not a number from 1 to 65535")
	}
	if strings.ContainsAny(host, "/@?# ") {
		return "", "", errors.New("the host holds what cannot be in a name")
	}
	return "udp", where, nil
}

// target is where datagrams go. Its methods are called from one goroutine and do
// not block.
type target interface {
	// send hands one datagram to the network, or says why that cannot be done
	// now.
	send(datagram []byte) error
	// look begins to find out where the server is, if it is time for that; the
	// answer comes by found, for adopt.
	look(ctx context.Context)
	found() <-chan netip.AddrPort
	adopt(netip.AddrPort)
	close()
}

func newTarget(address string) (target, error) {
	network, where, err := ParsePushAddress(address)
	switch {
	case err != nil:
		return nil, err
	case network == "unixgram":
		return &unixTarget{path: where}, nil
	}
	t := &udpTarget{answers: make(chan netip.AddrPort, 1), lookup: net.DefaultResolver.LookupNetIP}
	var port string
	t.host, port, _ = net.SplitHostPort(where)
	n, _ := strconv.ParseUint(port, 10, 16)
	t.port = uint16(n)
	if ip, err := netip.ParseAddr(t.host); err == nil {
		t.literal = true
		t.adopt(netip.AddrPortFrom(ip, t.port))
	}
	return t, nil
}

// datagramSocket is a connected datagram socket.
type datagramSocket interface {
	syscall.Conn
	Close() error
}

// sendNow tries once to send a datagram, without waiting for room.
func sendNow(s datagramSocket, datagram []byte) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Write(func(fd uintptr) bool {
		for {
			if _, failed = syscall.Write(int(fd), datagram); !errors.Is(failed, syscall.EINTR) {
				return true
			}
		}
	}); err != nil {
		return err
	}
	return failed
}

// noFound is part of targets for which nothing is looked up.
type noFound struct{}

func (noFound) look(context.Context)         {}
func (noFound) found() <-chan netip.AddrPort { return nil }
func (noFound) adopt(netip.AddrPort)         {}

// unixTarget is the socket of a server on this machine, which may come and go.
type unixTarget struct {
	noFound
	path string
	conn *net.UnixConn // nil: to be opened
}

func (t *unixTarget) send(datagram []byte) error {
	fresh := t.conn == nil
	for {
		if t.conn == nil {
			var err error
			if t.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: t.path, Net: "unixgram"}); err != nil {
				t.conn = nil
				return err
			}
		}
		err := sendNow(t.conn, datagram)
		if err == nil || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EMSGSIZE) {
			return err
		}
		t.close() // it was the socket of a server that has gone; there may be another
		if fresh {
			return err
		}
		fresh = true
	}
}

func (t *unixTarget) close() {
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// udpTarget is a server somewhere. Its name is looked up on a goroutine of its
// own; until it has been, nothing can be sent.
type udpTarget struct {
	host    string
	port    uint16
	literal bool // host is an address
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)

	at      netip.AddrPort // zero: not known yet
	conn    *net.UDPConn   // nil: to be opened
	looking chan struct{}  // closed when the lookup is over; nil: there is none
	looked  time.Time      // when the last one has begun
	failed  bool           // sending has failed since
	answers chan netip.AddrPort
}

var errUnresolved = errors.New("its name has no address yet")

func (t *udpTarget) send(datagram []byte) error {
	if !t.at.IsValid() {
		t.failed = true
		return errUnresolved
	}
	if t.conn == nil {
		var err error
		if t.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(t.at)); err != nil {
			t.conn, t.failed = nil, true
			return err
		}
	}
	err := sendNow(t.conn, datagram)
	t.failed = t.failed || err != nil
	return err
}

func (t *udpTarget) look(ctx context.Context) {
	if t.literal || ctx.Err() != nil || !t.looked.IsZero() && !t.failed && time.Since(t.looked) < lookupEvery {
		return
	}
	if t.looking != nil {
		select {
		case <-t.looking:
		default:
			return // it is still going on
		}
	}
	done := make(chan struct{})
	t.looking, t.looked, t.failed = done, time.Now(), false
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		ips, err := t.lookup(ctx, "ip", t.host)
		if err != nil || len(ips) == 0 {
			return // the next report says that it cannot be sent, or goes where the last one went
		}
		best := ips[0].Unmap()
		for _, ip := range ips { // most servers listen on IPv4 only, and nobody answers who could be tried
			if ip = ip.Unmap(); ip.Is4() {
				best = ip
				break
			}
		}
		select {
		case t.answers <- netip.AddrPortFrom(best, t.port):
		case <-ctx.Done():
		}
	}()
}

func (t *udpTarget) found() <-chan netip.AddrPort { return t.answers }

func (t *udpTarget) adopt(at netip.AddrPort) {
	if at == t.at {
		return
	}
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
	t.at = at
}

func (t *udpTarget) close() {
	if t.looking != nil {
		<-t.looking // its context has ended
	}
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}
