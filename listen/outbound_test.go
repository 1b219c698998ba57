package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// TestOutboundIsAStream compares the queue with a plain buffer, through any
// mix of copies, references and partial writes.
func TestOutboundIsAStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outbound
		var want, got []byte
		next := byte(0)
		fill := func(n int) []byte {
			p := make([]byte, n)
			for i := range p {
				next++
				p[i] = next
			}
			return p
		}
		var v vector
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				p := fill(rapid.IntRange(0, 6000).Draw(t, "n"))
				o.append(p)
				want = append(want, p...)
				clear(p) // the queue must have its own copy
			},
			"share": func(t *rapid.T) {
				p := fill(rapid.IntRange(1, 6000).Draw(t, "n"))
				o.share(p)
				want = append(want, p...)
			},
			"write": func(t *rapid.T) {
				work := o.detach()
				if work == nil {
					return
				}
				list := work.gather(&v, rapid.IntRange(1, 20000).Draw(t, "limit"))
				flat := bytes.Join(list, nil)
				n := rapid.IntRange(0, len(flat)).Draw(t, "taken")
				got = append(got, flat[:n]...)
				work = work.advance(n)
				o.took(n)
				if rapid.Bool().Draw(t, "append meanwhile") {
					p := fill(10)
					o.append(p)
					want = append(want, p...)
				}
				o.putBack(work)
			},
			"": func(t *rapid.T) {
				if !bytes.HasPrefix(want, got) {
					t.Fatal("bytes lost, repeated or out of order")
				}
				if o.pending != len(want)-len(got) {
					t.Fatalf("pending %d, want %d", o.pending, len(want)-len(got))
				}
				if (o.pending > 0) != (o.head != nil) || (o.head == nil) != (o.tail == nil) {
					t.Fatal("an empty queue holds a buffer, or a full one none")
				}
			},
		})
		o.kill()
	})
}

func TestConnSendArrives(t *testing.T) {
	for _, kind := range []string{TypeTCP, TypeTLS, TypeUnix, "pipe"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			var c *client
			if kind == "pipe" {
				c = r.pipe()
			} else {
				c = r.dial(r.listen(kind))
			}
			c.connect(v311("c"))
			conn := r.conn()
			if kind == TypeUnix && conn.Remote() != "unix" {
				t.Errorf("remote is %q", conn.Remote())
			}
			const senders, each = 4, 300
			var wg sync.WaitGroup
			for s := range senders {
				wg.Go(func() {
					for i := range each {
						body := make([]byte, 4+i*13%5000)
						body[0], body[1] = byte(s), byte(i%256)
						binary.BigEndian.PutUint16(body[2:], uint16(i))
						frame := publish(wire.V311, 0, 0, body)
						if i%3 == 0 {
							conn.SendShared(frame[:len(frame)-len(body)], body)
						} else {
							conn.Send(frame)
						}
						if i%7 == 0 {
							conn.Flush()
						}
					}
					conn.Flush()
				})
			}
			next := [senders]uint16{}
			for range senders * each {
				p, err := wire.DecodePublish(c.frame(), wire.V311)
				if err != nil {
					t.Fatal(err)
				}
				s := p.Payload[0]
				if i := binary.BigEndian.Uint16(p.Payload[2:]); i != next[s] || len(p.Payload) != 4+int(i)*13%5000 {
					t.Fatalf("sender %d: got message %d of %d bytes, want number %d", s, i, len(p.Payload), next[s])
				}
				next[s]++
			}
			wg.Wait()
			awaitQuiet(t, conn)
			if n := conn.Traffic().PacketsOut; n != 1+senders*each {
				t.Errorf("%d packets counted", n)
			}
		})
	}
}

// awaitQuiet waits until nothing waits and nobody writes.
func awaitQuiet(t *testing.T, c *Conn) {
	t.Helper()
	eventually(t, "a quiet outbound side", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.out.busy && c.out.head == nil && c.out.pending == 0
	})
}

