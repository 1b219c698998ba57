package appliance_test

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// counted adds up the counters in what has come to a StatsD server.
func counted(t *testing.T, server net.PacketConn) map[string]float64 {
	t.Helper()
	sums, buf := make(map[string]float64), make([]byte, 1<<16)
	for {
		if err := server.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, _, err := server.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sums
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(buf[:n]), "\n") {
			name, rest, _ := strings.Cut(line, ":")
			if value, ok := strings.CutSuffix(rest, "|c|#site:plant_1"); ok {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(line)
				}
				sums[name] += v
			}
		}
	}
}

// What a StatsD server has been told by the time the broker has stopped adds up
// to the broker's own counters.
func TestStatsdPush(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := config(t)
	cfg.Storage.Directory = t.TempDir() // the last report comes when the store is closed
	cfg.Statsd = appliance.StatsdConfig{Address: "udp://" + server.LocalAddr().String(), Interval: time.Second, Prefix: "eb",
		Tags: statsd.TagsDogStatsD, Labels: map[string]string{"site": "plant 1"}}
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
	c.Subscribe(1, "t")
	for range 7 {
		c.Publish("t", "12345", 1, false)
	}
	c.Ping()
	brokertest.WaitFor(t, "a report", func() bool { return b.Stats().Push.Datagrams > 0 })
	c.Publish("t", "1", 0, false)
	c.Disconnect()
	brokertest.WaitFor(t, "the client to be gone", func() bool { return b.Stats().ClientCount == 0 })
	stop(t, b)
	s, got := b.Stats(), counted(t, server)
	for name, want := range map[string]uint64{
		"eb.publish_received_bytes": s.Received.PayloadBytes, "eb.publish_sent_bytes": s.Sent.PayloadBytes,
		"eb.received_packets": s.Received.Packets, "eb.sent_packets": s.Sent.Packets,
		"eb.received_bytes": s.Received.Bytes, "eb.sent_bytes": s.Sent.Bytes, "eb.sockets_opened": s.Connections.Opened,
	} {
		if want == 0 || got[name] != float64(want) {
			t.Errorf("%s adds up to %v, want %d", name, got[name], want)
		}
	}
	if s.Received.Messages != 8 || s.Push.Dropped != 0 {
		t.Errorf("%d messages, %+v", s.Received.Messages, s.Push)
	}
}

// Nobody at the address costs nobody anything.
func TestStatsdPushToNobody(t *testing.T) {
	cfg := config(t)
	cfg.Statsd.Address = "unixgram:" + cfg.Control.Socket + ".none"
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
	c.Publish("t", "1", 1, false)
	stop(t, b)
	if p := b.Stats().Push; p.Datagrams != 0 || p.Dropped == 0 {
		t.Errorf("%+v", p)
	}
}
