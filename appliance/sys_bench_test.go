package appliance

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// BenchmarkReports is what one interval costs while nobody subscribes to $SYS,
// and one report to a StatsD server, by kept sessions.
func BenchmarkReports(b *testing.B) {
	for _, sessions := range []int{0, 1000} {
		cfg := DefaultConfig()
		cfg.Control.Socket = filepath.Join(b.TempDir(), "c.sock")
		cfg.Listeners[0].Address = "127.0.0.1:0"
		br, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := br.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		for i := range sessions {
			p, err := br.relay.Open(relay.Connect{ClientID: fmt.Sprint(i), Version: wire.V5, Expiry: 60})
			if err != nil {
				b.Fatal(err)
			}
			p.End(relay.End{})
		}
		first := br.snapshot(nil, nil)
		b.Run(fmt.Sprint("snapshot/", sessions, "sessions"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				br.snapshot(nil, nil)
			}
		})
		b.Run(fmt.Sprint("sys/", sessions, "sessions"), func(b *testing.B) {
			tree := statsd.NewSysTree(&first, time.Now())
			b.ReportAllocs()
			for b.Loop() {
				br.tellSys(tree)
			}
		})
		b.Run(fmt.Sprint("push/", sessions, "sessions"), func(b *testing.B) {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			p, err := statsd.NewPusher(statsd.PushOptions{Address: "udp://" + server.LocalAddr().String(), Tags: statsd.TagsNone, Interval: time.Hour}, &first,
				func() statsd.Snapshot { return br.snapshot(nil, nil) })
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Push()
			}
		})
		if err := br.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
