package appliance

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/systemd"
)

// takeSocket is the socket that l is to listen on, nil if it binds its own, or
// if there is none of its name: checkSockets finds that.
func (b *Broker) takeSocket(l ListenerConfig) net.Listener {
	name, ok := l.passed()
	if !ok {
		return nil
	}
	i := slices.IndexFunc(b.sockets, func(s systemd.Socket) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	nl := b.sockets[i].Listener
	b.sockets = slices.Delete(b.sockets, i, i+1)
	b.taken = append(b.taken, l.Name)
	return nl
}

// checkSockets says which listener has got no socket, and closes those that no
// listener wants.
func (b *Broker) checkSockets() error {
	var left []string
	for _, s := range b.sockets {
		_ = s.Listener.Close()
		left = append(left, s.Name)
	}
	b.sockets = nil
	for i, l := range b.cfg.Listeners {
		if name, ok := l.passed(); ok && !slices.Contains(b.taken, l.Name) {
			others := "it has passed none"
			if len(left) > 0 {
				others = "it has passed " + strings.Join(left, ", ")
			}
			return fmt.Errorf("%w: listener %q: systemd has passed no socket called %q; %s; correct %s, or FileDescriptorName in the socket unit",
				ErrListen, l.Name, name, others, listenerPath(i, "address"))
		}
	}
	if len(left) > 0 {
		b.log.Warn("sockets of systemd that no listener names are closed", "sockets", left)
	}
	return nil
}
