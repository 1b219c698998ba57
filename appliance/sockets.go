package appliance

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/systemd"
)

// giveSockets gives the endpoints the sockets of the service manager that they
// name, and closes those that nobody names. The error says who has got none, and
// will not get that of the process before either.
func (b *Broker) giveSockets() error {
	var without error
	for i, e := range b.endpoints {
		name, ok := e.cfg.passed()
		if !ok {
			continue
		}
		if nl := b.takeSocket(name); nl != nil {
			e.put(b.gate, i, nl, nil)
			e.given = true
		} else if without == nil && !b.inherits(e) {
			without = b.noSocket(i, e.cfg, name)
		}
	}
	var left []string
	for _, s := range b.sockets {
		_ = s.Listener.Close()
		left = append(left, s.Name)
	}
	b.sockets = nil
	if without == nil && len(left) > 0 {
		b.log.Warn("sockets of systemd that no listener names are closed", "sockets", left)
	}
	return without
}

// takeSocket is the service manager's socket of that name, nil if there is none.
func (b *Broker) takeSocket(name string) net.Listener {
	i := slices.IndexFunc(b.sockets, func(s systemd.Socket) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	nl := b.sockets[i].Listener
	b.sockets = slices.Delete(b.sockets, i, i+1)
	return nl
}

func (b *Broker) noSocket(i int, l ListenerConfig, name string) error {
	others := "it has passed none"
	if len(b.sockets) > 0 {
		var names []string
		for _, s := range b.sockets {
			names = append(names, s.Name)
		}
		others = "it has passed " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: listener %q: systemd has passed no socket called %q; %s; correct %s, or FileDescriptorName in the socket unit",
		ErrListen, l.Name, name, others, listenerPath(i, "address"))
}
