package appliance

import "fmt"

// MemoryBudget is how much memory the broker keeps to.
type MemoryBudget int64

// The budgets that are no number of bytes.
const (
	MemoryAuto MemoryBudget = 0  // what the control group or the machine leaves; see docs/MEMORY.md
	MemoryOff  MemoryBudget = -1 // no budget: each bound stands for itself
)

// minMemory is the least budget that a broker can keep to.
const minMemory = 24 * MiB

// String is "auto", "off" or a size.
func (m MemoryBudget) String() string {
	switch m {
	case MemoryAuto:
		return "auto"
	case MemoryOff:
		return "off"
	}
	return ByteSize(m).String()
}

// MarshalText is String.
func (m MemoryBudget) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads "auto", "off" or a size with its unit.
func (m *MemoryBudget) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "auto":
		*m = MemoryAuto
	case "off":
		*m = MemoryOff
	default:
		size, err := ParseByteSize(s)
		if err != nil {
			return fmt.Errorf("%w, or auto or off", err)
		}
		if size <= 0 {
			return fmt.Errorf("%s is no budget; write auto, off or a size from %v on", quoteShort(s), minMemory)
		}
		*m = MemoryBudget(size)
	}
	return nil
}

// bounds is a Config whose bounds fit a budget, and the bounds of what Config
// has no keys for. A zero among them is no bound.
type bounds struct {
	Config
	input, outbound, connects, filters int64 // bytes, of all connections or sessions together
	unauthenticated                    int64 // likewise
	backlog                            int64 // bytes that wait to be written to the store
	routes                             int   // topics whose routes are remembered
	subscribe                          int   // bytes of a SUBSCRIBE, which takes thirty times as many to work on
	socket                             int   // bytes that the kernel holds for a connection in each direction
}

// What parts of a budget are for. A third of what is not the process's own
// stays free, for garbage that is yet to be collected.
const (
	ownMemory    = 8 * MiB  // the process when it does nothing
	hashMemory   = 14 * MiB // checks of passwords that run at the same time
	percentUsed  = 67
	clientMemory = 18 * KiB // goroutines and state of a connection
	tlsMemory    = 40 * KiB // and what TLS takes beside that
	keptMemory   = 3 * KiB  // a session
	routeMemory  = 5 * KiB  // a topic with all the targets that may be remembered for it, and its publishers
	stalled      = 512      // connections whose buffers in the kernel may be full, in one direction or the other
)

// Percent of what is to be used.
const (
	forClients  = 36
	forQueues   = 18
	forRetained = 16
	forOutbound = 14
	forInput    = 7
	forFilters  = 4
	forConnects = 3
	forRoutes   = 2
)

// fit makes the bounds that are at their defaults as small as budget asks for,
// and never larger. A bound that somebody has set stays as it is, and what it
// takes beyond its share is taken from the others.
func (c Config) fit(budget MemoryBudget) bounds {
	if budget <= 0 {
		return bounds{Config: c}
	}
	usable := c.usable(budget)
	def := DefaultConfig()
	over := func(v, preset ByteSize, percent int64) ByteSize {
		if v == preset {
			return 0
		}
		return max(0, v-usable/100*ByteSize(percent))
	}
	extra := over(c.Retained.MaxBytes, def.Retained.MaxBytes, forRetained) + over(c.Sessions.TotalQueuedBytes, def.Sessions.TotalQueuedBytes, forQueues)
	if c.Limits.MaxConnections != def.Limits.MaxConnections {
		extra += max(0, ByteSize(c.Limits.MaxConnections)*c.connectionMemory()-usable/100*forClients)
	}
	usable = max(usable-extra, usable/4)
	share := func(percent ByteSize) ByteSize { return max(64*KiB, usable/100*percent) }

	b := bounds{Config: c}
	b.input, b.outbound = int64(share(forInput)), int64(share(forOutbound))
	b.connects, b.filters = int64(share(forConnects)), int64(share(forFilters))
	b.unauthenticated = int64(share(forConnects))
	b.subscribe = int(max(64*KiB, min(maxFrame, ByteSize(budget)/300)))
	b.routes = int(max(256, min(4096, share(forRoutes)/routeMemory)))
	b.backlog = int64(max(1*MiB, min(8*MiB, usable/10)))

	lower(&b.Retained.MaxBytes, def.Retained.MaxBytes, share(forRetained))
	lower(&b.Sessions.TotalQueuedBytes, def.Sessions.TotalQueuedBytes, max(share(forQueues), c.Limits.MaxPacketSize))
	lower(&b.Limits.MaxConnections, def.Limits.MaxConnections, int(max(16, share(forClients)/c.connectionMemory())))
	lower(&b.Limits.MaxOutboundBytes, def.Limits.MaxOutboundBytes, max(32*KiB, ByteSize(b.outbound)/4))
	lower(&b.Limits.MaxUnauthenticated, def.Limits.MaxUnauthenticated, max(16, b.Limits.MaxConnections/4))
	lower(&b.Sessions.MaxSessions, def.Sessions.MaxSessions, max(2*b.Limits.MaxConnections, int(usable/10/keptMemory)))
	if !c.Storage.persistent() {
		lower(&b.Sessions.MaxQueuedBytes, def.Sessions.MaxQueuedBytes, max(b.Sessions.TotalQueuedBytes/2, c.Limits.MaxPacketSize))
	}
	// A client that takes nothing, or is not read, keeps the kernel's buffers full,
	// which count as well: to the control group, or to the machine.
	if n := ByteSize(budget) / 8 / stalled; n < 256*KiB {
		b.socket = int(max(16*KiB, n))
	}
	return b
}

