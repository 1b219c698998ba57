package demo

import (
	"io"
	"net"
	"sync"
)

// line is the line to the head office, which can be cut: connections through it
// end, and nobody gets through any more until it is repaired.
type line struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	down  bool
	conns map[net.Conn]struct{}
}

func newLine(to string) (*line, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &line{listener: l, to: to, conns: make(map[net.Conn]struct{})}, nil
}

func (l *line) address() string { return l.listener.Addr().String() }

// serve carries connections until close.
func (l *line) serve() {
	l.running.Go(func() {
		for {
			nc, err := l.listener.Accept()
			if err != nil {
				return
			}
			l.running.Go(func() { l.carry(nc) })
		}
	})
}

// keep notes an end of a connection, so that it can be cut. It reports false, and
// closes it, if the line is down.
func (l *line) keep(nc net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		nc.Close()
		return false
	}
	l.conns[nc] = struct{}{}
	return true
}

func (l *line) drop(nc net.Conn) {
	nc.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, nc)
}

func (l *line) carry(near net.Conn) {
	if !l.keep(near) {
		return
	}
	defer l.drop(near)
	far, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(far) {
		return
	}
	defer l.drop(far)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		near.Close()
	})
	_, _ = io.Copy(far, near)
	far.Close()
	back.Wait()
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for nc := range l.conns {
		nc.Close()
	}
}

func (l *line) repair() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// close ends everything, and waits for it.
func (l *line) close() {
	l.listener.Close()
	l.cut()
	l.running.Wait()
}
