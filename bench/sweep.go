package bench

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// sweep is every combination of what flags list: those named first change last.
func sweep(c *cli.Context, o Options) (runs []Options, err error) {
	runs = []Options{o}
	var errs []error
	vary := func(flag string, set func(o *Options, value string) error) {
		var more []Options
		for _, o := range runs {
			for value := range strings.SplitSeq(c.String(flag), ",") {
				o := o
				if err := set(&o, strings.TrimSpace(value)); err != nil {
					errs = append(errs, fmt.Errorf("%s %q: %w", flag, value, err))
					continue
				}
				more = append(more, o)
			}
		}
		runs = more
	}
	vary("scenario", func(o *Options, s string) error { o.Scenario = Scenario(s); return nil })
	vary("clients", func(o *Options, s string) error { o.Clients, err = number(s); return err })
	vary("payload", func(o *Options, s string) error { o.Payload, err = number(s); return err })
	vary("qos", func(o *Options, s string) error {
		n, err := number(s)
		o.QoS = byte(min(n, 255))
		return err
	})
	vary("rate", setRate)
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	for i := range runs {
		suit(c, &runs[i])
		if err := runs[i].Validate(); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// number is a whole number from zero on. The zero value of an option is its
// default, which is not what 0 asks for where that is impossible.
func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("is no whole number; several are separated by commas")
	}
	return int(n), nil
}

// setRate takes messages per second, or a part of saturation.
func setRate(o *Options, s string) error {
	share, percent := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(share, 64)
	if err != nil || n < 0 {
		return errors.New("is no rate; give messages per second, or a part of saturation as 50%")
	}
	if percent && n == 0 {
		return errors.New("is nothing; give more of saturation than that")
	}
	if percent {
		o.RateShare = n / 100
	} else {
		o.Rate = n
	}
	return nil
}

// suit sets what depends on the scenario and on what else has been given.
func suit(c *cli.Context, o *Options) {
	switch {
	case c.IsSet("duration"):
	case c.IsSet("count"), o.Scenario == Connect:
		o.Duration = 0
	case o.Scenario == Idle:
		o.Duration = idleDuration
	}
	switch {
	case c.IsSet("warmup"):
	case c.IsSet("count"):
		o.Warmup = 0
	case o.Scenario == Idle:
		o.Warmup = idleWarmup
	}
}
