package bridge

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// probing is a connection of a Probe to a broker. A goroutine does not read it:
// what is asked for is read until it comes.
type probing struct {
	*probe
	nc      net.Conn
	in      *bufio.Reader
	v       wire.Version
	connack wire.Connack
	id      uint16
}

// broker is the part of a Probe that speaks MQTT.
func (p *probe) broker(ctx context.Context) {
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, ProbeTimeout)
	nc, err := p.cfg.Dial(bounded)
	cancel()
	name := "dial"
	if strings.HasPrefix(p.cfg.URL, "mqtts") || strings.HasPrefix(p.cfg.URL, "wss") {
		name = "tls"
	}
	if p.failed(name, begun, err) {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	defer nc.Close()
	if secure, ok := nc.(*tls.Conn); ok {
		p.certificate(begun, secure.ConnectionState())
	}
	c := &probing{probe: p, nc: nc, in: bufio.NewReader(nc), v: p.cfg.version()}
	if !c.login() {
		return
	}
	for i := range p.cfg.Rules {
		if r := &p.cfg.Rules[i]; r.Direction&In != 0 && !c.subscribe(r) {
			return
		}
	}
	if c.canary() && c.ping() {
		_, _ = nc.Write(wire.AppendDisconnect(nil, c.v, wire.Success, ""))
	}
}

// ask sends b and reads until a frame of type want comes; others are ignored.
func (c *probing) ask(b []byte, want wire.Type) (wire.Frame, error) {
	if err := c.nc.SetDeadline(time.Now().Add(ProbeTimeout)); err != nil {
		return wire.Frame{}, err
	}
	if _, err := c.nc.Write(b); err != nil {
		return wire.Frame{}, err
	}
	for {
		f, err := readFrame(c.in, c.cfg.MaxPacket)
		switch {
		case err != nil:
			return f, err
		case f.Type == want:
			return f, nil
		case f.Type == wire.DISCONNECT && c.v == wire.V5:
			d, err := wire.DecodeServerDisconnect(f, c.v)
			if err == nil {
				err = fmt.Errorf("%w: %v %s", errHungUp, d.Reason, d.ReasonString)
			}
			return f, err
		}
	}
}

// readFrame reads the next frame, of so many bytes at most if that is not 0.
func readFrame(in *bufio.Reader, most int) (wire.Frame, error) {
	for n := 2; ; n++ {
		head, err := in.Peek(n)
		if err != nil {
			if err == io.EOF {
				err = errHungUp
			}
			return wire.Frame{}, err
		}
		if _, _, err := wire.Scan(head, 0); err != nil {
			return wire.Frame{}, fmt.Errorf("the far side breaks the protocol: %w", err)
		}
		size, whole := wire.FrameSize(head)
		if !whole {
			continue
		}
		if most > 0 && size > most {
			return wire.Frame{}, fmt.Errorf("the far side breaks the protocol: a packet of %d bytes is more than the %d it was told", size, most)
		}
		raw := make([]byte, size)
		if _, err := io.ReadFull(in, raw); err != nil {
			return wire.Frame{}, fmt.Errorf("%w in the middle of a packet", errHungUp)
		}
		f, _, err := wire.Scan(raw, 0)
		return f, err
	}
}

// connect is the CONNECT of an uplink.
func (c *Config) connect() (wire.Connect, error) {
	k := wire.Connect{Version: c.version(), KeepAlive: c.keepAlive(), ClientID: c.ClientID,
		SessionExpiry: c.sessionExpiry(), MaximumPacketSize: c.maxPacket(),
		ReceiveMaximum: 65535, RequestProblemInfo: true, HasUsername: c.Username != "", Username: c.Username}
	if c.Password != nil {
		password, err := c.Password()
		if err != nil {
			return k, err
		}
		k.HasPassword, k.Password = true, password
	}
	return k, nil
}

func (c *probing) login() bool {
	k, err := c.cfg.connect()
	if err != nil {
		return c.note("password", time.Time{}, Failed, err.Error(), "see that the broker may read or run that")
	}
	if !c.own {
		k.CleanStart, k.SessionExpiry = true, 0
	}
	begun := time.Now()
	f, err := c.ask(wire.AppendConnect(nil, &k), wire.CONNACK)
	if c.failed("login", begun, err) {
		return false
	}
	ack, err := wire.DecodeConnack(f, c.v)
	if err != nil && c.v == wire.V5 && len(f.Body) == 2 { // as those answer that know 3.1.1 alone
		ack, err = wire.DecodeConnack(f, wire.V311)
	}
	if c.failed("login", begun, err) {
		return false
	}
	if ack.Reason != wire.Success {
		what := "the far side refuses the connection: " + ack.Reason.String()
		if ack.ReasonString != "" {
			what += fmt.Sprintf(" (%q)", ack.ReasonString)
		}
		return c.note("login", begun, Failed, what, c.refusal(ack.Reason))
	}
	c.connack = ack
	c.allowed(begun)
	return true
}

// refusal says what mends a refused CONNECT.
func (c *probing) refusal(r wire.Reason) string {
	mend := ""
	switch r {
	case wire.UnsupportedProtocolVersion:
		return "it does not speak MQTT " + c.v.String() + ": set version: \"3.1.1\""
	case wire.ClientIDNotValid:
		mend = "set client_id to one that it knows"
	case wire.BadUserNameOrPassword:
		mend = "see username and password"
	case wire.NotAuthorized:
		mend = "see username, password, certificate and client_id, and what they may do there"
	case wire.ServerUnavailable, wire.ServerBusy, wire.QuotaExceeded, wire.ConnectionRateExceeded:
		return "try again later"
	}
	if mend != "" && !c.own {
		mend += "; if it knows the uplink's own client_id only, add --own-id"
	}
	return mend
}

