package appliance

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// arrivalWait bounds how long Start waits until clients that were handed over are
// read again.
const arrivalWait = 10 * time.Second

// WithHandover has Start go on with what an earlier broker has handed over by
// HandOver. The sockets in it are the broker's once Start is called; the Parcel
// is to be closed by the caller, after Start. Clients for whom there is no
// listener any more, and those who would not be let in any more, are
// disconnected.
func WithHandover(p *handover.Parcel) Option { return func(b *Broker) { b.arrived = p } }

// inherit gives the endpoints the sockets of the listeners before them that were
// at the same place, and closes the others.
func (b *Broker) inherit() {
	if b.arrived == nil {
		return
	}
	before := b.arrived.State.Listeners
	for _, byName := range []bool{true, false} {
		for i, e := range b.endpoints {
			at := slices.IndexFunc(before, func(l handover.Listener) bool {
				was := carriedConfig(l)
				return e.inherited == nil && !e.given && was.samePlace(e.cfg) && (byName && l.Name == e.cfg.Name || !byName && !e.cfg.anyPort())
			})
			if at < 0 || b.arrived.Listeners[at] == nil {
				continue
			}
			e.inherited = &before[at]
			nl := b.arrived.Listeners[at]
			u, local := nl.(*net.UnixListener)
			if _, passed := e.cfg.passed(); passed { // the service manager looks after its path
				if local {
					u.SetUnlinkOnClose(false)
				}
				local = false
			}
			if _, err := os.Lstat(e.cfg.Address); local && err != nil { // nobody finds it any more: it is bound anew
				continue
			}
			b.arrived.Listeners[at] = nil
			if local {
				b.arrivedPaths = append(b.arrivedPaths, u)
			}
			e.put(b.gate, i, nl, nil)
		}
	}
	for i, nl := range b.arrived.Listeners {
		if nl != nil {
			_ = nl.Close()
			b.arrived.Listeners[i] = nil
		}
	}
}

// inherits reports whether there is a socket of the process before for e, which the
// service manager was to pass.
func (b *Broker) inherits(e *endpoint) bool {
	return b.arrived != nil && slices.ContainsFunc(b.arrived.State.Listeners, func(l handover.Listener) bool { return carriedConfig(l).samePlace(e.cfg) })
}

// carriedConfig is as much of a listener's configuration as tells where it was.
func carriedConfig(l handover.Listener) ListenerConfig {
	return ListenerConfig{Name: l.Name, Type: l.Type, Address: l.Address, Mode: os.FileMode(l.Mode)}
}

// doorOf is the listener by which a client goes on that came by one called name;
// nil if that is not there any more, or is somewhere else.
func (b *Broker) doorOf(name string) *endpoint {
	i := slices.IndexFunc(b.endpoints, func(e *endpoint) bool { return e.cfg.Name == name })
	if i < 0 {
		return nil
	}
	e := b.endpoints[i]
	if _, passed := e.cfg.passed(); passed {
		return e
	}
	if e.inherited == nil || e.inherited.Name != name || !carriedConfig(*e.inherited).sameKind(e.cfg) {
		return nil
	}
	return e
}

// adopt goes on with the clients that were handed over, and waits until they are
// read again.
func (b *Broker) adopt() {
	if b.arrived == nil {
		return
	}
	for _, u := range b.arrivedPaths { // it was not to be removed by a start that fails
		u.SetUnlinkOnClose(true)
	}
	b.arrivedPaths = nil
	if err := b.arrived.TakenOver(); err != nil {
		b.log.Warn("it could not be noted that clients were taken over", "error", err)
	}
	began, elapsed := time.Now(), b.arrived.Since()
	conns := b.arrived.State.Conns
	begin := make(chan struct{})
	type adopted struct {
		*listen.Conn
		of *handover.Conn
	}
	var under []adopted
	var homeless []*listen.Conn
	var lost []*handover.Conn
	each := func(known bool) {
		for i := range conns {
			k := &conns[i]
			if (k.Connect != nil) != known {
				continue
			}
			f := b.arrived.Conns[i]
			delete(b.arrived.Conns, i)
			c, closing, err := b.adoptOne(k, f, elapsed, begin)
			if err != nil && !k.Gone {
				b.log.Warn("client cannot go on and has to connect anew", "client", k.ID, "error", err)
			}
			switch {
			case err != nil:
				lost = append(lost, k)
			case closing:
				homeless = append(homeless, c)
				fallthrough
			default:
				under = append(under, adopted{c, k})
			}
		}
	}
	each(true)
	late := time.NewTimer(arrivalWait)
	defer late.Stop()
	expired := false
	for _, c := range under {
		if expired {
			break
		}
		select {
		case <-c.Underway():
		case <-c.Done():
		case <-late.C:
			expired = true
		}
	}
	for _, c := range under {
		select {
		case <-c.Done(): // if it was turned away before it had its session, that has lost it
			lost = append(lost, c.of)
		default:
		}
	}
	expelled := b.expelUnwelcome(conns)
	close(begin)
	for _, k := range lost {
		b.lose(k)
	}
	each(false) // who has not said yet who it is comes after those who have
	for _, c := range homeless {
		c.Kick(wire.AdministrativeAction, listen.EndListenerClosed)
	}
	b.log.Info("went on with clients of the process before", "clients", len(under), "expelled", expelled,
		"program", b.arrived.State.Program, "pause", time.Since(began)+elapsed)
	b.system(events.SystemHandedOver, fmt.Sprintf("%d clients", len(under)))
	b.arrived = nil
}

