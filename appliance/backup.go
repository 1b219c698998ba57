package appliance

import (
	"context"
	"fmt"
	"io"

	"github.com/synthetism/edgebroker/statsd"
)

// Backup writes a copy of what is stored, as it is at some moment of the call,
// to w: a tar archive of files that a broker can be started on. Everything
// acknowledged before the call is in it. Clients are served meanwhile. After an
// error the archive is not complete.
func (b *Broker) Backup(ctx context.Context, w io.Writer) error {
	b.mu.Lock()
	running, s := b.state == started, b.store
	b.mu.Unlock()
	switch {
	case !running:
		return fmt.Errorf("back up: %w: it is not running", ErrState)
	case s == nil:
		return statsd.ErrNoStore
	}
	return s.Backup(&boundWriter{ctx, w})
}

// boundWriter writes until ctx ends.
type boundWriter struct {
	ctx context.Context
	w   io.Writer
}

func (b *boundWriter) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.w.Write(p)
}
