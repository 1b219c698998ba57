package bench

import (
	"context"
	"errors"
	"fmt"
)

// Series makes several runs, one after the other, and all of them again as
// often as repeat says, so that what changes on the machine meanwhile changes
// all of them alike. It calls each with every result, from this goroutine, and
// ends at the first error of a run; what that run had measured is handed over
// before.
//
// Where a run has a RateShare, it is preceded by one in the closed loop, whose
// result is handed over too, and which serves all runs with the same
// scenario, clients, payload and QoS; what else is in Options must be alike then.
func Series(ctx context.Context, runs []Options, repeat int, each func(Result) error) error {
	for _, o := range runs {
		if err := o.Validate(); err != nil {
			return err
		}
	}
	for repetition := 1; repetition <= max(repeat, 1); repetition++ {
		s := series{each: each, saturated: map[saturation]float64{}}
		if repeat > 1 {
			s.repetition = repetition
		}
		for _, o := range runs {
			if err := s.run(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// saturation is what a closed loop depends on, of what differs between the runs
// of a command.
type saturation struct {
	scenario         Scenario
	clients, payload int
	qos              byte
}

type series struct {
	each       func(Result) error
	repetition int                    // 0 if there is one only
	saturated  map[saturation]float64 // messages per second of each publisher
}

func (s *series) run(ctx context.Context, o Options) error {
	if o.RateShare == 0 {
		_, err := s.one(ctx, o, 0)
		return err
	}
	o = o.withDefaults()
	key := saturation{o.Scenario, o.Clients, o.Payload, o.QoS}
	if _, ok := s.saturated[key]; !ok {
		full := o
		full.Rate, full.RateShare = 0, 0
		res, err := s.one(ctx, full, 0)
		if err != nil {
			return fmt.Errorf("measure saturation: %w", err)
		}
		if res.PubsPerSec == 0 || res.Publishers == 0 {
			return errors.New("measure saturation: nothing was published in the measured interval; give a longer --duration")
		}
		s.saturated[key] = res.PubsPerSec / float64(res.Publishers)
	}
	share := o.RateShare
	o.Rate, o.RateShare = min(s.saturated[key]*share, maxRate), 0
	_, err := s.one(ctx, o, share)
	return err
}

// one makes a run and hands its result over.
func (s *series) one(ctx context.Context, o Options, share float64) (Result, error) {
	res, err := Run(ctx, o)
	if err != nil && res.empty() {
		return res, err
	}
	res.Repetition, res.RateShare = s.repetition, share
	return res, errors.Join(err, s.each(res))
}

// empty tells whether a run has broken off before it had measured anything.
func (r Result) empty() bool {
	return r.Published == 0 && r.Delivered == 0 && r.Connects == nil && r.Idle == nil
}
