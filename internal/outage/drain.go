package main

import (
	"context"
	"fmt"
	"time"
)

// alarms are published by the last of the publishers while the backlog drains.
const alarms = 100

// drainConfig is what the gateway's uplink has besides, if it is to be slow.
func (o options) drainConfig() string {
	if o.sendRate == 0 {
		return "    topics: [{filter: \"out/#\", qos: 2}]\n"
	}
	return fmt.Sprintf("    send_rate: %d\n    lanes: [{name: alarms}]\n    topics: [{filter: out/%d, qos: 2, lane: alarms}, {filter: \"out/#\", qos: 2}]\n", o.sendRate, publishers-1)
}

// runDrain lets a backlog drain at a bounded rate, and publishes alarms
// meanwhile, which go first.
func runDrain(ctx context.Context, o options) error {
	far, near, err := o.brokers()
	if err != nil {
		return err
	}
	defer near.kill()
	defer far.kill()
	sub := newSubscriber(far.address, true)
	if err := cutOff(ctx, far, near, sub); err != nil {
		return err
	}
	var list []*publisher
	for i := range publishers - 1 {
		list = append(list, &publisher{id: i, address: near.address, total: o.messages / publishers})
	}
	backlog := o.messages / publishers * (publishers - 1)
	sub.total = backlog + alarms
	if err := publishAll(ctx, list, near, backlog/2); err != nil {
		return err
	}
	if err := far.start(ctx); err != nil {
		return err
	}
	if err := sub.receive(ctx, 1); err != nil {
		return err
	}
	began := time.Now()
	if err := sub.receive(ctx, backlog/2); err != nil {
		return err
	}
	last := &publisher{id: publishers - 1, address: near.address, total: alarms, done: make(map[int]bool), halved: make(map[int]bool)}
	published, before := make(chan error, 1), sub.got
	at := time.Now()
	go func() { published <- last.once(ctx) }()
	for sub.next[last.id] < alarms && sub.got < sub.total {
		if err := sub.receive(ctx, sub.got+1); err != nil {
			return err
		}
	}
	took, between := time.Since(at), sub.got-before-alarms
	left := sub.total - sub.got
	if err := <-published; err != nil {
		return err
	}
	if left == 0 {
		return fmt.Errorf("the alarms came after the backlog")
	}
	if err := sub.receive(ctx, sub.total); err != nil {
		return err
	}
	rate := float64(sub.total-1) / time.Since(began).Seconds()
	fmt.Printf("%d messages drained at %.1f/s, %.3f of the rate of %d/s\n", sub.total, rate, rate/float64(o.sendRate), o.sendRate)
	fmt.Printf("%d alarms, published while %d messages waited, were there after %v, with %d of these before the last of them\n", alarms, sub.total-before-alarms, took.Round(time.Millisecond), between)
	if ratio := rate / float64(o.sendRate); ratio < 0.95 || ratio > 1.05 {
		return fmt.Errorf("the rate is not what was asked for")
	}
	return nil
}
