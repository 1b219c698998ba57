package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	roundEvents = 256
	firstInput  = 128 << 10 // bytes that one read takes at most, at first
	maxInput    = 4 << 20   // bytes of the largest frame
	maxPieces   = 1024      // that one writev takes
	maxWaiting  = 64 << 20  // bytes that may wait for a subscriber that does not read
)

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("needs one argument, the address to listen on, as 127.0.0.1:1883")
	}
	runtime.GOMAXPROCS(1)
	r, err := newRelay(args[0])
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, unix.SIGTERM)
	go func() {
		<-stop
		r.stop()
	}()
	return r.serve()
}

// relay is the whole process. All of it but stop belongs to the goroutine of serve.
type relay struct {
	address  string
	listener int
	epoll    int
	bell     [2]int // a pipe: what is written to the second ends serve
	conns    map[int32]*conn
	order    []*conn  // as they came
	read     []*conn  // have been read from in this round
	touched  []*conn  // have something to be written in this round
	pieces   [][]byte // of one write
	vector   [maxPieces]unix.Iovec
}

// newRelay listens on address.
func newRelay(address string) (*relay, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	defer l.Close() // r.listener is a copy
	r := &relay{address: l.Addr().String(), conns: map[int32]*conn{}}
	if r.listener, err = duplicate(l.(*net.TCPListener)); err != nil {
		return nil, fmt.Errorf("take over the listening socket: %w", err)
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	if err = unix.Pipe2(r.bell[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("create a pipe: %w", err)
	}
	for _, fd := range []int{r.listener, r.bell[0]} {
		if err = r.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// duplicate is another descriptor of l's socket, which the Go runtime knows
// nothing about.
func duplicate(l *net.TCPListener) (fd int, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return 0, err
	}
	if failed := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); failed != nil {
		return 0, failed
	}
	return fd, err
}

// stop ends serve. Any goroutine may call it while serve runs.
func (r *relay) stop() { unix.Write(r.bell[1], []byte{0}) }

func (r *relay) watch(op, fd int, events uint32) error {
	if err := unix.EpollCtl(r.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// serve relays until stop is called. In each round it reads once from each
// connection that has something, and then writes once to each that gets
// something.
func (r *relay) serve() error {
	defer r.close()
	events := make([]unix.EpollEvent, roundEvents)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:n] {
			switch c := r.conns[e.Fd]; {
			case e.Fd == int32(r.bell[0]):
				return nil
			case c != nil:
				if e.Events&^unix.EPOLLOUT != 0 {
					r.receive(c)
				}
				if e.Events&unix.EPOLLOUT != 0 {
					r.touch(c)
				}
			case e.Fd == int32(r.listener):
				if err := r.accept(); err != nil {
					return err
				}
			}
		}
		for _, c := range r.touched {
			c.touched = false
			r.flush(c)
		}
		r.touched = r.touched[:0]
		for _, c := range r.read { // nobody borrows their input any more
			c.compact()
		}
		r.read = r.read[:0]
	}
}

func (r *relay) accept() error {
	for {
		fd, _, err := unix.Accept4(r.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("accept a connection: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("set TCP_NODELAY: %w", err)
		}
		c := &conn{fd: fd}
		r.conns[int32(fd)] = c
		r.order = append(r.order, c)
		if err := r.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
}

// touch has c written to in this round.
func (r *relay) touch(c *conn) {
	if !c.touched && !c.closed {
		c.touched = true
		r.touched = append(r.touched, c)
	}
}

// hangUp ends c. What others have borrowed of its input stays theirs.
func (r *relay) hangUp(c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(r.conns, int32(c.fd))
	for i, o := range r.order {
		if o == c {
			r.order = append(r.order[:i], r.order[i+1:]...)
			break
		}
	}
	unix.Close(c.fd)
}

func (r *relay) close() {
	for _, c := range r.conns {
		r.hangUp(c)
	}
	unix.Close(r.listener)
	unix.Close(r.epoll)
	unix.Close(r.bell[0])
	unix.Close(r.bell[1])
}
