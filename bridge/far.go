package bridge

import (
	"context"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// far is what an uplink leads to, by the protocol that is spoken there. It
// attaches to Uplink.near while it is connected, and says by Uplink.become how
// it is.
type far interface {
	// run keeps the connection up until ctx ends. When it returns, nothing is
	// attached any more.
	run(ctx context.Context)

	// unanswered is for how long the far side has owed an answer about a message.
	unanswered() time.Duration
}

// again makes one connection after the other until ctx ends. session is one, from
// the attempt to its end, and says whether it was let in, and what has ended it if
// ctx has not; wording is how people are told.
func (u *Uplink) again(ctx context.Context, session func() (connected bool, err error), wording func(error) string) {
	was := Connecting
	for !u.pacer.wait(ctx) {
		connected, err := session()
		u.pacer.down()
		if ctx.Err() != nil {
			return
		}
		if connected {
			was = Down
		}
		u.become(was, wording(err))
	}
}

// newFar is the far side that cfg describes.
func (u *Uplink) newFar() far {
	if u.cfg.NATS != nil {
		return &natsFar{up: u, cfg: u.cfg.NATS, control: control{up: u}, fleet: fleet{up: u, report: u.cfg.NATS.Report}}
	}
	if u.cfg.version() != wire.V5 {
		return plainFar{mqttFar{u}}
	}
	return mqttFar{u}
}

// mqttFar is a broker of MQTT.
type mqttFar struct{ *Uplink }

func (f mqttFar) run(ctx context.Context) { f.Uplink.run(ctx) }

func (f mqttFar) unanswered() (age time.Duration) {
	if box := f.exchange.current(); box != nil {
		age, _ = box.oldest()
	}
	return age
}
