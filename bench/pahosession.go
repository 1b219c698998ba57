package bench

import (
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// pahoSession is a session of paho.golang that outlives PUBRECs which come
// while the connection is being closed: up to v0.23.0 its own writes the answer
// to a connection that is nil by then, and the program ends.
type pahoSession struct {
	*state.State
	mu   sync.Mutex
	lost bool // guarded by mu
}

func newPahoSession() *pahoSession { return &pahoSession{State: state.NewInMemory()} }

func (s *pahoSession) PacketReceived(p *packets.ControlPacket, publishes chan<- *packets.Publish) error {
	if _, ok := p.Content.(*packets.Pubrec); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lost {
			return nil
		}
	}
	return s.State.PacketReceived(p, publishes)
}

func (s *pahoSession) ConnectionLost(d *packets.Disconnect) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	return s.State.ConnectionLost(d)
}