// TestConnStalledPeer has a client that reads nothing.
func TestConnStalledPeer(t *testing.T) {
	for _, kind := range []string{TypeTCP, TypeTLS, TypeUnix, "pipe"} {
		t.Run(kind, func(t *testing.T) {
			var told atomic.Int32
			r := newRig(t, Options{Limits: Limits{LowWater: 64 << 10}}, &fakeServer{})
			r.server.receiver = func(c *Conn) Receiver {
				return &fakeReceiver{writable: func() {
					if c.ID() == "s" {
						told.Add(1)
					}
				}}
			}
			var stalled, healthy *client
			if kind == "pipe" {
				stalled, healthy = r.pipe(), r.pipe()
			} else {
				l := r.listen(kind)
				stalled, healthy = r.dial(l), r.dial(l)
			}
			stalled.connect(v311("s"))
			conn := r.conn()
			healthy.connect(v311("h"))
			other := r.conn()
			awaitQuiet(t, conn)

			frame := publish(wire.V311, 0, 0, bytes.Repeat([]byte("x"), 1000))
			const n = 8000
			for range n {
				conn.Send(frame)
				conn.Flush()
			}
			pending := conn.Pending()
			if pending == 0 || pending > n*len(frame) {
				t.Fatalf("%d bytes pending of %d sent", pending, n*len(frame))
			}
			if w := r.gate.Totals().Waiting; w.Bytes != pending || w.Packets < uint64(pending/len(frame)) || w.Packets > n {
				t.Errorf("%+v wait, of %d frames and %d bytes pending", w, n, pending)
			}
			awaitStall(t, conn)
			told.Store(0)
			other.Send(frame)
			other.Flush()
			if f := healthy.frame(); f.Type != wire.PUBLISH {
				t.Fatalf("healthy client got %v", f.Type)
			}
			if told.Load() != 0 {
				t.Error("told that there is room while nothing was read")
			}
			for range n {
				if f := stalled.frame(); !bytes.Equal(f.Raw, frame) {
					t.Fatal("a frame was damaged")
				}
			}
			awaitQuiet(t, conn)
			if w := r.gate.Totals().Waiting; w != (Waiting{}) {
				t.Errorf("%+v wait when all was read", w)
			}
			if n, since := conn.Stalls(); n == 0 || !since.IsZero() {
				t.Errorf("%d stalls, the last since %v; it is over", n, since)
			}
			// What is written to a pipe waits until the reader has been given a processor.
			if n, _ := other.Stalls(); n != 0 && kind != "pipe" {
				t.Errorf("%d stalls of a client that reads", n)
			}
			if told.Load() < 2 {
				t.Errorf("Writable called %d times, want one call below low water and one at the end", told.Load())
			}
			if got := conn.Traffic().BytesOut; got != uint64(n*len(frame)+4) {
				t.Errorf("%d bytes counted", got)
			}
		})
	}
}

// TestConnWritableRefills has senders that stop at a backlog and go on only
// when they find it gone or are told so. None of them may be forgotten.
func TestConnWritableRefills(t *testing.T) { over(t, testConnWritableRefills, TypeTCP, TypeTLS) }

func testConnWritableRefills(t *testing.T, kind string) {
	const low, high, total = 32 << 10, 64 << 10, 64 << 20
	frame := publish(wire.V311, 0, 0, bytes.Repeat([]byte("x"), 2000))
	var conn *Conn
	var mu sync.Mutex
	sent := 0
	send := func() (more bool) {
		mu.Lock()
		defer mu.Unlock()
		for sent < total && conn.Pending() < high {
			conn.Send(frame)
			sent += len(frame)
		}
		return sent < total
	}
	pump := func() {
		for send() {
			if conn.Flush(); conn.Pending() >= low {
				return
			}
		}
		conn.Flush()
	}
	r := newRig(t, Options{Limits: Limits{LowWater: low}}, &fakeServer{})
	r.server.receiver = func(c *Conn) Receiver { conn = c; return &fakeReceiver{writable: pump} }
	c := r.dial(r.listen(kind)).connect(v311("c"))
	r.conn()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(pump)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.CopyN(io.Discard, c.br, total); err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	wg.Wait()
}

