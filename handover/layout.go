package handover

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Format is the version of what follows. Whoever changes that raises it, and
// either makes the functions below read the version before or says in the
// changelog that clients connect anew.
const Format = 2

func (c *coder) state(s *State) {
	c.text(&s.Program)
	c.span(&s.Made)
	c.text(&s.Epoch)
	list(c, &s.Relay.Messages, 8, c.message)
	most := len(s.Relay.Messages)
	list(c, &s.Relay.Retained, 1, func(v *int) { c.place(v, most) })
	list(c, &s.Relay.Sessions, 16, func(v *relay.CarriedSession) { c.session(v, most) })
	list(c, &s.Listeners, 6, c.listener)
	list(c, &s.Conns, 12, c.conn)
}

func (c *coder) message(m *relay.CarriedMessage) {
	c.text(&m.Topic)
	c.text(&m.Publisher)
	c.bytes(&m.Payload)
	c.bytes(&m.Props)
	c.qos(&m.QoS)
	c.flag(&m.Retain)
	c.span(&m.Left)
	c.span(&m.Age)
}

func (c *coder) qos(v *byte) {
	n := uint64(*v)
	c.number(&n, 2)
	*v = byte(n)
}

func (c *coder) session(s *relay.CarriedSession, most int) {
	c.text(&s.Terms.ClientID)
	c.text(&s.Terms.Username)
	c.text(&s.Terms.Owner)
	c.text(&s.Terms.Subject)
	whole(c, &s.Terms.Expiry)
	c.span(&s.Age)
	c.span(&s.Away)
	whole(c, &s.Seq)
	whole(c, &s.Seen)
	list(c, &s.Subs, 7, c.subscription)
	list(c, &s.Inbound, 2, func(v *relay.CarriedID) { whole(c, &v.ID); c.flag(&v.Own) })
	list(c, &s.Window, 10, func(v *relay.CarriedDelivery) { c.delivery(v, most) })
	at := s.Current - 1
	c.place(&at, len(s.Window))
	s.Current = at + 1
	list(c, &s.Queue, 10, func(v *relay.CarriedDelivery) { c.delivery(v, most) })
	option(c, &s.Will, c.will)
	c.span(&s.WillIn)
	c.traffic(&s.Received)
	c.traffic(&s.Sent)
	whole(c, &s.Dropped)
	option(c, &s.Port, c.port)
}

func (c *coder) subscription(s *relay.Subscription) {
	c.text(&s.Filter)
	c.qos(&s.QoS)
	c.flag(&s.NoLocal)
	c.flag(&s.RetainAsPublished)
	c.qos(&s.RetainHandling)
	whole(c, &s.ID)
	option(c, &s.Drain, func(d *relay.Drain) {
		rank := uint64(d.Rank)
		c.number(&rank, math.MaxInt32)
		d.Rank = int(rank)
		c.span(&d.TTL)
		c.flag(&d.Latest)
		c.flag(&d.Never)
		c.flag(&d.Kept)
	})
}

func (c *coder) delivery(d *relay.CarriedDelivery, most int) {
	whole(c, &d.Seq)
	c.flag(&d.Stored)
	c.place(&d.Message, most)
	whole(c, &d.State)
	whole(c, &d.PacketID)
	c.qos(&d.QoS)
	c.flag(&d.Retain)
	c.flag(&d.Latest)
	list(c, &d.IDs, 1, func(v *uint32) { whole(c, v) })
	c.text(&d.Share)
	c.span(&d.Left)
}

func (c *coder) will(w *wire.Will) {
	c.qos(&w.QoS)
	c.flag(&w.Retain)
	c.text(&w.Topic)
	c.bytes(&w.Payload)
	whole(c, &w.Delay)
	whole(c, &w.Expiry)
	c.flag(&w.HasExpiry)
	c.bytes(&w.Props)
}

func (c *coder) traffic(t *relay.Traffic) {
	for q := range t.QoS {
		whole(c, &t.QoS[q])
	}
	whole(c, &t.Bytes)
}

func (c *coder) port(p *relay.CarriedPort) {
	whole(c, &p.ReceiveMaximum)
	whole(c, &p.TopicAliasMaximum)
	pairs(c, &p.Aliases, func(k *uint16) { whole(c, k) }, c.text)
	pairs(c, &p.SentAliases, c.text, func(v *uint16) { whole(c, v) })
}

// pairs is a map, in the order of its keys.
func pairs[K cmp.Ordered, V any](c *coder, m *map[K]V, key func(*K), value func(*V)) {
	type pair struct {
		k K
		v V
	}
	var all []pair
	if !c.reads() {
		for _, k := range slices.Sorted(maps.Keys(*m)) {
			all = append(all, pair{k, (*m)[k]})
		}
	}
	list(c, &all, 2, func(p *pair) { key(&p.k); value(&p.v) })
	if !c.reads() {
		return
	}
	*m = nil
	for _, p := range all {
		if *m == nil {
			*m = make(map[K]V, len(all))
		}
		(*m)[p.k] = p.v
	}
}

func (c *coder) listener(l *Listener) {
	c.text(&l.Name)
	c.text(&l.Type)
	c.text(&l.Network)
	c.text(&l.Address)
	c.text(&l.Bound)
	whole(c, &l.Mode)
}

func (c *coder) conn(k *Conn) {
	c.text(&k.Listener)
	option(c, &k.Origin, func(o *listen.CarriedOrigin) {
		c.text(&o.Remote)
		c.text(&o.Local)
		c.text(&o.Name)
	})
	c.span(&k.Age)
	c.span(&k.Silence)
	size := uint64(k.MaxPacket)
	c.number(&size, math.MaxInt32)
	k.MaxPacket = int(size)
	c.text(&k.ID)
	option(c, &k.Username, c.text)
	c.bytes(&k.Connect)
	c.bytes(&k.Input)
	c.bytes(&k.Output)
	whole(c, &k.Traffic.BytesIn)
	whole(c, &k.Traffic.BytesOut)
	whole(c, &k.Traffic.PacketsIn)
	whole(c, &k.Traffic.PacketsOut)
	c.flag(&k.Gone)
	option(c, &k.Client, c.client)
	c.text(&k.User)
}

func (c *coder) client(h *hooks.Carried) {
	c.identity(&h.Identity)
	c.span(&h.Connected)
	whole(c, &h.Before.Received)
	whole(c, &h.Before.Sent)
}

func (c *coder) identity(i *auth.Identity) {
	c.text(&i.Name)
	list(c, &i.Groups, 1, c.text)
	list(c, &i.ClientIDs, 1, c.text)
	c.text(&i.Source)
	ends := !i.NotAfter.IsZero()
	c.flag(&ends)
	var at uint64
	if ends {
		at = uint64(max(0, i.NotAfter.Unix()))
		c.number(&at, 1<<40)
	}
	if c.reads() {
		i.NotAfter = time.Time{}
		if ends {
			i.NotAfter = time.Unix(int64(at), 0)
		}
	}
}
