package demo

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// story tells all chapters but the last.
func (s *show) story(ctx context.Context) error {
	s.introduce()
	s.plant.running.Go(func() { s.stands(s.context) })
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"The plant starts", s.begins},
		{"A display stops reading", s.displayStalls},
		{"A pump loses its power", s.pumpVanishes},
		{"The historian goes away, and comes back", s.historianLeaves},
		{"The line to the head office is cut", s.lineIsCut},
		{"The gateway restarts, while messages wait", s.gatewayRestarts},
	} {
		s.chapter(chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return err
		}
	}
	return nil
}

// command is a command of the program that asks the gateway. Its arguments, with
// what a shell needs around them, come after its flags.
func (s *show) command(words string, arguments ...string) string {
	return strings.Join(append([]string{quote(s.Program), words, "--socket", quote(s.gateway.socket())}, arguments...), " ")
}

// client is a command that connects as the visitor.
func (s *show) client(words string, arguments ...string) string {
	return strings.Join(append([]string{quote(s.Program), words, "--address", quote(s.gateway.listen), "--user", visitor, "--password-file", quote(s.gateway.path("visitor"))}, arguments...), " ")
}

// introduce says what there is, and how to look at it.
func (s *show) introduce() {
	g := s.gateway
	host, port, _ := net.SplitHostPort(g.listen) // it is one where a broker listens
	s.text("A gateway with a small plant behind it, in this process: its broker, an uplink to a head office with a broker of its own, 8 devices, and people who look. "+
		"It takes %s. Ctrl-C ends it at any moment, and nothing is left behind.", s.lasts())
	s.write("\nTo look at it, in a second terminal:\n\n")
	for _, c := range []string{
		s.command("top"),
		s.command("stats"),
		s.client("sub", "'plant/#'"),
		"mosquitto_sub -h " + host + " -p " + port + " -u " + visitor + " -P " + g.secrets.visitor + " -v -t 'plant/#'",
	} {
		s.write("  " + s.paint(cyan, c) + "\n")
	}
	s.write("\nIn a browser: " + s.paint(cyan, "http://"+g.http+"/") + " (user " + adminName + ", password " + g.secrets.admin + ")\n")
	if s.Keep != "" {
		s.write("All files: " + s.dir + "\n")
	}
}

// lasts words how long the story takes.
func (s *show) lasts() string {
	switch d := s.pace(2 * time.Minute); {
	case s.Speed == 1:
		return "two minutes"
	case d < 90*time.Second:
		return fmt.Sprintf("about %.0f seconds", max(d.Seconds(), 3))
	default:
		return fmt.Sprintf("about %.0f minutes", d.Minutes())
	}
}

// begins is everybody's first connection, the uplink, orders, and a refusal.
func (s *show) begins(ctx context.Context) error {
	p := s.plant
	for _, r := range p.readers() {
		r.start(s.context)
	}
	if err := s.await(ctx, "the readers and the uplink", func() bool {
		return p.panel.up() && p.display.up() && p.historian.up() && p.office.up() && s.gateway.bridge().State == "up"
	}); err != nil {
		return err
	}
	s.say("The uplink to the head office is up. A panel and a display read at QoS 0; the historian and the head office at QoS 2, in sessions that are kept.")
	for _, d := range p.devices {
		d.start(s.context)
	}
	if err := s.await(ctx, "the devices", func() bool {
		return !slices.ContainsFunc(p.devices, func(d *device) bool { return !d.up() })
	}); err != nil {
		return err
	}
	p.work(s.context)
	s.say("3 pumps (MQTT 3.1.1, QoS 1, a retained state, a will), 2 tanks (MQTT 5, QoS 0), 2 meters (MQTT 5, QoS 2) and a camera (16 KB pictures, QoS 0) begin to publish.")
	if err := s.linger(ctx, 6*time.Second); err != nil {
		return err
	}
	median, most := p.panel.receipts.delays()
	b := s.gateway.running().Stats()
	s.say("%s published, %s delivered. What a tank says is on the panel after %s as a rule, after %s at the latest.", count(b.MessageCount, "message"), comma(b.Sent.Messages), few(median), few(most))
	s.try(s.command("who", "'plant/#'"), s.command("clients list"))
	if err := s.linger(ctx, 4*time.Second); err != nil {
		return err
	}
	if err := s.orders(ctx); err != nil {
		return err
	}
	if err := s.intrudes(ctx); err != nil {
		return err
	}
	return s.linger(ctx, 5*time.Second)
}

