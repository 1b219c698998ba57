package appliance

import (
	"context"
	"io/fs"

	"github.com/synthetism/edgebroker/memory"
)

// ServerClients is how many clients the embedded MQTT server believes it has.
func (b *Broker) ServerClients() int { return b.server.Clients.Len() }

// ParseBlockBytes reads what is in /proc/self/io.
func ParseBlockBytes(text []byte) uint64 { return parseBlockBytes(text) }

// WithMachine replaces the root of the file system that tells how much memory
// there is.
func WithMachine(root fs.FS) Option { return func(b *Broker) { b.machine = root } }

// WithoutClock lets nobody tell of a clock that is set: what waits for that in the
// kernel would hold up the time of package synctest.
func WithoutClock() Option {
	return func(b *Broker) {
		b.clockSets = func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }
	}
}

// Press lets the use of memory be such that its level changes.
func (b *Broker) Press(from, to memory.Level) { b.pressed(from, to, 0) }

// Fitted is the configuration whose bounds the broker keeps to.
func (b *Broker) Fitted() Config { return b.bounds.Config }

// Fit is c with bounds that fit a budget, and the bytes that all of them, and
// those that Config has no keys for, allow together.
func (c Config) Fit(budget MemoryBudget) (Config, ByteSize) {
	b := c.fit(budget)
	sum := b.Retained.MaxBytes + b.Sessions.TotalQueuedBytes + ByteSize(b.Limits.MaxConnections)*c.connectionMemory() +
		ByteSize(b.input+b.outbound+b.connects+b.filters) + ByteSize(b.routes)*routeMemory
	return b.Config, sum
}

// Retained is what is retained on topic; ok is false if that is nothing.
func (b *Broker) Retained(topic string) (payload string, ok bool) {
	k, ok := b.relay.Known(topic)
	return string(k.Payload), ok
}

// RetainedTopics are the topics with something retained that filter matches.
func (b *Broker) RetainedTopics(filter string) []string { return b.relay.KnownTopics(filter) }
