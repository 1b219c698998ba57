package e2e_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// library is a client of a library that publishes to itself, each message when
// the one before has come back, and notes whatever else happens to it.
type library struct {
	name    string
	publish func(payload string) error
	got     chan string
	rounds  atomic.Uint64
	longest atomic.Int64 // nanoseconds of a round
}

// libraries are clients of paho.mqtt.golang (3.1.1) and paho.golang (5), at every
// QoS.
type libraries struct {
	list []*library
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex // guards what follows
	errs []error
}

func (s *libraries) note(name, what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stop:
	default:
		s.errs = append(s.errs, fmt.Errorf("%s: %s: %w", name, what, err))
	}
}

func startLibraries(t *testing.T, addr string, n int) *libraries {
	t.Helper()
	s := &libraries{stop: make(chan struct{})}
	for i := range n {
		qos := byte(i % 3)
		old := &library{name: fmt.Sprintf("old-%d", i), got: make(chan string, 100)}
		s.list = append(s.list, old)
		o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(old.name).SetProtocolVersion(4).
			SetAutoReconnect(false).SetKeepAlive(5 * time.Second).SetPingTimeout(brokertest.Patience)
		o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.note(old.name, "connection lost", err) })
		c := mqtt.NewClient(o)
		if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		topic := "library/" + old.name
		if token := c.Subscribe(topic, qos, func(_ mqtt.Client, m mqtt.Message) { old.got <- string(m.Payload()) }); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
		old.publish = func(payload string) error {
			token := c.Publish(topic, qos, false, payload)
			token.WaitTimeout(patience)
			return token.Error()
		}

		five := &library{name: fmt.Sprintf("five-%d", i), got: make(chan string, 100)}
		s.list = append(s.list, five)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		f := paho.NewClient(paho.ClientConfig{ClientID: five.name, Conn: conn, PacketTimeout: brokertest.Patience,
			OnClientError:      func(err error) { s.note(five.name, "client error", err) },
			OnServerDisconnect: func(d *paho.Disconnect) { s.note(five.name, "disconnected", fmt.Errorf("%#x", d.ReasonCode)) },
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				five.got <- string(p.Packet.Payload)
				return true, nil
			}}})
		ctx := within(t)
		if ack, err := f.Connect(ctx, &paho.Connect{ClientID: five.name, CleanStart: true, KeepAlive: 5}); err != nil || ack.ReasonCode != 0 {
			t.Fatalf("%v, %+v", err, ack)
		}
		t.Cleanup(func() { conn.Close() })
		topic5 := "library/" + five.name
		if _, err := f.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic5, QoS: qos}}}); err != nil {
			t.Fatal(err)
		}
		five.publish = func(payload string) error {
			ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
			defer cancel()
			_, err := f.Publish(ctx, &paho.Publish{Topic: topic5, QoS: qos, Payload: []byte(payload)})
			return err
		}
	}
	for _, l := range s.list {
		s.done.Go(func() { s.run(l) })
	}
	t.Cleanup(func() { s.finish(t) })
	return s
}

func (s *libraries) run(l *library) {
	for n := 1; ; n++ {
		select {
		case <-s.stop:
			return
		default:
		}
		began, want := time.Now(), fmt.Sprint(n)
		if err := l.publish(want); err != nil {
			s.note(l.name, "publish "+want, err)
			return
		}
		late := time.NewTimer(patience)
		select {
		case got := <-l.got:
			if got != want {
				s.note(l.name, "round "+want, fmt.Errorf("got %q", got))
				return
			}
		case <-late.C:
			s.note(l.name, "round "+want, fmt.Errorf("lost"))
			return
		case <-s.stop:
			late.Stop()
			return
		}
		late.Stop()
		l.rounds.Add(1)
		l.longest.Store(max(l.longest.Load(), int64(time.Since(began))))
	}
}

// finish ends them and requires that nothing has happened to them.
func (s *libraries) finish(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	select {
	case <-s.stop:
		s.mu.Unlock()
		return
	default:
	}
	close(s.stop)
	errs := s.errs
	s.mu.Unlock()
	s.done.Wait()
	for _, err := range errs {
		t.Error(err)
	}
	for _, l := range s.list {
		if l.rounds.Load() == 0 {
			t.Errorf("%s: no round", l.name)
		}
	}
}

func (s *libraries) longest() (d time.Duration) {
	for _, l := range s.list {
		d = max(d, time.Duration(l.longest.Load()))
	}
	return d
}
