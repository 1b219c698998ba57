package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	mqttdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// pahoClient is a connection that paho.golang speaks MQTT on.
type pahoClient struct {
	name   string
	client *paho.Client
	net    net.Conn
	ctx    context.Context // ends with the connection, or with expire
	cancel context.CancelCauseFunc
}

// errExpired ends a client without a failure.
var errExpired = errors.New("expired")

// connectPaho brings up one client. onMessage is called for each message, one
// after the other, in a goroutine of the client's.
func (d *dialer) connectPaho(ctx context.Context, clientID string, onMessage func(*paho.Publish)) (*pahoClient, error) {
	o := d.opts
	source := &d.sources[d.turn.Add(1)%uint64(len(d.sources))]
	nc, err := mqttdial.Through(ctx, source, o.Address, handshakeTimeout, o.TLS)
	if err != nil {
		return nil, unreachable(err)
	}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		nc = packets.NewThreadSafeConn(nc) // paho writes packets in pieces
	}
	p := &pahoClient{name: clientID, net: nc}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.client = paho.NewClient(paho.ClientConfig{
		ClientID: clientID, Conn: nc, Session: newPahoSession(), PacketTimeout: handshakeTimeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			onMessage(r.Packet)
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) {
			p.fail(fmt.Errorf("%s: broker disconnected: %v", clientID, wire.Reason(d.ReasonCode)))
		},
		OnClientError: func(err error) { p.fail(fmt.Errorf("%s: %w", clientID, err)) },
	})
	ack, err := p.client.Connect(ctx, &paho.Connect{
		ClientID: clientID, CleanStart: true, UsernameFlag: o.Username != "", Username: o.Username,
		PasswordFlag: o.Password != "", Password: []byte(o.Password),
	})
	if ack != nil && ack.ReasonCode >= 0x80 {
		err = refusal{wire.Reason(ack.ReasonCode)}
	}
	if err != nil {
		p.cancel(errExpired)
		nc.Close()
		return nil, fmt.Errorf("connect %s: %w", clientID, err)
	}
	return p, nil
}

// subscribe waits until all filters are granted, each at the QoS asked for.
func (p *pahoClient) subscribe(ctx context.Context, filters ...wire.Filter) error {
	var s paho.Subscribe
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f.Filter, QoS: f.QoS})
	}
	ack, err := p.client.Subscribe(ctx, &s)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", p.name, err)
	}
	for i, code := range ack.Reasons {
		if i < len(filters) && code != filters[i].QoS {
			return fmt.Errorf("subscribe %s: broker granted %v instead of qos %d for %q", p.name, wire.Reason(code), filters[i].QoS, filters[i].Filter)
		}
	}
	return nil
}

// ended waits for the end of the connection, which is no failure after expire.
func (p *pahoClient) ended() error {
	<-p.ctx.Done()
	return p.failure()
}

// failure is why the client has ended, nil if it has not, or has expired.
func (p *pahoClient) failure() error {
	if err := context.Cause(p.ctx); !errors.Is(err, errExpired) {
		return err
	}
	return nil
}

func (p *pahoClient) fail(err error) { p.cancel(err) }

// expire ends waiting for the connection, and unblocks whoever writes.
func (p *pahoClient) expire() {
	p.cancel(errExpired)
	p.net.SetWriteDeadline(time.Unix(1, 0))
}

// close says goodbye, as far as the socket takes it, and closes.
func (p *pahoClient) close() {
	p.cancel(errExpired)
	p.net.SetWriteDeadline(time.Now().Add(time.Second))
	_ = p.client.Disconnect(&paho.Disconnect{})
	<-p.client.Done()
}

// pahoSender publishes by paho.golang, message by message.
type pahoSender struct {
	*pahoClient
	topics  []string
	payload []byte
	out     paho.Publish
}

func newPahoSender(p *pahoClient, plan pubPlan, o *Options, index uint32) *pahoSender {
	s := &pahoSender{pahoClient: p, payload: payloadOf(index, o.Payload)}
	for k := range plan.topics {
		s.topics = append(s.topics, topicOf(plan.base, plan.topics, k))
	}
	s.out = paho.Publish{QoS: plan.qos, Retain: plan.retain, Payload: s.payload, Properties: &paho.PublishProperties{}}
	for i := range o.UserProperties {
		u := userProperty(i)
		s.out.Properties.User.Add(u.Key, u.Value)
	}
	return s
}

// send publishes message seq with the time at. Above QoS 0 it waits as long as
// the broker has as many unacknowledged ones as it allows.
func (s *pahoSender) send(seq uint32, at int64) error {
	setHeader(s.payload, seq, at)
	s.out.Topic = s.topics[int(seq)%len(s.topics)]
	s.out.Payload = s.payload
	if s.out.QoS > 0 {
		s.out.Payload = append([]byte(nil), s.payload...) // the session keeps it
	}
	_, err := s.client.PublishWithOptions(s.ctx, &s.out, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	}
	return fmt.Errorf("%s: publish: %w", s.name, err)
}

// pahoReceiver takes messages from paho.golang for a subscriber.
type pahoReceiver struct {
	*pahoClient
	ready chan struct{} // closed when the run has begun
	begin sync.Once
	count uint64 // messages; of the client's goroutine
}

// receivePaho runs until the connection expires or fails.
func (s *subscriber) receivePaho() error {
	s.paho.begin.Do(func() { close(s.paho.ready) })
	return s.paho.ended()
}

// takePaho checks one message and records its latency.
func (s *subscriber) takePaho(in *paho.Publish) {
	select {
	case <-s.paho.ready:
	case <-s.paho.ctx.Done():
		return
	}
	now := time.Since(s.run.base)
	m := message{whole: true, qos: in.QoS, size: len(in.Payload)}
	if in.Properties != nil {
		for _, u := range in.Properties.User {
			m.props += len(wire.AppendUserProperty(nil, wire.UserProperty{Key: u.Key, Value: u.Value}))
		}
	}
	ok := len(in.Payload) >= headerSize
	if ok {
		m.header(in.Payload)
	}
	s.rec.mu.Lock()
	err := s.check(m, ok, now)
	s.rec.mu.Unlock()
	if err != nil {
		s.paho.fail(err)
		return
	}
	s.paho.count++
	s.received.Store(s.paho.count)
	s.advance()
}
