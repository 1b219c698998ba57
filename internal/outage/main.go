// Command outage proves what an uplink promises when the line is cut for long:
// it publishes to a gateway whose far broker is dead, kills the gateway in the
// middle, brings the far broker back, kills that while it catches up, and looks
// at what a subscriber there has got. scripts/outage.sh runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "edgebroker", "", "`FILE` to run as gateway, and as far broker")
	flag.StringVar(&o.mosquitto, "mosquitto", "", "`FILE` to run as far broker instead; it is stopped, not killed: it loses what it acknowledged otherwise")
	flag.IntVar(&o.messages, "messages", 200_000, "that are published during the outage")
	flag.IntVar(&o.arrival, "arrival", 0, "messages that are published per second of the outage; 0: as many as are taken")
	flag.StringVar(&o.dir, "dir", "", "empty folder for both brokers; default: a temporary one")
	flag.DurationVar(&o.line, "line", 0, "publish for so long over a bad line instead")
	flag.DurationVar(&o.delay, "delay", 150*time.Millisecond, "of that line, each way")
	flag.StringVar(&o.lineHost, "line-host", "127.0.0.1", "`ADDRESS` of that line, for who treats it worse than others")
	flag.DurationVar(&o.flap, "flap", 5*time.Second, "after how long it breaks, again and again")
	flag.IntVar(&o.rate, "rate", 200, "messages per second over it")
	flag.IntVar(&o.sendRate, "send-rate", 0, "messages per second that the uplink may send: see whether it does, and alarms go first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := start(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, mosquitto, dir string
	lineHost               string
	messages, rate         int
	arrival, sendRate      int
	line, delay, flap      time.Duration
}

const (
	publishers = 4 // the even ones at QoS 2, the odd ones at QoS 1
	window     = 50
)

func start(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "outage")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if o.line > 0 {
		return runLine(ctx, o)
	}
	if o.sendRate > 0 {
		return runDrain(ctx, o)
	}
	return run(ctx, o)
}

// cutOff has sub subscribe at the far broker, ends that, and starts the gateway.
func cutOff(ctx context.Context, far, near *broker, sub *subscriber) error {
	if err := far.start(ctx); err != nil {
		return err
	}
	if err := sub.connect(ctx); err != nil {
		return fmt.Errorf("subscribe at the far broker: %w", err)
	}
	sub.close()
	far.end()
	return near.start(ctx)
}

// run cuts the uplink for as long as all messages take.
func run(ctx context.Context, o options) error {
	far, near, err := o.brokers()
	if err != nil {
		return err
	}
	defer near.kill()
	defer far.kill()

	sub := newSubscriber(far.address, far.gently)
	if err := cutOff(ctx, far, near, sub); err != nil {
		return err
	}

	// The outage. Everything is published while the far broker is dead.
	began := time.Now()
	var every time.Duration
	if o.arrival > 0 {
		every = time.Second * publishers / time.Duration(o.arrival)
	}
	var list []*publisher
	for i := range publishers {
		list = append(list, &publisher{id: i, address: near.address, total: o.messages / publishers, every: every, began: began})
	}
	sub.total = o.messages / publishers * publishers
	if err := publishAll(ctx, list, near, sub.total/2); err != nil {
		return err
	}
	arrival := float64(sub.total) / time.Since(began).Seconds()
	fmt.Printf("published %d messages during the outage, %.0f/s; the gateway was killed in the middle of it\n", sub.total, arrival)

	// The far broker is back, and dies once more while it catches up.
	began = time.Now()
	used := near.cpu()
	if err := far.start(ctx); err != nil {
		return err
	}
	if err := sub.receive(ctx, sub.total/2); err != nil {
		return err
	}
	far.end()
	sub.close()
	if err := far.start(ctx); err != nil {
		return err
	}
	if err := sub.receive(ctx, sub.total); err != nil {
		return err
	}
	drain := float64(sub.total) / time.Since(began).Seconds()
	fmt.Printf("received all %d, %.0f/s (%.1f times as fast as they came); the far broker was %s in the middle of it\n", sub.total, drain, drain/arrival, far.endWord())
	fmt.Printf("lost 0, out of order %d, twice at QoS 2 0, again at QoS 1 %d\n", sub.late, sub.again)
	fmt.Printf("processor time of the gateway for each message that drained %.1f us\n", float64((near.cpu()-used).Microseconds())/float64(sub.total))
	fmt.Printf("largest memory of the gateway %s; data %s\n", mebibytes(near.memory()), mebibytes(child.Size(filepath.Join(o.dir, "near"))))
	return nil
}
