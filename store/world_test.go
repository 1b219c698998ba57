package store_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// world is a broker on a disk that breaks, devices that use it, and the books
// of what was promised to them.
type world struct {
	t      testing.TB
	seed   uint64
	rng    *rand.Rand
	script []string

	disk    *faultdisk.Disk
	change  func(*relay.Config, *store.Options)
	relay   *relay.Relay
	store   *store.Store
	report  *store.Report
	devices []*device

	all       []*message
	published int
	refused   int

	checkpoints bool                      // the devices go on while some are written
	unsure      map[string]bool           // "filter device" whose SUBACK never came
	latest      map[string]map[string]int // retained state that a device has seen, by topic
}

func (w *world) note(format string, args ...any) {
	w.script = append(w.script, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.stop()
	w.t.Fatalf("seed %d: after\n  %s\n%s", w.seed, strings.Join(w.script, "\n  "), fmt.Sprintf(format, args...))
}

// newWorld starts a broker with devices on an empty disk. It is to be used in
// a synctest bubble.
func newWorld(t testing.TB, seed uint64, change func(*relay.Config, *store.Options)) *world {
	w := &world{t: t, seed: seed, rng: seeded(seed), disk: faultdisk.New(seed), change: change,
		unsure: make(map[string]bool), latest: make(map[string]map[string]int)}
	w.disk.Unsteady()
	for _, id := range []string{"a", "b", "c"} {
		w.devices = append(w.devices, &device{world: w, id: id, subs: make(map[string]byte), unread: make(map[uint16]bool)})
	}
	return w
}

// start starts a broker on what the disk holds.
func (w *world) start() {
	w.t.Helper()
	cfg := relay.DefaultConfig()
	cfg.Queue.WhenFull = relay.Refuse
	opts := store.Options{Disk: w.disk, Level: relay.Sync, SegmentSize: 8 << 10, Log: slog.New(slog.DiscardHandler)}
	if w.change != nil {
		w.change(&cfg, &opts)
	}
	s, rec, report, err := store.Open(opts)
	if err != nil {
		w.fail("open: %v", err)
	}
	w.store, w.report = s, report
	w.relay = relay.New(cfg, s, events.NewBus(nil, wire.MatchTopic), opts.Log)
	debugState(w, rec)
	w.relay.Restore(rec)
	s.Run(w.relay)
	w.note("started: %d sessions, %d retained", report.Sessions, report.Retained)
	if report.Unread > 0 {
		w.fail("%d stored messages cannot be read", report.Unread)
	}
}

// stop ends the broker, whose disk may have failed.
func (w *world) stop() {
	if w.relay == nil {
		return
	}
	books := w.relay.Balance()
	w.relay.Close()
	damaged := w.relay.Drops()[relay.DropDamaged.String()]
	_ = w.store.Close()
	w.relay = nil
	for _, a := range books {
		if n := a.Difference(); n != 0 {
			w.fail("%s: %d are missing: in %v, out %v", a.Name, n, a.In, a.Out)
		}
	}
	if damaged > 0 && !w.crashed() {
		w.fail("%d stored messages could not be read", damaged)
	}
	for _, d := range w.devices {
		d.forget()
	}
}

func (w *world) crashed() bool { return w.disk.Gone() }

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settle waits until the broker has done all that it can do by now.
func (w *world) settle() { synctest.Wait() }

// interested are the devices that m, published now, is promised to.
func (w *world) interested(m *message) []*device {
	var list []*device
	for _, d := range w.devices {
		for filter := range d.subs {
			if wire.MatchTopic(filter, m.topic) {
				list = append(list, d)
				break
			}
		}
	}
	return list
}

// seen checks that the state of a topic does not go back for somebody who has
// seen it; old messages may come again.
func (w *world) seen(a arrival) {
	if !strings.HasPrefix(a.topic, "state/") || a.topic == "state/a" {
		return // at QoS 1 an earlier one may follow, sent again by its publisher
	}
	n, _ := strconv.Atoi(a.payload)
	if w.latest[a.topic] == nil {
		w.latest[a.topic] = make(map[string]int)
	}
	w.latest[a.topic]["seen"] = max(w.latest[a.topic]["seen"], n)
}

// step lets something happen.
func (w *world) step() {
	if w.checkpoints && w.rng.IntN(20) == 0 {
		w.checkpoint()
	}
	w.act()
}

// checkpoint writes one while the devices go on: before the state is recorded,
// and before what was recorded of it counts.
func (w *world) checkpoint() {
	w.settle()
	w.note("checkpoint")
	var mark uint64
	err := w.store.Journal().Checkpoint(func() error {
		w.acts(6)
		mark = w.relay.Snapshot()
		w.acts(3)
		return nil
	})
	w.note("checkpoint: %v", err)
	if err == nil {
		w.relay.Stored(mark)
	}
}

func (w *world) acts(most int) {
	for range w.rng.IntN(most + 1) {
		w.act()
	}
}

// act lets a device do something.
func (w *world) act() {
	defer w.balanced()
	d := w.devices[w.rng.IntN(len(w.devices))]
	switch n := w.rng.IntN(12); {
	case !d.connected():
		d.connect()
	case d.link.Ended():
		d.lose()
	case n == 0:
		d.lose()
	case n == 1:
		filters := []string{"plant/a", "plant/+", "state/#", "plant/#", "plant/b"}
		d.subscribe(filters[w.rng.IntN(len(filters))], byte(1+w.rng.IntN(2)))
	case n < 6:
		d.publish()
	case n < 9:
		d.read()
		d.answer(false)
	default:
		w.settle()
		d.read()
		d.answer(true)
	}
}

// balanced checks that the relay can account for every message.
func (w *world) balanced() {
	w.t.Helper()
	for _, a := range w.relay.Balance() {
		if n := a.Difference(); n != 0 {
			w.fail("%s: %d are missing: in %v, out %v", a.Name, n, a.In, a.Out)
		}
	}
}

// finish lets every device get everything, and closes the books.
func (w *world) finish() {
	for quiet := 0; quiet < 3; {
		before := len(w.script)
		for _, d := range w.devices {
			if d.connected() && d.link.Ended() {
				d.lose()
			}
			if !d.connected() {
				d.connect()
			}
			w.settle()
			d.read()
			d.answer(true)
		}
		w.settle()
		if len(w.script) == before {
			quiet++
		} else {
			quiet = 0
		}
		if len(w.script) > 1_000_000 {
			w.fail("it does not end")
		}
	}
	w.checkDeliveries()
	w.checkRetained()
}

func (w *world) checkDeliveries() {
	for _, m := range w.all {
		if m.qos == 0 || !m.acked {
			continue
		}
		for _, d := range m.owed {
			n, exactly := 0, 0
			for _, a := range d.got {
				if a.payload == m.payload() && a.topic == m.topic {
					n++
					if a.qos == 2 {
						exactly++
					}
				}
			}
			if n == 0 {
				w.fail("%s never got %d on %s, which %s was told is safe", d.id, m.n, m.topic, m.from.id)
			}
			if exactly > 1 && !m.retain {
				w.fail("%s got %d at QoS 2 %d times", d.id, m.n, exactly)
			}
		}
	}
	for _, d := range w.devices {
		w.checkOrder(d)
	}
}

// checkOrder checks the order of first arrival, for each publisher, topic and
// QoS. [MQTT-4.6.0-6]
func (w *world) checkOrder(d *device) {
	known := make(map[string]bool)
	last := make(map[string]int)
	for _, a := range d.got {
		if a.qos == 0 || known[a.payload] || strings.HasPrefix(a.topic, "state/") {
			continue // retained messages come when they are asked for, too
		}
		known[a.payload] = true
		n, _ := strconv.Atoi(a.payload)
		m := w.all[n]
		if !slices.Contains(m.owed, d) || m.late {
			continue // what is sent again at QoS 1 finds subscriptions that the first time did not
		}
		key := fmt.Sprint(m.from.id, m.topic, m.qos, a.qos)
		if n < last[key] {
			w.fail("%s got %d after %d of the same publisher, topic and QoS", d.id, n, last[key])
		}
		last[key] = n
	}
}

// checkRetained checks that no retained message is older than one that was
// acknowledged, or seen.
func (w *world) checkRetained() {
	w.note("somebody asks for the retained messages")
	link := &pipe{}
	port, _ := w.relay.Open(relay.Connect{ClientID: "observer", Version: wire.V5, CleanStart: true})
	port.Attach(link)
	_, granted := port.Subscribe([]relay.Subscription{{Filter: "state/#"}}, &confirmed{})
	port.SendRetained(granted)
	port.Flush()
	w.settle()
	values := make(map[string]int)
	for rest := link.take(); len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil {
			w.fail("observer: %v", err)
		}
		rest = rest[n:]
		p, err := wire.DecodeDelivery(f, wire.V5)
		if err != nil {
			w.fail("observer: %v", err)
		}
		values[string(p.Topic)], _ = strconv.Atoi(string(p.Payload))
	}
	port.End(relay.End{})
	for _, m := range slices.Backward(w.all) {
		if got, there := values[m.topic]; m.retain && m.acked && (!there || got < m.n && !w.all[got].late) {
			w.fail("%s has the retained message %d (%v); %d was acknowledged", m.topic, got, there, m.n)
		}
	}
	for topic, seen := range w.latest {
		if got := values[topic]; got < seen["seen"] && !w.all[got].late {
			w.fail("%s has the retained message %d; somebody has seen %d", topic, values[topic], seen["seen"])
		}
	}
}
