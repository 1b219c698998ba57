package appliance_test

import (
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What a sink costs a publisher.
func BenchmarkSinks(b *testing.B) {
	for _, bb := range []struct {
		name string
		sink *appliance.SinkConfig
	}{
		{"none", nil},
		{"no messages", &appliance.SinkConfig{}},
		{"one message in 100", &appliance.SinkConfig{Types: []string{"message"}, Sample: 100}},
		{"all messages", &appliance.SinkConfig{Types: []string{"message"}}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg := config(b)
			if bb.sink != nil {
				s := *bb.sink
				s.Name, s.Type, s.Path = "f", appliance.SinkFile, filepath.Join(b.TempDir(), "f")
				cfg.Events.Sinks = []appliance.SinkConfig{s}
			}
			br := start(b, cfg)
			c := brokertest.Dial(b, br.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
			var frames []byte
			for range 100 {
				frames = wire.AppendPublish(frames, &wire.Out{Version: wire.V5, Topic: []byte("t"), Payload: []byte("21.4")}, 0)
			}
			b.ResetTimer()
			for range b.N {
				c.Send(frames)
				c.Ping()
			}
		})
	}
}
