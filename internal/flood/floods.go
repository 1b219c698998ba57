package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// kind is one way to fill a broker's memory. start begins it with so many
// clients; each of them is to end when ctx does.
type kind struct {
	name  string
	start func(ctx context.Context, wg *sync.WaitGroup, address string, clients int)
}

func kinds() []kind {
	return []kind{
		{"partial", floodPartial},
		{"oversized", floodOversized},
		{"retained", floodRetained},
		{"readers", floodReaders},
		{"storm", floodStorm},
		{"filters", floodFilters},
	}
}

func floodNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return append(names, "all", "idle")
}

// flood returns when ctx has ended.
func flood(ctx context.Context, name, address string, clients int) {
	var wg sync.WaitGroup
	for _, k := range kinds() {
		switch {
		case k.name == name:
			k.start(ctx, &wg, address, clients)
		case name == "all":
			k.start(ctx, &wg, address, clients/len(kinds()))
		}
	}
	if name == "idle" {
		floodIdle(ctx, &wg, address, clients)
	}
	wg.Wait()
	<-ctx.Done()
}

// again calls f until ctx ends, not more often than every 50 milliseconds.
func again(ctx context.Context, wg *sync.WaitGroup, f func()) {
	wg.Go(func() {
		pause := time.NewTicker(50 * time.Millisecond)
		defer pause.Stop()
		for ctx.Err() == nil {
			f()
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
		}
	})
}

// hold keeps conn until ctx ends or the broker ends it.
func hold(ctx context.Context, conn net.Conn) {
	defer closing(ctx, conn)()
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

// closing closes conn when ctx ends. release forgets that, and closes it.
func closing(ctx context.Context, conn net.Conn) (release func()) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return func() { stop(); conn.Close() }
}

// publishHead is the beginning of a PUBLISH whose payload has size bytes.
func publishHead(topic string, size int) []byte {
	o := wire.Out{Version: wire.V5, Topic: []byte(topic), Payload: make([]byte, size)}
	return wire.AppendPublishHead(nil, &o, 0)
}

// floodIdle connects clients that do nothing.
func floodIdle(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	for i := range clients {
		again(ctx, wg, func() {
			if l, err := connect(ctx, address, fmt.Sprintf("idle-%d", i), 0); err == nil {
				hold(ctx, l.Conn)
			}
		})
	}
}

// floodPartial sends all of packets just below the limit but for their end.
func floodPartial(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	const size = 1<<20 - 100
	body := make([]byte, size-1)
	for i := range clients {
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("partial-%d", i), 0)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			if _, err = l.Conn.Write(append(publishHead("partial", size), body...)); err == nil {
				hold(ctx, l.Conn)
			}
		})
	}
}

// floodOversized sends packets beyond the limit, and is disconnected for it.
func floodOversized(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	body := make([]byte, 1<<20)
	for i := range clients {
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("oversized-%d", i), 0)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			_, _ = l.Conn.Write(append(publishHead("oversized", 8<<20), body...)) // it is to fail
		})
	}
}

// floodRetained makes a hundred thousand retained topics, some of them large.
func floodRetained(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	const publishers, topics = 8, 100_000
	for i := range min(clients, publishers) {
		next := i
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("retained-%d", i), 0)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			wg.Go(func() { hold(ctx, l.Conn) })
			var b []byte
			for ; next < topics && ctx.Err() == nil; next += publishers {
				size := 64
				if next%100 < 3 {
					size = 4 << 10
				}
				o := wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: fmt.Appendf(nil, "retained/%d/%d/value", next%997, next), Payload: make([]byte, size)}
				if b = wire.AppendPublish(b[:0], &o, uint16(next%60000)+1); l.Write(b) != nil {
					return
				}
			}
			<-ctx.Done()
		})
	}
}

// floodReaders publishes fast to clients that read nothing, half of them at
// QoS 1.
func floodReaders(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	const publishers = 4
	for i := range max(1, clients/5) {
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("reader-%d", i), 3600)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			if tcp, ok := l.Conn.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4 << 10)
			}
			if subscribe(l, "fast/#", byte(i%2)) == nil {
				<-ctx.Done()
			}
		})
	}
	for i := range publishers {
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("fast-%d", i), 0)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			wg.Go(func() { hold(ctx, l.Conn) })
			o := wire.Out{Version: wire.V5, QoS: byte(i % 2), Topic: fmt.Appendf(nil, "fast/%d", i), Payload: make([]byte, 1<<10)}
			if i >= 2 { // large payloads are shared between those they are for
				o.Payload = make([]byte, 50<<10)
			}
			for n := 0; ctx.Err() == nil; n++ {
				if l.Write(wire.AppendPublish(nil, &o, uint16(n%60000)+1)) != nil {
					return
				}
			}
		})
	}
}

// floodFilters subscribes to as many filters at once as a packet holds, again
// and again.
func floodFilters(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	s := wire.Subscribe{PacketID: 1}
	for n := range 120_000 {
		s.Filters = append(s.Filters, wire.Filter{Filter: fmt.Sprintf("%x", n)})
	}
	frame := wire.AppendSubscribe(nil, wire.V5, &s)
	for i := range clients {
		again(ctx, wg, func() {
			l, err := connect(ctx, address, fmt.Sprintf("filters-%d", i), 0)
			if err != nil {
				return
			}
			defer closing(ctx, l.Conn)()
			if l.Write(frame) == nil {
				hold(ctx, l.Conn)
			}
		})
	}
}

// floodStorm connects all the time: with a CONNECT that stays incomplete, with
// a large will, with one that is refused, or for a moment only.
func floodStorm(ctx context.Context, wg *sync.WaitGroup, address string, clients int) {
	will := &wire.Will{Topic: "will", Payload: make([]byte, 60<<10)}
	for i := range clients {
		again(ctx, wg, func() {
			conn, err := (&net.Dialer{Timeout: replyWait}).DialContext(ctx, "tcp", address)
			if err != nil {
				return
			}
			defer closing(ctx, conn)()
			hello := wire.AppendConnect(nil, &wire.Connect{Version: wire.V5, CleanStart: true, ClientID: fmt.Sprintf("storm-%d", i), Will: will})
			switch i % 3 {
			case 0:
				_, _ = conn.Write(hello[:len(hello)-1])
				hold(ctx, conn)
			case 1:
				_, _ = conn.Write(hello)
				hold(ctx, conn)
			default:
				_, _ = conn.Write(hello) // and away
			}
		})
	}
}