// lower makes v smaller if it is what was preset.
func lower[T int | ByteSize](v *T, preset, most T) {
	if *v == preset && (*v > most || *v == 0) {
		*v = most
	}
}

// usable is what a budget leaves for clients and messages.
func (c Config) usable(budget MemoryBudget) ByteSize {
	own := ByteSize(ownMemory)
	if c.Access.Passwords != "" {
		own += min(hashMemory, ByteSize(budget)/4)
	}
	return max(ByteSize(budget)-own, ByteSize(budget)/4) / 100 * percentUsed
}

// connectionMemory is what a connection takes at the listener where it takes
// most.
func (c Config) connectionMemory() ByteSize {
	for _, l := range c.Listeners {
		if l.Secure() {
			return clientMemory + tlsMemory
		}
	}
	return clientMemory
}

// memoryFindings compares the bounds that somebody has set with a budget. It
// finds nothing if there is none.
func (c Config) memoryFindings(budget MemoryBudget) []finding {
	if budget <= 0 {
		return nil
	}
	if ByteSize(budget) < minMemory {
		return []finding{{path: "memory", what: fmt.Sprintf("%v is less than %v", budget, minMemory), mend: "raise it, or write off"}}
	}
	usable, def := c.usable(budget), DefaultConfig()
	var out []finding
	for _, v := range []struct {
		path       string
		is, preset ByteSize
	}{
		{"retained.max_bytes", c.Retained.MaxBytes, def.Retained.MaxBytes},
		{"sessions.total_queued_bytes", c.Sessions.TotalQueuedBytes, def.Sessions.TotalQueuedBytes},
		{"limits.max_packet_size", c.Limits.MaxPacketSize, def.Limits.MaxPacketSize},
	} {
		if v.is != v.preset && v.is > usable {
			out = append(out, finding{path: v.path, what: fmt.Sprintf("%v do not fit into the %v that are left for clients and messages of the %v of", v.is, usable.rounded(), budget), other: "memory", mend: "lower this or raise that"})
		}
	}
	if n := c.Limits.MaxConnections; n != def.Limits.MaxConnections && n > 0 && ByteSize(n) > usable/c.connectionMemory() {
		out = append(out, finding{path: "limits.max_connections", what: fmt.Sprintf("%d connections of about %v do not fit into the %v that are left for clients and messages of the %v of", n, c.connectionMemory(), usable.rounded(), budget), other: "memory", mend: "lower this or raise that"})
	}
	return out
}

// rounded is a size that is easy to read.
func (b ByteSize) rounded() ByteSize {
	for _, u := range []ByteSize{GiB, MiB, KiB} {
		if b >= 10*u {
			return b / u * u
		}
	}
	return b
}
