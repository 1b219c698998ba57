package e2e_test

import (
	"net"
	"net/url"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// paho3 is eclipse/paho.mqtt.golang, which speaks 3.1.1.
type paho3 struct {
	broker *broker
	options
	conn   net.Conn
	client mqtt.Client // nil unless connected
	got    chan message
}

func openPaho3(t testing.TB, b *broker, o options) client {
	c := &paho3{broker: b, options: o, got: make(chan message, 2000)}
	t.Cleanup(func() { c.leave(t) })
	return c
}

func (c *paho3) messages() <-chan message { return c.got }

func (c *paho3) await(t testing.TB, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

func (c *paho3) connect(t testing.TB) {
	t.Helper()
	if c.client != nil {
		return
	}
	o := mqtt.NewClientOptions().AddBroker("tcp://by.the.function.below:1").SetProtocolVersion(4).
		SetClientID(c.id).SetCleanSession(!c.kept).SetAutoReconnect(false).SetKeepAlive(0)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := dial(c.at)
		c.conn = conn
		return conn, err
	})
	if w := c.will; w != nil {
		o.SetWill(w.topic, w.payload, w.qos, w.retain)
	}
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		c.got <- message{topic: m.Topic(), payload: string(m.Payload()), qos: m.Qos(), retain: m.Retained()}
	})
	c.client = mqtt.NewClient(o)
	c.await(t, "connect", c.client.Connect())
}

func (c *paho3) subscribe(t testing.TB, qos byte, filters ...string) {
	t.Helper()
	c.connect(t)
	want := map[string]byte{}
	for _, f := range filters {
		want[f] = qos
	}
	c.await(t, "subscribe", c.client.SubscribeMultiple(want, nil))
}

func (c *paho3) publish(t testing.TB, topic string, qos byte, retain bool, lines ...string) {
	t.Helper()
	c.connect(t)
	for _, l := range lines {
		c.await(t, "publish", c.client.Publish(topic, qos, retain, l))
	}
}

func (c *paho3) leave(t testing.TB) {
	t.Helper()
	if c.client == nil {
		return
	}
	c.client.Disconnect(250)
	c.client = nil
	awaitGone(t, c.broker, c.id)
}

func (c *paho3) kill(t testing.TB) {
	t.Helper()
	c.conn.Close()
	c.client.Disconnect(0)
	c.client = nil
	awaitGone(t, c.broker, c.id)
}

// paho5 is eclipse/paho.golang, which speaks 5.
type paho5 struct {
	broker *broker
	options
	conn   net.Conn
	client *paho.Client // nil unless connected
	got    chan message
}

func openPaho5(t testing.TB, b *broker, o options) client {
	c := &paho5{broker: b, options: o, got: make(chan message, 2000)}
	t.Cleanup(func() { c.leave(t) })
	return c
}

func (c *paho5) messages() <-chan message { return c.got }

func (c *paho5) connect(t testing.TB) {
	t.Helper()
	if c.client != nil {
		return
	}
	conn, err := dial(c.at)
	if err != nil {
		t.Fatal(err)
	}
	c.conn = conn
	c.client = paho.NewClient(paho.ClientConfig{ClientID: c.id, Conn: conn, PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.got <- message{topic: p.Packet.Topic, payload: string(p.Packet.Payload), qos: p.Packet.QoS, retain: p.Packet.Retain}
			return true, nil
		}}})
	con := &paho.Connect{ClientID: c.id, CleanStart: !c.kept, KeepAlive: 600}
	if c.kept {
		expiry := uint32(3600)
		con.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	}
	if w := c.will; w != nil {
		con.WillMessage = &paho.WillMessage{Topic: w.topic, Payload: []byte(w.payload), QoS: w.qos, Retain: w.retain}
	}
	ctx, cancel := limit()
	defer cancel()
	if _, err := c.client.Connect(ctx, con); err != nil {
		t.Fatal(err)
	}
}

func (c *paho5) subscribe(t testing.TB, qos byte, filters ...string) {
	t.Helper()
	c.connect(t)
	var s paho.Subscribe
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: qos})
	}
	ctx, cancel := limit()
	defer cancel()
	if _, err := c.client.Subscribe(ctx, &s); err != nil {
		t.Fatal(err)
	}
}

func (c *paho5) publish(t testing.TB, topic string, qos byte, retain bool, lines ...string) {
	t.Helper()
	c.connect(t)
	ctx, cancel := limit()
	defer cancel()
	for _, l := range lines {
		if _, err := c.client.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Retain: retain, Payload: []byte(l)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *paho5) leave(t testing.TB) {
	t.Helper()
	if c.client == nil {
		return
	}
	if err := c.client.Disconnect(&paho.Disconnect{}); err != nil {
		t.Errorf("disconnect: %v", err)
	}
	<-c.client.Done()
	c.client = nil
	awaitGone(t, c.broker, c.id)
}

func (c *paho5) kill(t testing.TB) {
	t.Helper()
	c.conn.Close()
	<-c.client.Done()
	c.client = nil
	awaitGone(t, c.broker, c.id)
}
