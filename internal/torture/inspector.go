package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// inspect looks at the retained values again and again.
func (f *fleet) inspect(ctx context.Context) {
	rng := f.rng(300)
	for i := 0; ctx.Err() == nil; i++ {
		_ = f.look(ctx, i) // a broker that is down shows nothing; it comes back
		_ = pause(ctx, between(rng, 10*time.Millisecond, time.Second))
	}
}

// lookWait is how long a retained value may take to come.
const lookWait = 5 * time.Second

// look subscribes to all retained values and judges what comes. An error means
// that nothing was judged.
func (f *fleet) look(ctx context.Context, i int) error {
	name := fmt.Sprintf("look-%d", i)
	c := wire.Connect{Version: version(i), CleanStart: true, ClientID: name}
	l, _, err := link.Open(ctx, f.where(i), &c, replyWait)
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	floors := f.books.floors()
	seen := map[cell]uint64{}
	sub := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: cellFilter, QoS: 1}}}
	b := wire.AppendSubscribe(nil, l.Version, &sub)
	if err := l.Write(wire.AppendPing(b, wire.PINGREQ)); err != nil {
		return err
	}
	ponged, deadline := false, time.Now().Add(lookWait)
	for {
		if ponged && f.complete(floors, seen) {
			break
		}
		frame, err := l.ReadWithin(100 * time.Millisecond)
		late := time.Now().After(deadline)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if late && !ponged {
				return errors.New("no answer")
			}
		case err != nil:
			return err
		case frame.Type == wire.PINGRESP:
			ponged = true
		case frame.Type == wire.PUBLISH:
			if err := f.seeValue(l, frame, seen); err != nil {
				return err
			}
		}
		if late && ponged {
			break
		}
	}
	f.books.look(name, floors, seen)
	l.Goodbye()
	return nil
}

// complete tells whether every value that must be there has been seen.
func (f *fleet) complete(floors, seen map[cell]uint64) bool {
	for c, floor := range floors {
		if _, ok := seen[c]; !ok && !f.books.excusable(c, floor) {
			return false
		}
	}
	return true
}

func (f *fleet) seeValue(l *link.Link, frame wire.Frame, seen map[cell]uint64) error {
	d, err := wire.DecodeDelivery(frame, l.Version)
	if err != nil {
		return err
	}
	if d.QoS > 0 {
		if err := l.Write(wire.AppendAck(nil, wire.PUBACK, l.Version, d.PacketID, wire.Success)); err != nil {
			return err
		}
	}
	if !d.Retain {
		return nil // published meanwhile
	}
	c, n, err := readCell(d.Payload)
	if at, ok := cellOf(string(d.Topic)); err != nil || !ok || at != c {
		f.books.breach(intact, nil, "retained %d bytes on %q: not what was set", len(d.Payload), d.Topic)
		return errPayload
	}
	seen[c] = n
	return nil
}