// greedyKernel takes all that is written to c, after running during.
type greedyKernel struct {
	syscall.RawConn
	c      *Conn
	during func()
}

func (k *greedyKernel) Write(func(fd uintptr) bool) error {
	if f := k.during; f != nil {
		k.during = nil
		f()
	}
	k.c.written = size(k.c.iov)
	return nil
}

// TestConnTellsWhoFoundItBusy has a sender meet a backlog while somebody else
// writes it: the backlog goes without the sender's doing, so it must be told.
func TestConnTellsWhoFoundItBusy(t *testing.T) {
	for name, during := range map[string]func(c *Conn, frame []byte){
		"after appending": func(c *Conn, frame []byte) { c.Send(frame); c.Flush() },
		"at once":         func(c *Conn, _ []byte) { c.Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			nc, _ := net.Pipe()
			c := newConn(New(Config{ID: "x"}, NewGate(Options{Limits: Limits{LowWater: 100}})), new(Policy), nc)
			told := make(chan struct{}, 1)
			c.Bind(&fakeReceiver{writable: func() { told <- struct{}{} }})
			frame := publish(wire.V5, 0, 0, make([]byte, 200))
			c.raw = &greedyKernel{c: c, during: func() { during(c, frame) }}
			c.Send(frame)
			c.Flush()
			await(t, told, "Writable")
			awaitQuiet(t, c)
			c.Send(frame)
			c.Flush() // undisturbed: the sender sees for itself
			awaitQuiet(t, c)
			if len(told) > 0 {
				t.Error("told without need")
			}
		})
	}
}

// TestConnDoesNotReadOn has a client that asks and never fetches the answers.
func TestConnDoesNotReadOn(t *testing.T) {
	r := newRig(t, Options{Limits: Limits{MaxOutbound: 64 << 10}}, &fakeServer{})
	c := r.dial(r.listen(TypeUnix)).connect(v311("c"))
	conn := r.conn()
	go func() {
		pings := bytes.Repeat(pingreq, 8000)
		for {
			if _, err := c.Write(pings); err != nil {
				return
			}
		}
	}()
	eventually(t, "the reader to wait", func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.out.room != nil
	})
	if n := conn.Pending(); n > 64<<10+pageSize {
		t.Errorf("%d bytes pending", n)
	}
	if _, err := io.CopyN(io.Discard, c.br, 4<<20); err != nil {
		t.Errorf("the client began to read, but: %v", err)
	}
	conn.Kick(wire.AdministrativeAction, EndKicked)
	if e := r.end(); e.word != EndKicked {
		t.Errorf("ended with %q", e.word)
	}
}

// TestConnEndsWhileNotReading kicks such a client.
func TestConnEndsWhileNotReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxOutbound: 1000}}, &fakeServer{})
		c := r.pipe().connect(v311("c"))
		conn := r.conn()
		c.send(bytes.Repeat(pingreq, 600))
		synctest.Wait()
		if n := conn.Pending(); n <= 1000 {
			t.Errorf("%d bytes pending", n)
		}
		begin := time.Now()
		conn.Kick(wire.AdministrativeAction, EndKicked)
		<-conn.Done()
		if d := time.Since(begin); d != 0 {
			t.Errorf("Done after %v", d)
		}
		<-r.gate.empty()
	})
}

// TestConnPeerGoneWhileWriting resets a connection with a backlog.
func TestConnPeerGoneWhileWriting(t *testing.T) {
	over(t, testConnPeerGoneWhileWriting, TypeTCP, TypeTLS)
}

func testConnPeerGoneWhileWriting(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	c := r.dial(r.listen(kind)).connect(v311("c"))
	conn := r.conn()
	for conn.Send(make([]byte, 1<<20)) < 16<<20 {
		conn.Flush()
	}
	_ = tcpOf(c.Conn).SetLinger(0)
	c.Close()
	if e := r.end(); e.word != EndTCPClosed || e.err == nil {
		t.Errorf("ended with %q, %v", e.word, e.err)
	}
	if n := conn.Send([]byte("x")); n != 0 {
		t.Errorf("Send after the end returned %d", n)
	}
}

