package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// fleetSubject is where gateways are asked how they are. Each that hears it
// answers; nobody says anything unasked.
const fleetSubject = "edgebroker.fleet"

// Bounds on what others make a gateway do.
const (
	fleetRate    = 10       // questions per second that are answered
	fleetAnswers = 10000    // that are taken of one question
	fleetBytes   = 64 << 10 // of one of them
	fleetAll     = 16 << 20 // bytes of all of them
)

// fleet answers for this gateway, and asks the others.
type fleet struct {
	up     *Uplink
	report func() ([]byte, error) // NATS.Report; nil: it takes no part
	live   atomic.Pointer[natsSession]

	mu   sync.Mutex // guards pace
	pace tokenBucket
}

// listen answers questions for as long as s lives.
func (f *fleet) listen(s *natsSession) error {
	if f.report == nil {
		return nil
	}
	f.mu.Lock()
	f.pace = tokenBucket{rate: fleetRate, tokens: 1, at: f.up.now()}
	f.mu.Unlock()
	// Of who asks too fast nobody keeps count.
	if _, err := s.hear([]string{fleetSubject}, "", new(atomic.Uint64), func(m *nats.Msg) { f.answer(s, m) }); err != nil {
		return err
	}
	f.live.Store(s)
	return nil
}

func (f *fleet) over(s *natsSession) { f.live.CompareAndSwap(s, nil) }

func (f *fleet) answer(s *natsSession, m *nats.Msg) {
	if !s.inbox(m.Reply) {
		return
	}
	f.mu.Lock()
	fast := !f.pace.take(f.up.now())
	f.mu.Unlock()
	if fast {
		return
	}
	body, err := f.report()
	if err == nil {
		err = s.nc.Publish(m.Reply, body)
	}
	if err != nil {
		f.up.complain("uplink: who asks for the fleet cannot be answered", "why", err.Error())
	}
}

// What AskFleet returns where nobody can be asked, and, beside what it has taken,
// where more is answered than it takes.
var (
	ErrNoFleet    = errors.New("the uplink is down")
	ErrLargeFleet = errors.New("the fleet answers more than is taken")
)

// InFleet reports whether the uplink takes part in a fleet.
func (u *Uplink) InFleet() bool {
	f, ok := u.far.(*natsFar)
	return ok && f.fleet.report != nil
}

// AskFleet asks the gateways on the NATS system how they are, and returns what
// they have answered after wait: reports as NATS.Report makes them, if they are
// what they say. This gateway is not among them.
func (u *Uplink) AskFleet(ctx context.Context, wait time.Duration) (reports [][]byte, err error) {
	f, ok := u.far.(*natsFar)
	if !ok {
		return nil, ErrNoFleet
	}
	s := f.fleet.live.Load()
	if s == nil {
		return nil, ErrNoFleet
	}
	inbox := s.nc.NewInbox()
	answers := make(chan *nats.Msg, fleetAnswers)
	sub, err := s.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection has ended: nothing is left to end
	if err := s.nc.PublishRequest(fleetSubject, inbox, nil); err != nil {
		return nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for size := 0; ; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return reports, nil
		case <-s.ctx.Done():
			return nil, ErrNoFleet
		case m := <-answers:
			if len(m.Data) == 0 || len(m.Data) > fleetBytes {
				continue
			}
			if size += len(m.Data); size > fleetAll || len(reports) == fleetAnswers {
				return reports, ErrLargeFleet
			}
			reports = append(reports, m.Data)
		}
	}
}
