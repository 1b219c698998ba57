package bench_test

import (
	"net"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// answer is what a fake broker sends for a frame of the n-th connection; hangUp
// ends it.
type answer func(n int, f wire.Frame) (reply []byte, hangUp bool)

// fakeBroker answers frame by frame, and returns its address.
func fakeBroker(t *testing.T, reply answer) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for n := 0; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer nc.Close()
				answerAll(nc, n, reply)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

func answerAll(nc net.Conn, n int, reply answer) {
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		k, err := nc.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:k]...)
		for {
			f, size, err := wire.Scan(in, 0)
			if err != nil {
				return
			}
			if size == 0 {
				break
			}
			out, hangUp := reply(n, f)
			in = in[size:]
			if _, err := nc.Write(out); err != nil || hangUp {
				return
			}
		}
	}
}

// accepting answers as a broker does that takes everything and delivers nothing.
func accepting(_ int, f wire.Frame) ([]byte, bool) {
	switch f.Type {
	case wire.CONNECT:
		return wire.AppendConnack(nil, wire.V311, &wire.Connack{}), false
	case wire.PINGREQ:
		return wire.AppendPing(nil, wire.PINGRESP), false
	case wire.PUBLISH:
		if p, err := wire.DecodePublish(f, wire.V311); err == nil && p.QoS == 1 {
			return wire.AppendAck(nil, wire.PUBACK, wire.V311, p.PacketID, wire.Success), false
		}
	case wire.DISCONNECT:
		return nil, true
	}
	return nil, false
}
