package listen

import (
	"bytes"
	"io"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// forward sends what its connection receives to another one.
type forward struct{ to *Conn }

func (f *forward) Receive(fr wire.Frame) error { f.to.Send(fr.Raw); return nil }
func (f *forward) Flush()                      { f.to.Flush() }
func (f *forward) Writable()                   {}

// BenchmarkForward carries PUBLISH frames from one socket to another, in
// bursts as large as a client would write at once.
func BenchmarkForward(b *testing.B) {
	for _, bench := range []struct {
		name  string
		burst int
	}{{"one by one", 1}, {"bursts of 100", 100}} {
		b.Run(bench.name, func(b *testing.B) {
			r := newRig(b, Options{}, &fakeServer{})
			out := make(chan *Conn, 1)
			r.server.receiver = func(c *Conn) Receiver {
				if c.ID() == "out" {
					return &forward{to: c}
				}
				return &forward{to: <-out}
			}
			l := r.listen(TypeTCP)
			dst := r.dial(l).connect(v311("out"))
			out <- r.conn()
			src := r.dial(l).connect(v311("in"))
			frame := publish(wire.V311, 0, 0, bytes.Repeat([]byte("x"), 64))
			burst := bytes.Repeat(frame, bench.burst)
			back := make([]byte, len(burst))
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += bench.burst {
				src.send(burst)
				if _, err := io.ReadFull(dst.br, back); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
