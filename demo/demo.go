package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/wire"
)

// Options say how the demo runs.
type Options struct {
	Listen string // address for MQTT; empty: a free port of 127.0.0.1
	HTTP   string // address of the dashboard; empty: likewise
	Keep   string // folder, new or empty, that is not removed; empty: a temporary one

	Speed float64       // 1: as people like it; 10: ten times as fast
	For   time.Duration // how long the plant goes on after the story
	Loop  bool          // it goes on until ctx ends

	Out      io.Writer // gets the story
	Terminal bool      // Out is one, where a line can be written anew
	Color    bool
	Program  string // how commands to try begin
	Version  string // of the broker
}

// The bounds of Speed.
const (
	SlowestSpeed = 0.1
	FastestSpeed = 50
)

// ErrUnbalanced is wrapped by Run's error when the books do not agree.
var ErrUnbalanced = errors.New("the books do not balance")

// patience is how long the demo waits for what should happen at once.
const patience = 30 * time.Second

// show is a demo that runs.
type show struct {
	Options
	*narrator
	gateway  *gateway
	plant    *plant
	line     *line
	office   *appliance.Broker
	intruder *client

	dir     string
	end     context.CancelFunc // of everything but the brokers
	context context.Context
}

// Run tells the story and closes the books, if ctx lets it: when ctx ends, Run
// ends early, removes what it has made, and returns nil. Once the story has been
// told and the plant only goes on, the end of ctx leads to the books; rush ends
// these, too.
func Run(ctx context.Context, rush context.Context, o Options) (err error) {
	if !(o.Speed >= SlowestSpeed && o.Speed <= FastestSpeed) {
		return fmt.Errorf("speed %v is not between %v and %d", o.Speed, SlowestSpeed, FastestSpeed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &show{Options: o, narrator: &narrator{out: o.Out, terminal: o.Terminal, color: o.Color, broken: cancel, begin: time.Now()}}
	if err := s.makeFolder(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clear()) }()
	err = s.prepare(ctx)
	if err == nil {
		err = s.story(ctx)
	}
	var made *books
	if err == nil {
		if s.goOn(ctx); ctx.Err() != nil {
			ctx = rush
		}
		made, err = s.finish(ctx)
	}
	s.still()
	switch {
	case ctx.Err() != nil:
		s.write("\nStopped early: the books were not made.\n")
		return nil
	case err != nil:
		return err
	}
	return s.tell(made)
}

// makeFolder makes the one folder that holds all files.
func (s *show) makeFolder() (err error) {
	if s.Keep == "" {
		s.dir, err = os.MkdirTemp("", "edgebroker-demo-")
		return err
	}
	if s.dir, err = filepath.Abs(s.Keep); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("folder %s is not empty; name one that is, or that is not there", s.dir)
	}
	return err
}

// pace is how long d takes at the speed asked for.
func (s *show) pace(d time.Duration) time.Duration { return time.Duration(float64(d) / s.Speed) }

// linger lets the plant work for d.
func (s *show) linger(ctx context.Context, d time.Duration) error { return pause(ctx, s.pace(d)) }

// await waits until done.
func (s *show) await(ctx context.Context, what string, done func() bool) error {
	for deadline := time.Now().Add(patience); !done(); {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
		for _, c := range s.plant.clients() {
			if err := c.failed(); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s, in vain", patience, what)
		}
	}
	return nil
}

// prepare starts the brokers and the line between them, and makes the clients.
func (s *show) prepare(ctx context.Context) error {
	s.context, s.end = context.WithCancel(context.Background())
	t := &tallies{}
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	office, err := appliance.New(cfg, appliance.WithoutControl(), appliance.WithVersion(s.Version))
	if err != nil {
		return err
	}
	t.watch(office)
	if err := office.Start(ctx); err != nil {
		return fmt.Errorf("start the head office's broker: %w", err)
	}
	s.office = office
	far := office.Addr(cfg.Listeners[0].Name)
	if s.line, err = newLine(far); err != nil {
		return err
	}
	s.line.serve()
	g := &gateway{dir: s.dir, listen: s.Listen, http: s.HTTP, auto: s.Listen == "", autoHTTP: s.HTTP == "", version: s.Version, uplink: s.line.address(),
		secrets: newSecrets(), retryMax: max(s.pace(time.Second), 50*time.Millisecond), tallies: t}
	s.gateway = g
	s.plant = newPlant(g, func() string { return far }, s.pace)
	for _, d := range s.plant.devices {
		g.devices = append(g.devices, d.id)
	}
	for _, r := range s.plant.readers() {
		if r.user != "" {
			g.people = append(g.people, r.id)
		}
	}
	if err := g.prepare(ctx); err != nil {
		return err
	}
	s.intruder = &client{id: "intruder", user: "pump-3", password: g.secrets.device, version: wire.V5, address: s.plant.panel.address, retry: s.pace(time.Second)}
	if err := g.start(ctx); err != nil {
		return fmt.Errorf("start the gateway's broker: %w", err)
	}
	return nil
}

// clear ends and removes whatever there is.
func (s *show) clear() error {
	var errs []error
	wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.end != nil {
		s.end()
		s.plantEnds(wait)
	}
	if s.gateway != nil {
		errs = append(errs, s.gateway.stop(wait))
	}
	if s.line != nil {
		s.line.close()
	}
	if s.office != nil {
		errs = append(errs, s.office.Stop(wait))
	}
	if s.gateway != nil && s.gateway.log != nil {
		errs = append(errs, s.gateway.log.Close())
	}
	if s.Keep == "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// plantEnds waits for the goroutines of devices and readers, whose context has
// ended.
func (s *show) plantEnds(ctx context.Context) {
	if s.plant == nil {
		return
	}
	s.plant.running.Wait()
	leave(ctx, append(s.plant.clients(), s.intruder))
}
