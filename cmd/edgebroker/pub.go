package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/wire"
)

func pubCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "pub",
		Usage:     "publish a message",
		ArgsUsage: "TOPIC [MESSAGE | -]",
		UsageText: `edgebroker pub plant/temp 21.5
edgebroker pub --qos 1 --retain plant/state '{"on":true}'
edgebroker pub --retain plant/state ''                  delete the retained message
edgebroker pub --file photo.jpg camera/1                a file's bytes
sensor | edgebroker pub --lines plant/temp              one message per line
edgebroker pub -- plant/temp --5                        a message that starts with a dash`,
		Description: `Exit code 0 means that the broker has read the message and, with QoS 1 or 2,
acknowledged it. Nothing is printed then.`,
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "qos", Aliases: []string{"q"}, Usage: "quality of service `N`: 0, 1 or 2"},
			&cli.BoolFlag{Name: "retain", Aliases: []string{"r"}, Usage: "keep as the topic's retained message"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "send the content of `FILE`", TakesFile: true},
			&cli.BoolFlag{Name: "lines", Aliases: []string{"l"}, Usage: "send each line of stdin as a message"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 1, Usage: "send the message `N` times"},
			&cli.DurationFlag{Name: "interval", DefaultText: "none", Usage: "wait `DURATION` between messages"},
			&cli.DurationFlag{Name: "expiry", DefaultText: "never", Usage: "let the message expire after `DURATION` (whole seconds)"},
			&cli.StringFlag{Name: "content-type", Usage: "say what the payload is, as a MIME `TYPE`"},
			&cli.StringSliceFlag{Name: "user-property", Usage: "add `KEY=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "response-topic", Usage: "ask for an answer on `TOPIC`"},
			&cli.StringFlag{Name: "correlation", Usage: "correlation data for the answer (`TEXT`)"},
			&cli.DurationFlag{Name: "timeout", Value: answerWait, Usage: "longest wait for the connection and for each answer (`DURATION`)"},
		}, mqttFlags()...),
		Action: func(c *cli.Context) error { return runPub(e, c) },
	}
}

// publisher sends messages that differ in their payload only.
type publisher struct {
	env      *env
	conn     *mqttConn
	template paho.Publish
	wait     time.Duration // for each answer
	verbose  bool
}

func runPub(e *env, c *cli.Context) error {
	source, template, err := pubPlan(e, c)
	if err != nil {
		return err
	}
	defer source.close()
	to, err := broker(c)
	if err != nil {
		return err
	}
	cp, err := connectPacket(e, c)
	if err != nil {
		return err
	}
	wait := c.Duration("timeout")
	if wait <= 0 {
		return usageError("pub", "--timeout %v is not positive", wait)
	}
	conn, _, err := dialMQTT(c.Context, to, cp, wait, nil)
	if err != nil {
		return err
	}
	defer conn.close()
	p := &publisher{env: e, conn: conn, template: *template, wait: wait, verbose: c.Bool("verbose")}
	if err := p.sendAll(c.Context, source, c.Duration("interval")); err != nil {
		return err
	}
	if template.QoS > 0 {
		return nil // every message has been answered
	}
	if err := conn.settle(c.Context, wait); err != nil {
		return fmt.Errorf("publish to %q: %w", template.Topic, err)
	}
	return nil
}

// pubPlan reads arguments and flags: where payloads come from and what they
// are wrapped in.
func pubPlan(e *env, c *cli.Context) (*payloads, *paho.Publish, error) {
	args, err := e.positionals(c, 1, 2, "the topic")
	if err != nil {
		return nil, nil, err
	}
	template := &paho.Publish{Topic: args[0], Retain: c.Bool("retain"), Properties: &paho.PublishProperties{
		ContentType: c.String("content-type"), ResponseTopic: c.String("response-topic"),
	}}
	if err := wire.ValidTopicString(template.Topic); err != nil {
		return nil, nil, usageError("pub", "topic %q cannot be published to: %v", template.Topic, err)
	}
	if template.QoS, err = qosFlag(c, "qos"); err != nil {
		return nil, nil, err
	}
	if c.IsSet("correlation") {
		template.Properties.CorrelationData = []byte(c.String("correlation"))
	}
	if c.IsSet("expiry") {
		seconds := c.Duration("expiry") / time.Second
		if seconds < 1 || seconds > math.MaxUint32 || c.Duration("expiry")%time.Second != 0 {
			return nil, nil, usageError("pub", "--expiry %v is not a whole number of seconds", c.Duration("expiry"))
		}
		n := uint32(seconds)
		template.Properties.MessageExpiry = &n
	}
	if interval := c.Duration("interval"); interval < 0 {
		return nil, nil, usageError("pub", "--interval %v is negative", interval)
	}
	for _, pair := range c.StringSlice("user-property") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, nil, usageError("pub", "--user-property %q is not KEY=VALUE", pair)
		}
		template.Properties.User.Add(key, value)
	}
	source, err := choosePayloads(e, c, args[1:])
	return source, template, err
}

// sendAll publishes every payload of source, in order, interval apart.
func (p *publisher) sendAll(ctx context.Context, source *payloads, interval time.Duration) error {
	running, cancel := context.WithCancel(ctx) // ends with the connection, too
	defer cancel()
	defer context.AfterFunc(p.conn.up, cancel)()
	for first := true; ; first = false {
		payload, err := source.next(running)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && !first {
			err = pause(running, interval)
		}
		switch {
		case errors.Is(err, errInterrupted):
			return p.conn.explain(ctx, err)
		case err != nil:
			return err
		}
		if err := p.send(ctx, payload); err != nil {
			return fmt.Errorf("publish to %q: %w", p.template.Topic, err)
		}
	}
}

// pause waits for d, or returns errInterrupted when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errInterrupted
	case <-timer.C:
		return nil
	}
}

func (p *publisher) send(ctx context.Context, payload []byte) error {
	message := p.template
	message.Payload = payload
	guarded, cancel := p.conn.guard(ctx, p.wait)
	defer cancel()
	answer, err := p.conn.client.Publish(guarded, &message)
	switch {
	case answer != nil && answer.ReasonCode >= 0x80:
		return &failure{code: exitError, err: fmt.Errorf("refused: %s", reason(answer.ReasonCode, answer.Properties.ReasonString)), hint: ruleHint(answer.ReasonCode, "publish", message.Topic)}
	case errors.Is(err, paho.ErrInvalidArguments):
		return err
	case err != nil:
		return p.conn.explain(ctx, err)
	case !p.verbose:
	case answer.ReasonCode == packets.PubackNoMatchingSubscribers:
		p.env.notef("%s: %d bytes published, but nobody is subscribed", p.template.Topic, len(payload))
	default:
		p.env.notef("%s: %d bytes published", p.template.Topic, len(payload))
	}
	return nil
}
