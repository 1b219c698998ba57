package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// pastFlags ask for what the flight recorder has.
func pastFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "since", Usage: "begin with what was recorded since `TIME`: so long ago (2h, 3d), a time of today (14:05), or a date and time (2026-03-01T14:05:00Z)"},
		&cli.StringFlag{Name: "until", Usage: "end with what was recorded until `TIME`"},
		&cli.PathFlag{Name: "data", Usage: "read what a broker has recorded that need not run, from the folder `DIR` of its state", TakesFile: true},
	}
}

// past is what the flags ask for; ok is false if that is what happens from now
// on.
func past(c *cli.Context, now time.Time) (p statsd.Past, ok bool, err error) {
	for name, to := range map[string]*time.Time{"since": &p.Since, "until": &p.Until} {
		if text := c.String(name); text != "" {
			if *to, err = moment(text, now); err != nil {
				return p, false, usageError(commandPath(c), "--%s %v", name, err)
			}
			ok = true
		}
	}
	p.Follow = c.Bool("follow")
	switch {
	case p.Follow && c.String("since") == "":
		return p, false, usageError(commandPath(c), "--follow needs --since; without, events follows what happens in any case")
	case p.Follow && c.String("until") != "":
		return p, false, usageError(commandPath(c), "--follow has no end, leave --until out")
	case p.Follow && c.Path("data") != "":
		return p, false, usageError(commandPath(c), "--follow asks the daemon, leave --data out")
	case !p.Since.IsZero() && !p.Until.IsZero() && p.Until.Before(p.Since):
		return p, false, usageError(commandPath(c), "--until is before --since")
	}
	return p, ok || c.Path("data") != "", nil
}

// moment reads a point in time, as people say it.
func moment(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			year, month, day := now.Date()
			at := time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if d, err := appliance.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; write how long ago (90s, 2h, 3d), a time of today (14:05), or a date and time (2026-03-01T14:05)", text)
}

// readHistory calls fn for recorded events: those that the daemon has, or that
// lie in the folder of --data.
func readHistory(e *env, c *cli.Context, p statsd.Past, f events.Filter, fn func(events.Event) error) error {
	if data := c.Path("data"); data != "" {
		return readRecorded(c.Context, e, data, p, f, fn)
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	err = daemon.client.History(c.Context, p, f, fn)
	switch {
	case err == nil && p.Follow && c.Context.Err() == nil:
		return errors.New("the daemon closed the event stream: it is stopping")
	case err == nil || errors.Is(err, errEnough):
		return err
	}
	if gone := (*statsd.ErrUnreachable)(nil); errors.As(err, &gone) {
		e.notef("what a broker has recorded that does not run is read with --data DIR, the folder of its state")
	}
	return daemon.explain(c.Context, err)
}

func readRecorded(ctx context.Context, e *env, data string, p statsd.Past, f events.Filter, fn func(events.Event) error) error {
	dir := appliance.EventsFolder(data)
	damaged, err := recorder.ReadDirectory(ctx, dir, recorder.Query{Since: p.Since, Until: p.Until, Keep: f.Matcher(wire.MatchTopic)}, fn)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &failure{code: exitError, err: fmt.Errorf("there are no recorded events in %s", data), hint: "name the folder that storage.directory or `serve --data` names"}
	case err != nil:
		return err
	case damaged > 0:
		e.notef("%s could not be read, such as one that a power cut has cut off", things(damaged, "line"))
	}
	return nil
}
