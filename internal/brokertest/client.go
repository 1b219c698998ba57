package brokertest

import (
	"net"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// Client is an MQTT client under full control of a test: it sends the bytes it
// is told to, reads frame by frame, and acknowledges nothing by itself unless
// AutoAck was called. Every wait ends after Patience with a failed test.
type Client struct {
	tb      testing.TB
	link    *link
	Connack wire.Connack // of Dial; zero after DialRaw
}

// DialRaw opens a connection and sends nothing. v is the version in which
// frames are encoded and understood. The connection is closed with the test.
func DialRaw(tb testing.TB, addr string, v wire.Version) *Client {
	tb.Helper()
	l, err := dialLink(addr, v)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.conn.Close() })
	return &Client{tb: tb, link: l}
}

// Dial connects and requires that the broker accepts.
func Dial(tb testing.TB, addr string, c wire.Connect) *Client {
	tb.Helper()
	client := DialAny(tb, addr, c)
	if client.Connack.Reason != wire.Success {
		tb.Fatalf("client %q refused: %v", c.ClientID, client.Connack.Reason)
	}
	return client
}

// DialAny connects and takes whatever CONNACK comes; see Connack.
func DialAny(tb testing.TB, addr string, c wire.Connect) *Client {
	tb.Helper()
	if c.Version == 0 {
		c.Version = wire.V311
	}
	client := DialRaw(tb, addr, c.Version)
	ack, err := client.link.connect(&c)
	client.must(err, "connect client %q", c.ClientID)
	client.Connack = ack
	return client
}

// Clean is a CONNECT of a clean session without anything special.
func Clean(v wire.Version, id string) wire.Connect {
	return wire.Connect{Version: v, CleanStart: true, ClientID: id}
}

// Kept is a CONNECT of a session that outlives its connections.
func Kept(v wire.Version, id string) wire.Connect {
	c := wire.Connect{Version: v, ClientID: id}
	if v == wire.V5 {
		c.SessionExpiry = 0xFFFFFFFF
	}
	return c
}

func (c *Client) must(err error, format string, args ...any) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatalf(format+": %v", append(args, err)...)
	}
}

// AutoAck makes all later reads answer PUBLISH and PUBREL, and returns c.
func (c *Client) AutoAck() *Client { c.link.autoAck = true; return c }

// Conn is the socket, for tests that stall or tear it.
func (c *Client) Conn() net.Conn { return c.link.conn }

// Send writes bytes as they are.
func (c *Client) Send(b []byte) {
	c.tb.Helper()
	c.must(c.link.send(b), "send")
}

// ReadFrame returns the next frame. It is the test's to keep.
func (c *Client) ReadFrame() wire.Frame {
	c.tb.Helper()
	f, err := c.link.next()
	c.must(err, "read a frame")
	return f
}

// Expect requires the next frame to be of type t.
func (c *Client) Expect(t wire.Type) wire.Frame {
	c.tb.Helper()
	f := c.ReadFrame()
	if f.Type != t {
		c.tb.Fatalf("got %v (% x) instead of %v", f.Type, f.Raw, t)
	}
	return f
}

// ExpectPublish requires the next frame to be a valid delivery.
func (c *Client) ExpectPublish() wire.Delivery {
	c.tb.Helper()
	d, err := wire.DecodeDelivery(c.Expect(wire.PUBLISH), c.link.version)
	c.must(err, "delivery")
	return d
}

// ExpectMessage is ExpectPublish for a known topic and payload.
func (c *Client) ExpectMessage(topic, payload string) wire.Delivery {
	c.tb.Helper()
	d := c.ExpectPublish()
	if string(d.Topic) != topic || string(d.Payload) != payload {
		c.tb.Fatalf("got %q on %q instead of %q on %q", d.Payload, d.Topic, payload, topic)
	}
	return d
}

// ExpectAck requires the next frame to acknowledge packet id with type t.
func (c *Client) ExpectAck(t wire.Type, id uint16) wire.Reason {
	c.tb.Helper()
	got, reason, err := wire.DecodeAck(c.Expect(t), c.link.version)
	c.must(err, "%v", t)
	if got != id {
		c.tb.Fatalf("%v is for packet %d instead of %d", t, got, id)
	}
	return reason
}

// ExpectNothing requires that the broker has sent no message: it makes a
// round trip with PINGREQ and fails if a PUBLISH comes before the answer.
// Messages that the broker has yet to see are not covered.
func (c *Client) ExpectNothing() {
	c.tb.Helper()
	c.Ping()
	for _, f := range c.link.pending {
		if f.Type == wire.PUBLISH {
			c.tb.Fatalf("got an unexpected PUBLISH: % x", f.Raw)
		}
	}
}

