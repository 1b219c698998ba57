package brokertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// worker is a client of a crowd that does not read.
type worker struct {
	*crowd
	id  string
	rng *rand.Rand
	seq uint64 // of its last message for readers
}

var filler = strings.Repeat("x", 1500)

// message is the worker's next one, and the line that it is for.
func (w *worker) message(version wire.Version) (o wire.Out, line int) {
	w.seq++
	line = w.rng.IntN(crowdLines)
	o = wire.Out{Version: version, Topic: fmt.Appendf(nil, "%s/lines/%d/%s", crowdRoot, line, w.id),
		Payload: fmt.Appendf(nil, "%s %d %s", w.id, w.seq, filler[:w.rng.IntN(len(filler))])}
	switch n := w.rng.IntN(10); {
	case n == 0:
		o.QoS = 2
	case n < 4:
		o.QoS = 1
	}
	if version == wire.V5 && w.rng.IntN(8) == 0 {
		o.HasExpiry, o.Expiry = true, 1
	}
	return o, line
}

// publish publishes one message, which readers are to get, or nobody.
func (w *worker) publish(l *link) error {
	o, line := w.message(l.version)
	if w.rng.IntN(25) == 0 {
		o.Topic = []byte(crowdRoot + "/lonely/" + w.id)
		line = -1
	}
	reason, err := l.publish(&o)
	if err != nil || reason >= wire.UnspecifiedError {
		return fmt.Errorf("publish to %s: %v, %v", o.Topic, reason, err)
	}
	if line >= 0 {
		w.publishedTo(line, &o)
		return nil
	}
	w.count(func(t *CrowdTally) {
		t.Published.add(o.QoS, o.Payload)
		t.Unheard++
	})
	return nil
}

// open connects, as MQTT 5 or 3.1.1.
func (w *worker) open(change func(*wire.Connect)) (*link, error) {
	version := wire.V5
	if w.rng.IntN(2) == 0 {
		version = wire.V311
	}
	con := Clean(version, w.id)
	if change != nil {
		change(&con)
	}
	l, _, err := openLink(w.Addr, &con)
	if err == nil {
		w.count(func(t *CrowdTally) { t.Connects++ })
	}
	return l, err
}

// ended counts the end of a connection, if that has gone well.
func (w *worker) ended(reason string, err error) error {
	if err == nil {
		w.count(func(t *CrowdTally) { t.Disconnects[reason]++ })
	}
	return err
}

// publishSteadily is one connection for all the time.
func (w *worker) publishSteadily(live context.Context) error {
	l, err := w.open(nil)
	if err != nil {
		return err
	}
	sources := w.Clients / 20 * 5
	batch := max(1, w.Rate/sources/20)
	tick := time.NewTicker(time.Second * time.Duration(batch*sources) / time.Duration(w.Rate))
	defer tick.Stop()
	for live.Err() == nil {
		for range batch {
			if err := w.publish(l); err != nil {
				return err
			}
		}
		select {
		case <-live.Done():
		case <-tick.C:
		}
	}
	return w.ended(ReasonNormal, l.disconnect())
}

// flap connects again and again, and leaves a will at times.
func (w *worker) flap(live context.Context) error {
	for live.Err() == nil {
		var will wire.Out
		var line int
		l, err := w.open(func(c *wire.Connect) {
			w.seq += 10 // its number follows on those of this connection
			will, line = w.message(c.Version)
			w.seq -= 11
			will.QoS, will.HasExpiry = min(will.QoS, 1), false
			c.Will = &wire.Will{Topic: string(will.Topic), Payload: will.Payload, QoS: will.QoS}
		})
		if err != nil {
			return err
		}
		for range w.rng.IntN(10) {
			if err := w.publish(l); err != nil {
				return err
			}
		}
		if w.rng.IntN(2) == 0 {
			err = w.ended(ReasonNormal, l.disconnect())
		} else if err = w.ended(ReasonClosed, l.drop()); err == nil {
			w.count(func(t *CrowdTally) { t.Wills.add(will.QoS, will.Payload) })
			w.mu.Lock()
			w.published[line]++
			w.mu.Unlock()
		}
		if err != nil {
			return err
		}
		w.seq += 20
		wait(live, time.Duration(w.rng.IntN(300))*time.Millisecond)
	}
	return nil
}

// takeOver connects while it is connected.
func (w *worker) takeOver(live context.Context) error {
	for live.Err() == nil {
		first, err := w.open(nil)
		if err != nil {
			return err
		}
		second, err := w.open(nil)
		if err != nil {
			return err
		}
		err = w.ended(ReasonTakenOver, first.awaitEnd())
		first.conn.Close()
		if err != nil {
			return err
		}
		if err := w.ended(ReasonNormal, second.disconnect()); err != nil {
			return err
		}
		wait(live, time.Duration(50+w.rng.IntN(300))*time.Millisecond)
	}
	return nil
}

// beKicked is disconnected by the owner of the broker.
func (w *worker) beKicked(live context.Context) error {
	for live.Err() == nil {
		l, err := w.open(nil)
		if err != nil {
			return err
		}
		if err := w.Kick(w.id); err != nil {
			return err
		}
		err = w.ended("kicked", l.awaitEnd())
		l.conn.Close()
		if err != nil {
			return err
		}
		wait(live, time.Duration(50+w.rng.IntN(300))*time.Millisecond)
	}
	return nil
}

// beRefused asks for what it does not get.
func (w *worker) beRefused(live context.Context) error {
	for live.Err() == nil {
		if err := w.turnedAway(); err != nil {
			return err
		}
		if err := w.denied(); err != nil {
			return err
		}
		wait(live, time.Duration(50+w.rng.IntN(300))*time.Millisecond)
	}
	return nil
}

// turnedAway wants a kept session without a name. [MQTT-3.1.3-8]
func (w *worker) turnedAway() error {
	l, err := dialLink(w.Addr, wire.V311)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	con := Kept(wire.V311, "")
	ack, err := l.connect(&con)
	if err != nil || ack.Reason == wire.Success {
		return fmt.Errorf("a kept session without a name: %v, %v", ack.Reason, err)
	}
	w.count(func(t *CrowdTally) { t.Turned++ })
	return l.awaitEnd()
}

// denied uses topics that are not its own.
func (w *worker) denied() error {
	l, err := w.open(func(c *wire.Connect) { *c = Clean(wire.V5, w.id) })
	if err != nil {
		return err
	}
	for qos := range byte(3) {
		o := wire.Out{QoS: qos, Topic: []byte(crowdRoot + "/secret/x"), Payload: []byte("x")}
		reason, err := l.publish(&o)
		if err != nil || qos > 0 && reason != wire.NotAuthorized {
			return fmt.Errorf("publish where it may not: %v, %v", reason, err)
		}
		w.count(func(t *CrowdTally) { t.Refused++ })
	}
	codes, err := l.subscribe(wire.Filter{Filter: crowdRoot + "/secret/#", QoS: 1})
	if err != nil || codes[0] != wire.NotAuthorized {
		return fmt.Errorf("subscribe where it may not: %v, %v", codes, err)
	}
	w.count(func(t *CrowdTally) { t.Denied++ })
	return w.ended(ReasonNormal, l.disconnect())
}
