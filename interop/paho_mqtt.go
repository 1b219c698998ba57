package main

import (
	"context"
	"fmt"
	"net"
	"net/url"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// pahoMQTT is eclipse/paho.mqtt.golang.
func pahoMQTT() *Library {
	return &Library{
		Name:       "paho.mqtt.golang " + moduleVersion("github.com/eclipse/paho.mqtt.golang"),
		Versions:   []string{v31, v311},
		Transports: []string{tcp, ws, unix},
		Open: func(o Options) Client {
			return &pahoMQTTClient{options: o, got: make(chan Message, received)}
		},
	}
}

type pahoMQTTClient struct {
	options Options
	got     chan Message
	client  mqtt.Client // nil before the first Connect
	conn    net.Conn    // of client
}

func (c *pahoMQTTClient) Messages() <-chan Message { return c.got }

func (c *pahoMQTTClient) Connect(ctx context.Context) (bool, error) {
	version := map[string]uint{v31: 3, v311: 4}[c.options.Version]
	o := mqtt.NewClientOptions().AddBroker("tcp://opened.by.dial:1").SetProtocolVersion(version).
		SetClientID(c.options.ID).SetCleanSession(!c.options.Kept).SetAutoReconnect(false).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			var err error
			c.conn, err = c.dial(ctx)
			return c.conn, err
		}).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			c.got <- Message{Topic: m.Topic(), Payload: string(m.Payload()), QoS: m.Qos(), Retain: m.Retained()}
		})
	if w := c.options.Will; w != nil {
		o.SetBinaryWill(w.Topic, []byte(w.Payload), w.QoS, w.Retain)
	}
	c.client = mqtt.NewClient(o)
	token := c.client.Connect()
	if err := await(ctx, token); err != nil {
		return false, err
	}
	return token.(*mqtt.ConnectToken).SessionPresent(), nil
}

// dial opens what the library itself would, but leaves the conn with c, which
// must be able to cut it.
func (c *pahoMQTTClient) dial(ctx context.Context) (net.Conn, error) {
	if c.options.Transport == ws {
		return mqtt.NewWebsocket("ws://"+c.options.At.WS+"/mqtt", nil, 0, nil, nil)
	}
	return dial(ctx, c.options)
}

func (c *pahoMQTTClient) Subscribe(ctx context.Context, id int, filters ...Filter) error {
	if id != 0 {
		return errCannot
	}
	want := map[string]byte{}
	for _, f := range filters {
		want[f.Filter] = f.QoS
	}
	token := c.client.SubscribeMultiple(want, nil)
	if err := await(ctx, token); err != nil {
		return err
	}
	for f, granted := range token.(*mqtt.SubscribeToken).Result() {
		if granted != want[f] {
			return fmt.Errorf("%s was granted %#x", f, granted)
		}
	}
	return nil
}

func (c *pahoMQTTClient) Publish(ctx context.Context, messages ...Message) error {
	var tokens []mqtt.Token
	for _, m := range messages {
		if m.Topic == "" {
			return errCannot
		}
		tokens = append(tokens, c.client.Publish(m.Topic, m.QoS, m.Retain, []byte(m.Payload)))
	}
	for _, t := range tokens {
		if err := await(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *pahoMQTTClient) Disconnect(context.Context) error {
	if c.client != nil {
		c.client.Disconnect(1000)
	}
	return nil
}

func (c *pahoMQTTClient) Kill(context.Context) error { return c.conn.Close() }

func await(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}
