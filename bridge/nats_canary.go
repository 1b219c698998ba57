package bridge

import (
	"context"
	"errors"
	"fmt"
)

// prove asks the far side, after a silence, whether it is still there: the
// leader of the stream for what the stream is, or else the server whether it has
// read what was sent. That costs no place in the stream, and needs no rights
// that the uplink does not have. It does not wait for the answer.
func (s *natsSession) prove() {
	if !s.up.silent() || !s.asking.CompareAndSwap(false, true) {
		return
	}
	s.up.canary.sent.Add(1)
	s.tasks.Go(func() {
		defer s.asking.Store(false)
		begun := s.up.now()
		if err := s.ask(); err != nil {
			s.fail(fmt.Errorf("the far side has not answered a canary: %w", err))
			return
		}
		s.up.tripped(begun)
	})
}

func (s *natsSession) ask() error {
	if s.stream == nil {
		return s.nc.FlushTimeout(s.up.cfg.AckTimeout)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.up.cfg.AckTimeout)
	defer cancel()
	info, err := s.stream.Info(ctx)
	if err == nil && info.Cluster != nil && info.Cluster.Leader == "" {
		err = errors.New("the stream has no leader")
	}
	return err
}