var errNoSocket = errors.New("its socket was not handed over")

// adoptOne goes on with one client. closing says that its listener is gone, so
// that it must go, too.
func (b *Broker) adoptOne(k *handover.Conn, f *os.File, elapsed time.Duration, begin <-chan struct{}) (c *listen.Conn, closing bool, err error) {
	if f == nil {
		return nil, false, errNoSocket
	}
	nc, err := net.FileConn(f)
	_ = f.Close() // the connection has one of its own
	if err != nil {
		return nil, false, err
	}
	e := b.doorOf(k.Listener)
	door := (*listen.Listener)(nil)
	if e != nil {
		door = e.listen
	} else {
		door, closing = listen.New(listen.Config{ID: k.Listener}, b.gate), true
	}
	var note any
	if k.Client != nil {
		note = k.Client
	} else if k.Connect != nil {
		_ = nc.Close()
		return nil, false, errors.New("it has no session")
	}
	name := k.Listener
	c, err = door.Adopt(nc, &k.Carried, elapsed, note, begin, func(c *listen.Conn) error { return b.server.EstablishConnection(name, c) })
	if err != nil {
		_ = nc.Close()
	}
	return c, closing, err
}

// lose ends the session's connection of a client that could not go on, as if it
// had just gone.
func (b *Broker) lose(k *handover.Conn) {
	f, n, err := wire.Scan(k.Connect, 0)
	if err != nil || n == 0 || k.Client == nil {
		return
	}
	con, err := wire.DecodeConnect(f)
	if err != nil {
		return
	}
	port, err := b.relay.Reopen(relay.Connect{ClientID: k.ID, Username: con.Username, Version: con.Version, Will: con.Will,
		Owner: k.Client.Identity.Name, Access: b.access.Recovered(b.relay.CarriedTerms(k.ID))})
	if err == nil {
		port.End(relay.End{Will: true})
	}
}

// expelUnwelcome disconnects those of the clients handed over who would not be
// let in any more, as a reload does, and returns how many.
func (b *Broker) expelUnwelcome(conns []handover.Conn) (n int) {
	marks := make(map[string]string, len(conns))
	for i := range conns {
		marks[conns[i].ID] = conns[i].User
	}
	for _, m := range b.sessions.Members() {
		mark, known := marks[m.ID]
		if !known {
			continue
		}
		if why := b.unwelcome(m, mark); why != "" {
			b.log.Info("client may not stay", "client", m.ID, "reason", why)
			m.Expel()
			n++
		}
	}
	return n
}

// unwelcome says why a client would not be let in by the configuration of now,
// "" if it would, or if that cannot be known without what it has shown. mark is
// that of its user in the password file of the process before.
func (b *Broker) unwelcome(m hooks.Member, mark string) string {
	cfg := b.conf()
	name := m.Subject.Listener
	i := slices.IndexFunc(cfg.Listeners, func(l ListenerConfig) bool { return l.Name == name })
	if i < 0 {
		return "" // it is about to end
	}
	l, source := cfg.Listeners[i], identitySources[m.Identity.Source]
	if len(b.authSources) > 0 && !cfg.Access.has(source) {
		source = "" // of the program, under the same name
	}
	if why := cfg.shutsOut(m, l, source, cfg.anonymous(l, len(b.authSources) > 0)); why != "" {
		return why
	}
	if source == AccessPasswords && mark != "" && b.files.users != nil {
		switch now, is := b.files.users.Mark(m.Identity.Name); {
		case !is:
			return "its user is gone"
		case string(now[:]) != mark:
			return "its password or its groups have changed"
		}
	}
	return ""
}
