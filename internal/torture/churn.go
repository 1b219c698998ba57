package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

const churners = 8 // clients that come and go at a time

// churn has clients come, subscribe, publish, get something and go, one after the
// other, until ctx ends. Nobody keeps books of them.
func (f *fleet) churn(ctx context.Context) {
	var all sync.WaitGroup
	for i := range churners {
		rng := f.rng(uint64(400 + i))
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_ = f.visit(ctx, i, n) // the broker may be down
				_ = pause(ctx, between(rng, 10*time.Millisecond, 2*time.Second))
			}
		})
	}
	all.Wait()
}

// visit is one client's stay. Every third leaves without a word, and its will is
// published.
func (f *fleet) visit(ctx context.Context, i, n int) error {
	name := fmt.Sprintf("churn-%d-%d", i, n)
	c := wire.Connect{Version: version(n), CleanStart: true, ClientID: name, KeepAlive: 30,
		Will: &wire.Will{Topic: "churn/gone", Payload: []byte(name)}}
	l, _, err := link.Open(ctx, f.where(n), &c, replyWait)
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	topic := fmt.Sprintf("churn/%d/%d", i, n)
	b := wire.AppendSubscribe(nil, l.Version, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: topic, QoS: 1}, {Filter: "churn/+/now", QoS: 0}}})
	for k := range 10 {
		b = wire.AppendPublish(b, &wire.Out{Version: l.Version, QoS: byte(k % 2), Topic: []byte(topic), Payload: []byte(name)}, uint16(k+10))
		b = wire.AppendPublish(b, &wire.Out{Version: l.Version, Topic: fmt.Appendf(nil, "churn/%d/now", i), Payload: []byte(name)}, 0)
	}
	if err := l.Write(b); err != nil {
		return err
	}
	for got := 0; got < 10; {
		frame, err := l.ReadWithin(replyWait)
		if err != nil {
			return err
		}
		if frame.Type != wire.PUBLISH {
			continue
		}
		d, err := wire.DecodeDelivery(frame, l.Version)
		if err != nil {
			return err
		}
		if string(d.Topic) == topic {
			got++
		}
		if d.QoS > 0 {
			if err := l.Write(wire.AppendAck(nil, wire.PUBACK, l.Version, d.PacketID, wire.Success)); err != nil {
				return err
			}
		}
	}
	if n%3 > 0 {
		l.Goodbye()
	}
	return nil
}
