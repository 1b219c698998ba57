package main

import (
	"context"
	"fmt"
	"net"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// pahoV5 is eclipse/paho.golang. It leaves the connection to its user: over
// WebSocket that is coder/websocket here.
func pahoV5() *Library {
	return &Library{
		Name:       "paho.golang " + moduleVersion("github.com/eclipse/paho.golang"),
		Versions:   []string{v5},
		Transports: []string{tcp, ws, unix},
		PlainWill:  true,
		Open: func(o Options) Client {
			return &pahoV5Client{options: o, got: make(chan Message, received), session: state.NewInMemory()}
		},
	}
}

type pahoV5Client struct {
	options Options
	got     chan Message
	session session.SessionManager // outlives client
	client  *paho.Client           // nil before the first Connect
	conn    net.Conn               // of client
}

func (c *pahoV5Client) Messages() <-chan Message { return c.got }

func (c *pahoV5Client) Connect(ctx context.Context) (bool, error) {
	conn, err := dial(ctx, c.options)
	if err != nil {
		return false, err
	}
	c.conn = packets.NewThreadSafeConn(conn)
	c.client = paho.NewClient(paho.ClientConfig{Conn: c.conn, Session: c.session,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			c.got <- fromPaho(r.Packet)
			return true, nil
		}}})
	packet := &paho.Connect{ClientID: c.options.ID, CleanStart: !c.options.Kept, KeepAlive: 60, Properties: &paho.ConnectProperties{RequestProblemInfo: true}}
	if c.options.Kept {
		packet.Properties.SessionExpiryInterval = new(uint32(3600))
	}
	if w := c.options.Will; w != nil {
		p := toPaho(*w)
		packet.WillMessage = &paho.WillMessage{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain}
		packet.WillProperties = &paho.WillProperties{User: p.Properties.User}
	}
	ack, err := c.client.Connect(ctx, packet)
	if err != nil {
		return false, err
	}
	return ack.SessionPresent, nil
}

func (c *pahoV5Client) Subscribe(ctx context.Context, id int, filters ...Filter) error {
	packet := &paho.Subscribe{}
	if id != 0 {
		packet.Properties = &paho.SubscribeProperties{SubscriptionIdentifier: &id}
	}
	for _, f := range filters {
		packet.Subscriptions = append(packet.Subscriptions, paho.SubscribeOptions{Topic: f.Filter, QoS: f.QoS})
	}
	ack, err := c.client.Subscribe(ctx, packet)
	if err != nil {
		return err
	}
	for i, granted := range ack.Reasons {
		if granted != filters[i].QoS {
			return fmt.Errorf("%s was granted %#x", filters[i].Filter, granted)
		}
	}
	return nil
}

func (c *pahoV5Client) Publish(ctx context.Context, messages ...Message) error {
	for _, m := range messages {
		if _, err := c.client.Publish(ctx, toPaho(m)); err != nil {
			return err
		}
	}
	return nil
}

func (c *pahoV5Client) Disconnect(context.Context) error {
	if c.client == nil {
		return nil
	}
	err := c.client.Disconnect(&paho.Disconnect{})
	<-c.client.Done()
	return err
}

func (c *pahoV5Client) Kill(context.Context) error {
	err := c.conn.Close()
	<-c.client.Done()
	return err
}

func toPaho(m Message) *paho.Publish {
	p := m.Properties
	out := &paho.Publish{Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Payload: []byte(m.Payload), Properties: &paho.PublishProperties{
		ResponseTopic: p.ResponseTopic, ContentType: p.ContentType}}
	for _, u := range p.User {
		out.Properties.User.Add(u[0], u[1])
	}
	if p.CorrelationData != "" {
		out.Properties.CorrelationData = []byte(p.CorrelationData)
	}
	if p.Text {
		out.Properties.PayloadFormat = new(byte(1))
	}
	if p.Expiry != 0 {
		out.Properties.MessageExpiry = &p.Expiry
	}
	if p.Alias != 0 {
		out.Properties.TopicAlias = &p.Alias
	}
	return out
}

func fromPaho(m *paho.Publish) Message {
	p := m.Properties
	out := Message{Topic: m.Topic, Payload: string(m.Payload), QoS: m.QoS, Retain: m.Retain, Properties: Properties{
		ResponseTopic: p.ResponseTopic, CorrelationData: string(p.CorrelationData), ContentType: p.ContentType,
		Text: p.PayloadFormat != nil && *p.PayloadFormat == 1}}
	for _, u := range p.User {
		out.Properties.User = append(out.Properties.User, [2]string{u.Key, u.Value})
	}
	if p.MessageExpiry != nil {
		out.Properties.Expiry = *p.MessageExpiry
	}
	if p.SubscriptionIdentifier != nil {
		out.Properties.IDs = []int{*p.SubscriptionIdentifier}
	}
	return out
}

// dial opens the transport of o.
func dial(ctx context.Context, o Options) (net.Conn, error) {
	var d net.Dialer
	switch o.Transport {
	case unix:
		return d.DialContext(ctx, unix, o.At.Unix)
	case ws:
		c, _, err := websocket.Dial(ctx, "ws://"+o.At.WS+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return nil, err
		}
		c.SetReadLimit(-1)
		// The conn lives longer than the call that dials it.
		return websocket.NetConn(context.WithoutCancel(ctx), c, websocket.MessageBinary), nil
	default:
		return d.DialContext(ctx, tcp, o.At.TCP)
	}
}
