package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
)

// tokens is the program's own authoriser: a sensor's password is a MAC of its
// name, so that no list of sensors has to be kept. It may be asked by many
// goroutines at once.
type tokens struct{ key []byte }

// of is the password of a sensor.
func (t tokens) of(sensor string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(sensor))
	return hex.EncodeToString(mac.Sum(nil))
}

// Authenticate implements [appliance.AuthSource].
func (t tokens) Authenticate(_ context.Context, a *appliance.AuthAttempt) (appliance.AuthIdentity, error) {
	if !hmac.Equal(a.Password.Reveal(), []byte(t.of(a.Username))) {
		return appliance.AuthIdentity{}, auth.ErrRefused
	}
	return appliance.AuthIdentity{Name: a.Username, Groups: []string{"sensors"}, Source: "token"}, nil
}

// rules say what sensors may do, once they are in: %u is the name that
// Authenticate has returned.
const rules = `allow group=sensors  publish    greenhouse/%u/temperature
allow group=sensors  subscribe  greenhouse/%u/window
`

// controller is the program around the broker.
type controller struct {
	broker *appliance.Broker
	gone   chan string // sensors that have disconnected, for whoever waits for that
	mu     sync.Mutex  // one line at a time
	out    io.Writer
}

func (c *controller) say(format string, a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, format+"\n", a...)
}

// run runs the greenhouse until the simulated sensor has had its day or, if the
// program is to stay, until ctx ends.
func run(ctx context.Context, address string, stay bool, out io.Writer) error {
	dir, err := os.MkdirTemp("", "greenhouse-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "rules"), []byte(rules), 0o600); err != nil {
		return err
	}
	cfg := appliance.DefaultConfig()
	anonymous := false
	cfg.Listeners = []appliance.ListenerConfig{{Name: "sensors", Address: address, AllowAnonymous: &anonymous}}
	cfg.Access.Rules = []string{filepath.Join(dir, "rules")}

	keys := tokens{key: make([]byte, 32)}
	if _, err := rand.Read(keys.key); err != nil {
		return err
	}
	// WithoutControl: the program asks the broker itself, and nobody else does.
	b, err := appliance.New(cfg, appliance.WithAuthSource(keys), appliance.WithoutControl())
	if err != nil {
		return err
	}
	c := &controller{broker: b, gone: make(chan string, 1), out: out}
	if err := c.listen(); err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	c.say("sensors connect at %s", b.Addr("sensors"))

	err = simulate(ctx, c, keys)
	if err == nil && stay {
		c.say("sensor-9 may connect with this password: %s", keys.of("sensor-9"))
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		err = nil // somebody has asked it to end
	}
	s := b.Stats()
	// Stop returns when handlers have had what happened before.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(err, b.Stop(stop))
	c.say("%d connections, %d messages, %d refused", s.Connections.Total, s.MessageCount, s.Refusals["publish"]+s.Refusals["connect"])
	return err
}

// listen sets up handlers. Each runs on a goroutine of its own, behind a queue: a
// slow one holds up nobody else, and no message.
func (c *controller) listen() error {
	c.broker.On("connection", func(e events.Event) {
		d := e.Data.(events.ConnectionData)
		c.say("%s connects, MQTT %s", d.ClientID, d.Protocol)
	})
	c.broker.On("disconnection", func(e events.Event) {
		d := e.Data.(events.DisconnectionData)
		c.say("%s disconnects (%s), %d messages from it, %d to it", d.ClientID, d.Reason, d.Received, d.Sent)
		select {
		case c.gone <- d.ClientID:
		default: // nobody waits
		}
	})
	c.broker.On("refusal", func(e events.Event) {
		d := e.Data.(events.RefusalData)
		c.say("%s: %s refused: %s %s", d.ClientID, d.What, d.Reason, d.Topic)
	})
	_, err := c.broker.OnTopic("greenhouse/+/temperature", c.measured)
	return err
}

// tooHot is the temperature, in degrees, at which a window is opened.
const tooHot = 28

// measured reads what a sensor has measured, and answers.
func (c *controller) measured(e events.Event) {
	m := e.Data.(events.MessageData)
	degrees, err := strconv.ParseFloat(string(m.Payload), 64)
	if err != nil {
		c.say("%s measures %q, which is no number", m.ClientID, m.Payload)
		return
	}
	window := "shut"
	if degrees > tooHot {
		window = "open"
	}
	c.say("%s measures %.1f degrees: window %s", m.ClientID, degrees, window)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// Retained, so that a sensor that comes back learns what its window should be.
	if err := c.broker.Publish(ctx, appliance.Message{Topic: "greenhouse/" + m.ClientID + "/window", Payload: []byte(window), QoS: 1, Retain: true}); err != nil {
		c.say("tell %s about its window: %v", m.ClientID, err)
	}
}