// TestConnPeerGoneWhileServerAnswers resets a connection whose frame the
// server is working on: that it cannot answer is not its own fault.
func TestConnPeerGoneWhileServerAnswers(t *testing.T) {
	over(t, testConnPeerGoneWhileServerAnswers, TypeTCP, TypeTLS)
}

func testConnPeerGoneWhileServerAnswers(t *testing.T, kind string) {
	working := make(chan struct{})
	r := newRig(t, Options{}, &fakeServer{control: func(c *Conn, _ wire.Frame) error {
		for c.Send(make([]byte, 1<<20)) < 16<<20 {
			c.Flush()
		}
		close(working)
		for c.Send(pingresp) > 0 { // until a write fails
			runtime.Gosched()
		}
		_, err := c.Write(wire.AppendSuback(nil, wire.V311, 1, []wire.Reason{0}))
		return err
	}})
	c := r.dial(r.listen(kind)).connect(v311("c")).send(subscribe(wire.V311, 1, "t"))
	conn := r.conn()
	await(t, working, "the frame at the server")
	_ = tcpOf(c.Conn).SetLinger(0)
	c.Close()
	r.end()
	if word, err := conn.EndReason(); word != EndTCPClosed || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %q, %v", word, err)
	}
}

func TestConnSendAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	r := newRig(t, Options{}, &fakeServer{})
	c := r.dial(r.listen(TypeTCP)).connect(v311("c"))
	conn := r.conn()
	go io.Copy(io.Discard, c.br)
	small := publish(wire.V311, 0, 0, []byte("21.5"))
	head, body := small[:4], bytes.Repeat([]byte("x"), 2000)
	if n := testing.AllocsPerRun(2000, func() {
		conn.Send(small)
		conn.SendShared(head, body)
		conn.Send(small)
		conn.Flush()
	}); n != 0 {
		t.Errorf("%v allocations per flush", n)
	}
}

func TestConnReceiveAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	got := make(chan struct{}, 1)
	r := newRig(t, Options{}, &fakeServer{})
	rec := &fakeReceiver{}
	r.server.receiver = func(*Conn) Receiver { return rec }
	rec.flush = func() {
		select {
		case got <- struct{}{}:
		default:
		}
	}
	c := r.dial(r.listen(TypeTCP)).connect(v311("c"))
	r.conn()
	<-got
	p := publish(wire.V311, 0, 0, []byte("21.5"))
	if n := testing.AllocsPerRun(2000, func() {
		_, _ = c.Write(p)
		<-got
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

// TestConnIdleCost opens many connections that do nothing.
func TestConnIdleCost(t *testing.T) {
	const n = 1000
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTCP)
	clients := make([]*client, n)
	heap, routines := heapInUse(), runtime.NumGoroutine()
	for i := range clients {
		nc, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Skipf("only %d connections possible here: %v", i, err)
		}
		c := &client{TB: t, Conn: nc}
		clients[i] = c
		t.Cleanup(func() { nc.Close() })
		c.send(connectFrame(v311("c")), publish(wire.V311, 0, 0, nil), pingreq)
		ack := make([]byte, 6)
		if _, err := io.ReadFull(nc, ack); err != nil {
			t.Fatal(err)
		}
		conn := r.conn()
		conn.Send(pingresp)
		conn.Flush()
		if _, err := io.ReadFull(nc, ack[:2]); err != nil {
			t.Fatal(err)
		}
	}
	if got := runtime.NumGoroutine() - routines; got > n+10 {
		t.Errorf("%d goroutines for %d connections", got, n)
	}
	each := (heapInUse() - heap) / n
	t.Logf("%d bytes of heap per connection, both ends", each)
	if limit := int64(6 << 10); each > limit && !raceEnabled {
		t.Errorf("%d bytes of heap per connection, want at most %d", each, limit)
	}
	runtime.KeepAlive(clients)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// awaitStall waits until something has waited for the network for a while.
func awaitStall(t *testing.T, c *Conn) {
	t.Helper()
	eventually(t, "a stall", func() bool {
		n, since := c.Stalls()
		return n > 0 && !since.IsZero()
	})
}
