package appliance

import (
	"context"
	"fmt"
	"os"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/memory"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
)

// WithProcessMemory makes the memory of the whole process the broker's: the
// garbage collector is made to keep to Config.Memory, unless GOMEMLIMIT says
// something else, and garbage is collected when the broker must know what of
// the memory is in use. Without it a broker watches the process and bounds
// itself, but changes nothing that the program around it may rely on.
func WithProcessMemory() Option { return func(b *Broker) { b.ownsProcess = true } }

// budgetOf finds out what the configuration's budget is in bytes, 0 for none,
// and who says so.
func (b *Broker) budgetOf(c Config) (MemoryBudget, string) {
	switch {
	case c.Memory == MemoryOff:
		return 0, "off"
	case c.Memory > 0:
		return c.Memory, "config"
	}
	root := b.machine
	if root == nil {
		root = os.DirFS("/")
	}
	found, err := memory.Find(root)
	if err != nil {
		return 0, "unknown"
	}
	return MemoryBudget(found.Budget), found.Source
}

// budget makes the bounds fit the memory that there is.
func (b *Broker) budget() {
	budget, source := b.budgetOf(b.conf())
	b.bounds, b.budgetSource = b.conf().fit(budget), source
	if budget > 0 {
		collect := int64(0)
		if b.ownsProcess {
			collect = int64(budget)
		}
		b.watcher = memory.NewWatcher(int64(budget), memory.NewProcess(collect).Used, b.pressed)
	}
}

// watchCollections has the watcher look after each collection of garbage, until
// the broker stops. A machine of tests has no collections of its own.
func (b *Broker) watchCollections() {
	if b.machine == nil {
		context.AfterFunc(b.run, memory.OnCollection(b.watcher.Soon))
	}
}

// fit makes the bounds of another configuration fit the memory that there is.
func (b *Broker) fit(c Config) bounds {
	if b.watcher == nil {
		return c.fit(0)
	}
	return c.fit(MemoryBudget(b.watcher.Budget()))
}

// keepToBudget makes the process keep to the budget, if it is the broker's, and
// says what the bounds are.
func (b *Broker) keepToBudget() {
	log := b.log.With("component", "memory")
	if b.watcher == nil {
		if b.budgetSource == "unknown" {
			log.Warn("no memory budget, bounds are those of the config; set memory to a size")
		}
		return
	}
	budget := b.watcher.Budget()
	if b.conf().Memory == MemoryAuto {
		for _, f := range b.conf().memoryFindings(MemoryBudget(budget)) {
			log.Warn("a bound does not fit into the memory that there is", "problem", f.path+": "+f.message(nil))
		}
	}
	e := b.bounds
	log.Info("memory budget", "bytes", budget, "from", b.budgetSource, "max_connections", e.Limits.MaxConnections,
		"total_queued_bytes", e.Sessions.TotalQueuedBytes.rounded(), "retained_bytes", e.Retained.MaxBytes.rounded(), "max_outbound_bytes", e.Limits.MaxOutboundBytes.rounded())
	if b.ownsProcess {
		if err := memory.LeaveCode(); err != nil {
			log.Debug("what starting has needed stays resident", "error", err)
		}
		if limit, ours := memory.Limit(budget, os.Getenv); !ours {
			log.Info("GOMEMLIMIT is set and counts for the garbage collector", "bytes", limit)
		}
	}
}

// pressed gives up what the level asks for, and says so.
func (b *Broker) pressed(from, to memory.Level, used int64) {
	b.gate.Guard(to >= memory.Guarded)
	switch {
	case to >= memory.Severe:
		b.relay.SetPressure(relay.ShedQueues)
	case to >= memory.Shedding:
		b.relay.SetPressure(relay.ShedQoS0)
	default:
		b.relay.SetPressure(relay.NoPressure)
	}
	log := b.log.With("component", "memory", "pressure", to.String(), "used", used, "budget", b.watcher.Budget())
	if to > from {
		log.Warn("memory is short: " + reliefs[to])
	} else {
		log.Info("memory is less short")
	}
	b.system(pressureWords[to], fmt.Sprintf("%d of %d bytes are used", used, b.watcher.Budget()))
}

// pressureWords are the system events of the levels.
var pressureWords = [memory.Severe + 1]string{
	memory.Calm:     events.SystemMemoryCalm,
	memory.Guarded:  events.SystemMemoryGuarded,
	memory.Shedding: events.SystemMemoryShedding,
	memory.Severe:   events.SystemMemorySevere,
}

// reliefs are what is given up at each level.
var reliefs = [...]string{
	memory.Calm:     "no",
	memory.Guarded:  "few clients at a time may connect",
	memory.Shedding: "QoS 0 is dropped for clients that do not keep up, too",
	memory.Severe:   "queues are cut short or stored, and nothing new is retained, too",
}

// budgetStats describes the budget.
func (b *Broker) budgetStats(g listen.Totals, t relay.Totals) statsd.Budget {
	s := statsd.Budget{Source: b.budgetSource, Level: memory.Calm.String(), Outbound: g.OutboundBytes, Input: g.InputBytes}
	if w := b.watcher; w != nil {
		s.Bytes, s.Used, s.Most, s.Level, s.Pressure = w.Budget(), w.Used(), w.Most(), w.Level().String(), int(w.Level())
		s.Begun = map[string]uint64{}
		for l := memory.Guarded; l <= memory.Severe; l++ {
			s.Begun[l.String()] = w.Begun(l)
		}
	}
	s.Shed = map[string]uint64{
		"connections": g.Evicted + g.Refused[listen.RefusedPressure],
		"qos0":        t.Dropped[relay.DropMemory.String()],
		"retained":    t.ShedRetained,
		"spilled":     t.ShedSpilled,
	}
	return s
}
