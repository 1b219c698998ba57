package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// goOn lets the plant work after the story, if that was asked for, until ctx ends.
func (s *show) goOn(ctx context.Context) {
	if !s.Loop && s.For <= 0 {
		return
	}
	s.chapter("The plant goes on")
	if s.Loop {
		s.say("Look around for as long as you like; Ctrl-C closes the books.")
		<-ctx.Done()
		return
	}
	s.say("For %v; Ctrl-C closes the books before.", s.For)
	_ = pause(ctx, s.For) // either way the books follow
}

// finish ends the plant in an order in which nothing is left on its way, stops
// the brokers, and makes the books.
func (s *show) finish(ctx context.Context) (*books, error) {
	p := s.plant
	s.chapter("The books")
	s.say("The devices stop, and what is on its way arrives.")
	for _, d := range p.devices {
		d.rest(true)
	}
	if err := s.await(ctx, "the devices to have their answers", func() bool {
		return !slices.ContainsFunc(p.clients(), func(c *client) bool { return !c.idle() })
	}); err != nil {
		return nil, err
	}
	if err := s.quiet(ctx); err != nil {
		return nil, err
	}
	if err := s.await(ctx, "the uplink to have nothing left", func() bool {
		u := s.gateway.bridge()
		return u.Queued.Messages == 0 && u.Inflight == 0
	}); err != nil {
		return nil, err
	}
	// What is missing then is a matter for the books.
	late, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = s.await(late, "", func() bool {
		return !slices.ContainsFunc(p.readers(), func(r *reader) bool {
			return s.missing(r) > sumOf(s.gateway.lost(r.id))
		})
	})
	var devices, readers []*client
	for _, d := range p.devices {
		devices = append(devices, d.client)
	}
	for _, r := range p.readers() {
		readers = append(readers, r.client)
	}
	leave(ctx, devices)
	leave(ctx, readers)
	if err := s.gateway.stop(ctx); err != nil {
		return nil, fmt.Errorf("stop the gateway's broker: %w", err)
	}
	if err := s.office.Stop(ctx); err != nil {
		return nil, fmt.Errorf("stop the head office's broker: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.close(s.gateway, s.office.Balance(), s.intruder), nil
}

// atGateway is a reader's filters as they would be at the gateway.
func atGateway(r *reader) (list []wire.Filter) {
	for _, f := range r.filters {
		f.Filter = strings.TrimPrefix(f.Filter, r.receipts.prefix)
		list = append(list, f)
	}
	return list
}

// tell prints the books, and returns an error if they do not balance.
func (s *show) tell(b *books) error {
	s.write("\n" + b.String() + "\n")
	s.text("%s of the intruder's was refused; the broker says %s. Each account of the gateway's broker, in its %s, and of the head office's %s "+
		"(what `edgebroker stats --balance` shows).", count(b.refused[0], "message"), comma(b.refused[1]), lives(b.lives), b.evenness())
	for _, note := range b.notes {
		s.text("Note: %s.", note)
	}
	if s.Keep != "" {
		s.text("Kept: %s; `%s serve --config %s` goes on with it.", s.dir, s.Program, quote(s.gateway.path("edgebroker.yml")))
	}
	if len(b.faults) == 0 {
		s.write("\n" + s.paint(bold, "The books balance.") + "\n\n")
		s.text("Next: `edgebroker serve` runs a broker for this machine, `edgebroker init` sets one up for a network.")
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnbalanced, strings.Join(b.faults, "; "))
}

// evenness words what is with the accounts of brokers.
func (b *books) evenness() string {
	if b.uneven == 0 {
		return "comes out even"
	}
	return fmt.Sprintf("comes out even but for %d", b.uneven)
}

func lives(n int) string {
	if n == 2 {
		return "two lives"
	}
	return fmt.Sprintf("%d lives", n)
}