// ExpectDisconnect requires the broker to end the connection with a DISCONNECT
// and returns its reason. Messages before it are skipped. Only MQTT 5 has it.
func (c *Client) ExpectDisconnect() wire.Reason {
	c.tb.Helper()
	f, err := c.link.await("DISCONNECT", func(f wire.Frame) bool { return f.Type == wire.DISCONNECT })
	c.must(err, "read")
	d, err := wire.DecodeServerDisconnect(f, c.link.version)
	c.must(err, "DISCONNECT")
	c.must(c.link.awaitEnd(), "after DISCONNECT")
	return d.Reason
}

// ExpectClosed requires the broker to close the connection. Frames before
// that are skipped.
func (c *Client) ExpectClosed() {
	c.tb.Helper()
	c.must(c.link.awaitEnd(), "read")
}

// ReadRest reads until the broker closes the connection and returns the frames
// that came before that.
func (c *Client) ReadRest() []wire.Frame {
	c.tb.Helper()
	c.must(c.link.awaitEnd(), "read")
	rest := c.link.pending
	c.link.pending = nil
	return rest
}

// Ping makes a round trip. Frames that come before the answer are kept for
// later reads. All that this client sent before has then been taken in.
func (c *Client) Ping() {
	c.tb.Helper()
	c.must(c.link.ping(), "ping")
}

// Ack sends PUBACK, PUBREC, PUBREL or PUBCOMP with reason Success.
func (c *Client) Ack(t wire.Type, id uint16) {
	c.tb.Helper()
	c.must(c.link.ack(t, id), "send %v", t)
}

// Subscribe requires every filter to be granted with the QoS asked for.
// Retained messages that come before the SUBACK are kept for later reads.
func (c *Client) Subscribe(qos byte, filters ...string) {
	c.tb.Helper()
	list := make([]wire.Filter, len(filters))
	for i, f := range filters {
		list[i] = wire.Filter{Filter: f, QoS: qos}
	}
	for i, code := range c.SubscribeTo(wire.Subscribe{Filters: list}) {
		if code != wire.Reason(qos) {
			c.tb.Fatalf("subscribe to %q: got code %#x instead of QoS %d", filters[i], byte(code), qos)
		}
	}
}

// SubscribeTo sends s and returns the codes of its SUBACK. A packet id of 0 is
// replaced with an unused one.
func (c *Client) SubscribeTo(s wire.Subscribe) []wire.Reason {
	c.tb.Helper()
	if s.PacketID == 0 {
		s.PacketID = c.link.packetID()
	}
	codes, err := c.link.subscribeWith(&s)
	c.must(err, "subscribe")
	if len(codes) != len(s.Filters) {
		c.tb.Fatalf("SUBACK has %d codes for %d filters", len(codes), len(s.Filters))
	}
	return codes
}

// Unsubscribe waits for UNSUBACK and returns its codes, none before MQTT 5.
func (c *Client) Unsubscribe(filters ...string) []wire.Reason {
	c.tb.Helper()
	u := wire.Unsubscribe{PacketID: c.link.packetID(), Filters: filters}
	c.Send(wire.AppendUnsubscribe(nil, c.link.version, &u))
	f, err := c.link.await("UNSUBACK", func(f wire.Frame) bool { return f.Type == wire.UNSUBACK })
	c.must(err, "unsubscribe")
	id, codes, err := wire.DecodeUnsuback(f, c.link.version)
	c.must(err, "UNSUBACK")
	if id != u.PacketID {
		c.tb.Fatalf("UNSUBACK is for packet %d instead of %d", id, u.PacketID)
	}
	return codes
}

// Publish sends a message and completes the handshake of its QoS, which must
// not be refused. Frames that come meanwhile are kept for later reads.
func (c *Client) Publish(topic, payload string, qos byte, retain bool) {
	c.tb.Helper()
	r := c.PublishOut(wire.Out{QoS: qos, Retain: retain, Topic: []byte(topic), Payload: []byte(payload)})
	if r >= wire.UnspecifiedError {
		c.tb.Fatalf("publish to %q refused: %v", topic, r)
	}
}

// PublishOut is Publish with everything that a message can have; it returns
// the reason of the first acknowledgement. The version is the client's.
func (c *Client) PublishOut(o wire.Out) wire.Reason {
	c.tb.Helper()
	r, err := c.link.publish(&o)
	c.must(err, "publish to %q", o.Topic)
	return r
}

// PublishID sends a message with the given packet id and waits for nothing.
func (c *Client) PublishID(o wire.Out, id uint16) {
	c.tb.Helper()
	o.Version = c.link.version
	c.Send(wire.AppendPublish(nil, &o, id))
}

// Disconnect says goodbye and waits until the broker has closed.
func (c *Client) Disconnect() {
	c.tb.Helper()
	c.must(c.link.disconnect(), "disconnect")
}

// Drop ends the connection without DISCONNECT, as a crash does, and waits
// until the broker has noticed. What was sent before arrives.
func (c *Client) Drop() {
	c.tb.Helper()
	c.must(c.link.drop(), "drop the connection")
}