// allowed says what CONNACK does, and where that is less than is asked for.
func (c *probing) allowed(begun time.Time) {
	a, most := &c.connack, byte(2)
	if c.v != wire.V5 {
		c.note("login", begun, Fine, "as client "+c.cfg.ClientID+", MQTT "+c.v.String(), "")
		return
	}
	if a.HasMaximumQoS {
		most = a.MaximumQoS
	}
	expiry := c.cfg.SessionExpiry
	if a.HasSessionExpiry {
		expiry = time.Duration(a.SessionExpiry) * time.Second
	}
	size := "any"
	if a.MaximumPacketSize > 0 {
		size = fmt.Sprint(a.MaximumPacketSize)
	}
	keep := c.cfg.KeepAlive
	if a.HasServerKeepAlive {
		keep = time.Duration(a.ServerKeepAlive) * time.Second
	}
	c.note("login", begun, Fine, fmt.Sprintf("as client %s, MQTT 5; it takes QoS up to %d, packets of %s bytes, %d messages at once; retained messages: %v; keep alive %v",
		cmp.Or(a.AssignedClientID, c.cfg.ClientID), most, size, cmp.Or(a.ReceiveMaximum, 65535), !a.RetainUnavailable, keep), "")
	if c.own && expiry < c.cfg.SessionExpiry {
		c.note("session", time.Time{}, Noted, fmt.Sprintf("it remembers the session for %v, not %v", expiry, c.cfg.SessionExpiry), "set session_expiry to that, so that it says what holds")
	}
	for i := range c.cfg.Rules {
		r := &c.cfg.Rules[i]
		if r.Direction&Out != 0 && r.QoS > most {
			c.note("qos", time.Time{}, Noted, fmt.Sprintf("rule %q asks for QoS %d: its messages pass with QoS %d", r.local(), r.QoS, most), "set qos to that, so that it says what holds")
		}
		if r.Direction&Out != 0 && r.Retain && a.RetainUnavailable {
			c.note("retain", time.Time{}, Noted, fmt.Sprintf("it has no retained messages: those of rule %q pass as others", r.local()), "set retain: false, so that it says what holds")
		}
	}
}

func (c *probing) subscribe(r *Rule) bool {
	begun := time.Now()
	c.id++
	filter := wire.Filter{Filter: r.remote(), QoS: r.QoS}
	if c.v == wire.V5 {
		filter.NoLocal, filter.RetainAsPublished, filter.RetainHandling = true, r.Retain, 2
	}
	name := "subscribe"
	f, err := c.ask(wire.AppendSubscribe(nil, c.v, &wire.Subscribe{PacketID: c.id, Filters: []wire.Filter{filter}}), wire.SUBACK)
	if c.failed(name, begun, err) {
		return false
	}
	_, codes, err := wire.DecodeSuback(f, c.v)
	switch {
	case c.failed(name, begun, err):
		return false
	case len(codes) != 1:
		return c.note(name, begun, Failed, fmt.Sprintf("it answers one filter with %d codes", len(codes)), "")
	case codes[0] >= wire.UnspecifiedError:
		return c.note(name, begun, Failed, fmt.Sprintf("%q is refused: %v", r.remote(), codes[0]), "let this client subscribe to it there, or correct the rule")
	case byte(codes[0]) < r.QoS:
		return c.note(name, begun, Noted, fmt.Sprintf("%q with QoS %d, not %d", r.remote(), byte(codes[0]), r.QoS), "set qos to that, so that it says what holds")
	}
	return c.note(name, begun, Fine, fmt.Sprintf("%q with QoS %d", r.remote(), r.QoS), "")
}

// canary publishes a message for nobody. What the rules let out is not tried:
// somebody would get it.
func (c *probing) canary() bool {
	topic := c.cfg.Canary.Topic
	switch {
	case topic == "":
		return c.note("publish", time.Time{}, Noted, "not tried, since there are no canaries", "set canary.topic to a topic that this client may publish to")
	case c.connack.HasMaximumQoS && c.connack.MaximumQoS == 0:
		return c.note("publish", time.Time{}, Noted, "not tried, since nothing would answer QoS 0", "")
	}
	begun := time.Now()
	c.id++
	f, err := c.ask(wire.AppendPublish(nil, &wire.Out{Version: c.v, QoS: 1, Topic: []byte(topic)}, c.id), wire.PUBACK)
	if err != nil {
		what, _ := diagnose(err, c.cfg)
		return c.note("publish", begun, Failed, fmt.Sprintf("a canary to %q: %s", topic, what), "set canary.topic to a topic that this client may publish to, or canary.enabled to false")
	}
	_, reason, err := wire.DecodeAck(f, c.v)
	switch {
	case c.failed("publish", begun, err):
		return false
	case reason >= wire.UnspecifiedError:
		return c.note("publish", begun, Noted, fmt.Sprintf("a canary to %q is answered, and refused: %v", topic, reason), "set canary.topic to a topic that this client may publish to")
	}
	return c.note("publish", begun, Fine, fmt.Sprintf("a canary to %q is acknowledged", topic), "")
}

// ping tells the round trip of nothing.
func (c *probing) ping() bool {
	begun := time.Now()
	_, err := c.ask(wire.AppendPing(nil, wire.PINGREQ), wire.PINGRESP)
	return !c.failed("ping", begun, err) && c.note("ping", begun, Fine, "a round trip", "")
}
