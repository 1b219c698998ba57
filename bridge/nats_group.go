package bridge

import (
	"slices"

	"github.com/nats-io/nats.go"
)

// groups are those of the rules by which messages may come in, sorted; the empty
// one is that of the gateway itself.
func (rs Rules) groups() []string {
	var list []string
	for i := range rs {
		if rs[i].Direction&In != 0 {
			list = append(list, rs[i].Group)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ofGroup are the rules of one group.
func (rs Rules) ofGroup(group string) (list Rules) {
	for i := range rs {
		if rs[i].Group == group {
			list = append(list, rs[i])
		}
	}
	return list
}

// subscribe lets messages come from core NATS: each one, or, for a group, those
// that the server gives to this member of it.
func (n *natsIn) subscribe(group string) error {
	s := n.s
	subs, err := s.hear(s.up.rules().ofGroup(group).subjects(s.cfg.Events), group, &s.up.counts.overrun,
		func(m *nats.Msg) { n.take(group, m.Subject, m.Header, m.Data, nil) })
	n.mu.Lock()
	n.subs = append(n.subs, subs...)
	n.mu.Unlock()
	return err
}
