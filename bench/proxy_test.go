package bench_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// fault is what a proxy does to one message on its way to a subscriber.
type fault struct {
	drop   bool
	repeat bool
	swap   bool // with the next message
	hangUp bool // close the subscriber's connection
	delay  time.Duration
}

// newProxy stands between the load and a broker and returns its own address.
// It asks choose about every message that the broker delivers, numbered from
// 0 in the order of arrival.
func newProxy(t *testing.T, broker string, choose func(n int) fault) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{broker: broker, choose: choose}
	p.running.Go(func() { p.accept(ln) })
	t.Cleanup(func() {
		ln.Close()
		p.running.Wait()
	})
	return ln.Addr().String()
}

type proxy struct {
	broker  string
	choose  func(n int) fault
	running sync.WaitGroup

	mu sync.Mutex
	n  int
}

func (p *proxy) accept(ln net.Listener) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.broker)
		if err != nil {
			client.Close()
			return
		}
		p.running.Go(func() {
			defer server.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := client.Read(buf)
				if err != nil {
					return
				}
				if _, err := server.Write(buf[:n]); err != nil {
					return
				}
			}
		})
		p.running.Go(func() {
			defer client.Close()
			p.deliver(client, server)
		})
	}
}

// deliver passes frames from the broker on and applies the faults.
func (p *proxy) deliver(client, server net.Conn) {
	var in, held []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		var out []byte
		for {
			f, n, err := wire.Scan(in, 0)
			if err != nil {
				return
			}
			if n == 0 {
				break
			}
			if f.Type != wire.PUBLISH {
				out = append(out, f.Raw...)
				in = in[n:]
				continue
			}
			p.mu.Lock()
			what := p.choose(p.n)
			p.n++
			p.mu.Unlock()
			switch {
			case what.hangUp:
				return
			case what.drop:
			case what.swap:
				held = append([]byte(nil), f.Raw...)
			default:
				if what.delay > 0 {
					client.Write(out)
					out = nil
					<-time.NewTimer(what.delay).C
				}
				out = append(out, f.Raw...)
				if what.repeat {
					out = append(out, f.Raw...)
				}
				out = append(out, held...)
				held = nil
			}
			in = in[n:]
		}
		if _, err := client.Write(out); err != nil {
			return
		}
	}
}