// orders has the head office order something of a pump.
func (s *show) orders(ctx context.Context) error {
	pump := s.plant.device("pump-1")
	began := time.Now()
	s.plant.office.publish(outgoing{topic: siteName + "/set/pump-1/speed", payload: []byte("80"), qos: 1})
	select {
	case <-pump.ordered:
	case <-time.After(patience):
		return fmt.Errorf("waited %v for the head office's order to reach pump-1, in vain", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
	s.say("The head office sets pump-1 to 80 %%, through the uplink: the pump has it after %s. You can, too:", few(time.Since(began)))
	s.try(s.client("pub --qos 1", "set/pump-1/speed", "50"))
	return nil
}

// intrudes has somebody with the password of a pump speak for a tank.
func (s *show) intrudes(ctx context.Context) error {
	i := s.intruder
	i.start(s.context)
	i.publish(outgoing{topic: "plant/tanks/tank-1/level", payload: []byte(`{"level":0}`), qos: 1})
	if err := s.await(ctx, "the answer to the intruder", func() bool { return i.up() && i.idle() }); err != nil {
		return err
	}
	if i.count().refused != 1 {
		return fmt.Errorf("the access rules let pump-3 publish for tank-1")
	}
	s.say("Somebody with pump-3's password publishes a level of tank-1. Refused (%v): each device has topics of its own.", wire.NotAuthorized)
	s.try(s.command("events --since 1m --type refusal"))
	return i.leave(ctx)
}

// displayStalls is a client that does not read: what is for it is dropped, by name.
func (s *show) displayStalls(ctx context.Context) error {
	p := s.plant
	before, _ := p.panel.receipts.delays()
	began := time.Now()
	p.display.stall()
	s.say("display-1 shows the camera's pictures. It hangs: its connection stays, but it reads nothing any more.")
	if err := s.await(ctx, "the first picture to be dropped", func() bool { return len(s.gateway.lost(p.display.id)) > 0 }); err != nil {
		return err
	}
	s.say("After %s the buffers for it are full. From now on its pictures are dropped: for it alone, each counted, with its name and a reason.", few(time.Since(began)))
	s.try(s.command("drops"), s.command("clients show", s.plant.display.id))
	if err := s.linger(ctx, 12*time.Second); err != nil {
		return err
	}
	median, most := p.panel.receipts.delays()
	s.say("The others do not notice. A level is on the panel after %s as a rule, after %s at the latest; before the stall it was %s as a rule.", few(median), few(most), few(before))
	p.display.resume()
	camera := p.device("camera-1")
	camera.rest(true) // so that the two counts below are of the same moment
	if err := s.await(ctx, "the display to catch up", func() bool {
		return s.missing(p.display) == sumOf(s.gateway.lost(p.display.id))
	}); err != nil {
		return err
	}
	camera.rest(false)
	a := p.display.receipts.compare(p.ledger.matching(p.display.filters))
	s.say("It reads again. It has %s of %s pictures, and misses %s. The broker says: %s.", comma(a.got), comma(a.meant), comma(a.missing), reasons(s.gateway.lost(p.display.id)))
	return s.linger(ctx, 3*time.Second)
}

// pumpVanishes is a client that ends without a word, and its will.
func (s *show) pumpVanishes(ctx context.Context) error {
	pump := s.plant.device("pump-2")
	pump.rest(true)
	if err := s.await(ctx, "pump-2 to have its answers", pump.idle); err != nil {
		return err
	}
	began := time.Now()
	pump.vanish()
	s.say("pump-2 says nothing any more, not even goodbye. Its keep alive is %s.", seconds(pump.keepAlive))
	if err := s.await(ctx, "the will of pump-2", func() bool { return s.plant.panel.state(pump.id) == wordOff }); err != nil {
		return err
	}
	s.say("After %s the broker has given it up, and published its will: on the panel it is %q, and for everybody who comes later.", seconds(time.Since(began)), wordOff)
	s.try(s.command("events --since 1m --client pump-2"), s.command("retained list"))
	if err := s.linger(ctx, 4*time.Second); err != nil {
		return err
	}
	pump.resume()
	if err := s.await(ctx, "pump-2 to be back", func() bool { return s.plant.panel.state(pump.id) == wordOn }); err != nil {
		return err
	}
	pump.rest(false)
	s.say("It has power again, and is %q.", wordOn)
	return s.linger(ctx, 5*time.Second)
}

// historianLeaves is a kept session.
func (s *show) historianLeaves(ctx context.Context) error {
	h := s.plant.historian
	if err := h.leave(ctx); err != nil {
		return err
	}
	s.say("The historian is shut down. Its session is kept: what is for it waits, on disk.")
	s.try(s.command("clients show", h.id))
	if err := s.linger(ctx, 12*time.Second); err != nil {
		return err
	}
	waiting := s.missing(h)
	began := time.Now()
	h.start(s.context)
	if err := s.caughtUp(ctx, h); err != nil {
		return err
	}
	s.say("It is back, and %s after it has begun to connect it has the %s that had waited.", few(time.Since(began)), count(waiting, "message"))
	return s.linger(ctx, 4*time.Second)
}

// missing is how many messages that have been published a reader does not have.
func (s *show) missing(r *reader) uint64 {
	return r.receipts.compare(s.plant.ledger.matching(atGateway(r))).missing
}

// caughtUp waits until a reader has what has been published up to now.
func (s *show) caughtUp(ctx context.Context, r *reader) error {
	now := s.plant.ledger.matching(atGateway(r))
	return s.await(ctx, r.id+" to get what has waited", func() bool { return r.receipts.compare(now).missing == 0 })
}

// waiting is how many messages wait for a client, as the broker says.
func (s *show) waiting(id string) uint64 {
	c, _ := s.gateway.running().Client(id)
	return uint64(c.Queued.Messages)
}

// lineIsCut is an outage of the uplink.
func (s *show) lineIsCut(ctx context.Context) error {
	s.line.cut()
	if err := s.await(ctx, "the uplink to notice", func() bool { return s.gateway.bridge().State != "up" }); err != nil {
		return err
	}
	began := time.Now()
	s.say("A digger cuts the cable. The uplink is %s, and what is for the head office waits on disk. The plant goes on.", s.gateway.bridge().State)
	s.try(s.command("bridges list"))
	if err := s.linger(ctx, 14*time.Second); err != nil {
		return err
	}
	waiting := uint64(s.gateway.bridge().Queued.Messages)
	s.say("After %s without a line, %s for the head office.", seconds(time.Since(began)), count(waiting, "message")+wait(waiting))
	s.line.repair()
	began = time.Now()
	if err := s.await(ctx, "the uplink to be up", func() bool { return s.gateway.bridge().State == "up" }); err != nil {
		return err
	}
	if err := s.caughtUp(ctx, s.plant.office); err != nil {
		return err
	}
	s.say("The line is repaired: %s later all of it is at the head office, in order.", few(time.Since(began)))
	return s.linger(ctx, 6*time.Second)
}

// gatewayRestarts ends the broker and starts another one on its store.
func (s *show) gatewayRestarts(ctx context.Context) error {
	p := s.plant
	if err := p.historian.leave(ctx); err != nil {
		return err
	}
	s.line.cut()
	s.say("The historian is away and the line is down, both at once.")
	if err := s.linger(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	historian, office := s.waiting(p.historian.id), uint64(s.gateway.bridge().Queued.Messages)
	s.say("The broker stops, with %s that wait%s for the historian and %s for the head office. Pumps and meters go on measuring; tanks and camera pause, "+
		"since at QoS 0 nobody learns what was on its way.", count(historian, "message"), third(historian), comma(office))
	for _, c := range p.clients() {
		if c != p.office.client {
			c.expectBreak()
		}
	}
	if err := s.gateway.stop(ctx); err != nil {
		return fmt.Errorf("stop the gateway's broker: %w", err)
	}
	if err := s.linger(ctx, 2*time.Second); err != nil {
		return err
	}
	began := time.Now()
	if err := s.gateway.start(ctx); err != nil {
		return fmt.Errorf("start the gateway's broker again: %w", err)
	}
	b := s.gateway.running()
	s.say("Another one starts on the same folder: after %s it is there, with %s, %s and %s.", few(time.Since(began)),
		count(uint64(b.Stats().Sessions.Total), "session"), count(uint64(b.Stats().Retained.Messages), "retained message"), count(uint64(b.Stats().Queued.Messages), "message")+" that wait")
	p.historian.start(s.context)
	s.line.repair()
	if err := s.await(ctx, "everybody to be back", func() bool {
		return !slices.ContainsFunc(p.clients(), func(c *client) bool { return !c.up() })
	}); err != nil {
		return err
	}
	for _, d := range p.live() {
		d.rest(false)
	}
	for _, r := range []*reader{p.historian, p.office} {
		if err := s.caughtUp(ctx, r); err != nil {
			return err
		}
	}
	s.say("All devices have come back by themselves, the historian and the line, too, and what had waited is where it belongs.")
	s.try(s.command("store info"))
	return s.linger(ctx, 6*time.Second)
}

// quiet has what publishes at QoS 0 pause, and waits until all of that has
// arrived.
func (s *show) quiet(ctx context.Context) error {
	for _, d := range s.plant.live() {
		d.rest(true)
	}
	return s.await(ctx, "what was on its way at QoS 0", func() bool {
		for _, r := range []*reader{s.plant.panel, s.plant.display} {
			if s.missing(r) != sumOf(s.gateway.lost(r.id)) && r.count().broken == 0 {
				return false
			}
		}
		return true
	})
}

func sumOf(lost map[string]uint64) (n uint64) {
	for _, k := range lost {
		n += k
	}
	return n
}

func wait(n uint64) string {
	if n == 1 {
		return " waits"
	}
	return " wait"
}

func third(n uint64) string { return strings.TrimPrefix(wait(n), " wait") }

func seconds(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}

// stands shows, twice a second, how things stand.
func (s *show) stands(ctx context.Context) {
	for pause(ctx, 500*time.Millisecond) == nil {
		b := s.gateway.running()
		if b == nil {
			s.stand("  the gateway is down")
			continue
		}
		n := b.Stats()
		uplink := "-"
		for _, u := range n.Bridges {
			uplink = u.State
		}
		s.stand(fmt.Sprintf("  %d clients   %s in   %s out   %s missed   %s waiting   uplink %s", n.ClientCount, comma(n.Received.Messages), comma(n.Sent.Messages),
			comma(n.Dropped.Missed()), comma(uint64(n.Queued.Messages)), uplink))
	}
}
