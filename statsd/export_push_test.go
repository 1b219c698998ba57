package statsd

import (
	"context"
	"net/netip"
)

// Look makes p find out where the server is, if it is time, and wait for the
// answer.
func (p *Pusher) Look(ctx context.Context) {
	p.target.look(ctx)
	if t, ok := p.target.(*udpTarget); ok && t.looking != nil {
		<-t.looking
		select {
		case at := <-t.answers:
			t.adopt(at)
		default:
		}
	}
}

// SetLookup replaces the resolver of a Pusher to a name.
func (p *Pusher) SetLookup(f func(ctx context.Context, network, host string) ([]netip.Addr, error)) {
	p.target.(*udpTarget).lookup = f
}

// ClosePush gives up the socket.
func (p *Pusher) ClosePush() { p.target.close() }

// Pack packs texts and returns the datagrams.
func Pack(texts []string, limit int) (datagrams []string, ranges [][2]int, left int) {
	units := make([]unit, len(texts))
	for i, t := range texts {
		units[i].text = t
	}
	left = pack(units, limit, func(d []byte, from, to int) {
		datagrams = append(datagrams, string(d))
		ranges = append(ranges, [2]int{from, to})
	})
	return datagrams, ranges, left
}

// StatsdName is what stands before the colon, and after the type, of a line for a
// metric with these labels.
func StatsdName(prefix string, style TagStyle, labels map[string]string, name string, keys, values []string) (head, tail string) {
	d := describe(name, "", keys...)
	return newNamer(prefix, style, labels).name(&d, values)
}

// GaugeText is the text that sets a gauge called name.
func GaugeText(name string, value float64) string { return gaugeText(&series{head: name}, value) }

// TagText is tagText.
func TagText(s string) string { return tagText(s) }

// SetSend makes f the network of p.
func (p *Pusher) SetSend(f func(datagram []byte) error) { p.target = fakeTarget{deliver: f} }

type fakeTarget struct {
	noFound
	deliver func([]byte) error
}

func (t fakeTarget) send(b []byte) error { return t.deliver(b) }
func (fakeTarget) close()                {}
