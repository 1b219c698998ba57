package appliance

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// transition is the way from the endpoints that there are to those of another
// configuration. What can fail is done when it is planned; what clients notice,
// when it is carried out. In between the addresses that are new are bound, and
// nobody is served there.
type transition struct {
	b       *Broker
	next    []place         // in the order of the new configuration
	over    []*endpoint     // of those that there are: the ones that end
	aside   []*endpoint     // of over: the ones whose sockets are closed already, because they were in the way
	closing map[string]bool // listeners whose clients cannot stay
}

// place is one listener of the new configuration.
type place struct {
	*endpoint
	cfg   ListenerConfig
	isNew bool
	takes *endpoint     // whose socket it takes over; nil: none
	read  *certs.Source // its certificates as they are in the files now; nil without TLS
}

// planEndpoints plans the way to c. With try it binds nothing for longer than
// it takes to see that it can.
func (b *Broker) planEndpoints(c Config, try bool) (_ *transition, err error) {
	t := &transition{b: b}
	defer func() {
		if err != nil {
			t.rollBack()
		}
	}()
	t.match(c.Listeners)
	var errs []error
	for i := range t.next {
		errs = append(errs, t.next[i].check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range t.next {
		if err := t.bind(i, try); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// sameEndpoints leaves every listener as it is.
func (b *Broker) sameEndpoints() *transition {
	t := &transition{b: b}
	for _, e := range b.places() {
		t.next = append(t.next, place{endpoint: e, cfg: e.cfg})
	}
	return t
}

// match finds out which endpoints stay, and who takes over whose socket: a
// listener that of its own name, before one of another name at the same place.
func (t *transition) match(listeners []ListenerConfig) {
	t.over = slices.Clone(t.b.places())
	find := func(fits func(*endpoint) bool) *endpoint {
		i := slices.IndexFunc(t.over, fits)
		if i < 0 {
			return nil
		}
		return t.over[i]
	}
	for _, l := range listeners {
		p := place{cfg: l}
		p.endpoint = find(func(e *endpoint) bool { return !e.lost && e.cfg.Name == l.Name && e.cfg.sameDoor(l) })
		if p.endpoint != nil {
			t.over = slices.DeleteFunc(t.over, func(e *endpoint) bool { return e == p.endpoint })
		} else {
			p.isNew = true
		}
		t.next = append(t.next, p)
	}
	taken := make(map[*endpoint]bool)
	for _, byName := range []bool{true, false} {
		for i := range t.next {
			p := &t.next[i]
			if !p.isNew || p.takes != nil {
				continue
			}
			p.takes = find(func(e *endpoint) bool {
				return !e.lost && !taken[e] && e.cfg.samePlace(p.cfg) && (byName && e.cfg.Name == p.cfg.Name || !byName && !p.cfg.anyPort())
			})
			taken[p.takes] = true
		}
	}
	t.closing = t.doomed()
}

// check reads the certificates that p needs.
func (p *place) check() error {
	p.read = newCertificates(p.cfg, nil, nil, nil)
	if err := loadCertificates(p.cfg, p.read); err != nil {
		return err
	}
	if p.read == nil || p.isNew {
		return nil
	}
	if err := p.certs.Accepts(p.read); err != nil {
		return fmt.Errorf("listener %q: %w", p.cfg.Name, err)
	}
	return nil
}

// bind makes the endpoint at i and binds its address, if that is new.
func (t *transition) bind(i int, try bool) error {
	p := &t.next[i]
	if !p.isNew {
		return nil
	}
	p.endpoint = t.b.newEndpoint(i, p.cfg)
	if p.takes != nil {
		return nil
	}
	if name, ok := p.cfg.passed(); ok {
		return fmt.Errorf("%w; systemd passes sockets only when it starts the broker: restart it", t.b.noSocket(i, p.cfg, name))
	}
	err := p.listen.Init(nil)
	if errors.Is(err, syscall.EADDRINUSE) {
		switch inTheWay := t.inTheWay(p.cfg); {
		case len(inTheWay) == 0:
			return err
		case try:
			return nil // whether another program is in the way, too, shows when it is done
		default:
			for _, e := range inTheWay {
				e.listen.Close(nil)
				t.aside = append(t.aside, e)
			}
			err = p.listen.Init(nil)
		}
	}
	if try {
		p.listen.Close(nil)
	}
	return err
}

// inTheWay are the endpoints that end and are bound to what l needs: 127.0.0.1
// and the address of every interface exclude each other. Sockets of the service
// manager are none: it holds them, too, and would not give one twice.
func (t *transition) inTheWay(l ListenerConfig) (list []*endpoint) {
	for _, e := range t.over {
		_, passed := e.cfg.passed()
		if e.cfg.Network() == l.Network() && !passed && !e.lost && !slices.Contains(t.aside, e) && samePort(e.listen.Address(), l) {
			list = append(list, e)
		}
	}
	return list
}

func samePort(bound string, l ListenerConfig) bool {
	if l.Network() == ListenUnix {
		return filepath.Clean(bound) == filepath.Clean(l.Address)
	}
	_, a, err := net.SplitHostPort(bound)
	_, b, err2 := net.SplitHostPort(l.Address)
	return err == nil && err2 == nil && a == b
}

// rollBack undoes what planning has done.
func (t *transition) rollBack() {
	for _, p := range t.next {
		if p.isNew && p.endpoint != nil {
			p.listen.Close(nil)
		}
	}
	if len(t.aside) == 0 {
		return
	}
	list := slices.Clone(t.b.places())
	var back []*endpoint
	for _, e := range t.aside {
		again := *e
		again.cfg.Address = e.listen.Address() // of any port, the one that it had
		again.put(t.b.gate, slices.Index(list, e), nil, e)
		again.cfg = e.cfg
		if err := again.listen.Init(nil); err != nil { // somebody else was quicker
			t.lose(&again, err)
		} else {
			back = append(back, &again)
		}
		list[slices.Index(list, e)] = &again
	}
	t.b.mu.Lock()
	t.b.endpoints = list
	t.b.mu.Unlock()
	for _, e := range back {
		t.b.serve(e)
	}
}

// lose gives e up, whose address cannot be bound, until the next reload.
func (t *transition) lose(e *endpoint, err error) {
	e.lost = true
	t.b.log.Error("listener cannot go on where it was; clients cannot connect there until the next reload", "listener", e.cfg.Name, "error", err)
	t.b.system(events.SystemListenerLost, fmt.Sprintf("listener %s: %v", e.cfg.Name, err))
}

// serve lets clients in at e, which is bound.
func (b *Broker) serve(e *endpoint) {
	b.server.Listeners.Add(e.listen)
	b.server.Listeners.Serve(e.cfg.Name, b.server.EstablishConnection)
}

// doomed are the listeners whose clients cannot stay: those that are gone, and
// those that are somewhere else or speak something else now.
func (t *transition) doomed() map[string]bool {
	names := make(map[string]bool)
	for _, e := range t.over {
		names[e.cfg.Name] = !slices.ContainsFunc(t.next, func(p place) bool {
			return p.cfg.Name == e.cfg.Name && p.cfg.samePlace(e.cfg) && p.cfg.sameKind(e.cfg)
		})
	}
	return names
}

// disowned says why a client of a listener may not stay with the certificate
// that it has shown.
func (t *transition) disowned(listener string, chain []*x509.Certificate) error {
	i := slices.IndexFunc(t.next, func(p place) bool { return p.cfg.Name == listener })
	if i < 0 || t.next[i].read == nil {
		return nil
	}
	return t.next[i].read.Disowned(chain)
}

// tighten makes what is asked at the doors count, for those too who are on
// their way in and have not got to the rules yet.
func (t *transition) tighten() {
	list := make([]*endpoint, len(t.next))
	for i, p := range t.next {
		if p.read != nil {
			p.certs.Adopt(p.read)
		}
		list[i] = &endpoint{cfg: p.cfg, certs: p.certs}
	}
	t.b.doors.Store(doorsOf(list, time.Time{})) // some come by those before until these are open
}

// carryOut closes what is over, with the connections that cannot stay, and
// serves at what is new.
func (t *transition) carryOut() {
	sockets := make(map[*endpoint]net.Listener)
	for _, p := range t.next {
		if p.takes != nil {
			sockets[p.takes] = p.takes.listen.Release()
		}
	}
	for _, e := range t.over {
		t.b.server.Listeners.Delete(e.cfg.Name)
		e.listen.Close(nil)
		e.unwatch()
	}
	for _, c := range t.b.gate.Conns() {
		if t.closing[c.Listener()] {
			c.Kick(wire.AdministrativeAction, listen.EndListenerClosed)
		}
	}
	list := make([]*endpoint, len(t.next))
	for i, p := range t.next {
		if p.takes != nil {
			p.put(t.b.gate, i, sockets[p.takes], p.takes)
		}
		e := *p.endpoint
		e.cfg = p.cfg
		list[i], t.next[i].endpoint = &e, &e
	}
	t.b.mu.Lock()
	t.b.endpoints = list
	t.b.mu.Unlock()
	for _, p := range t.next {
		t.open(p)
	}
	t.b.doors.Store(doorsOf(list, time.Now()))
}

// open serves at p, or tells p what it is to do from now on.
func (t *transition) open(p place) {
	if !p.isNew {
		p.listen.SetPolicy(p.cfg.policy())
		return
	}
	if p.takes != nil {
		if err := p.listen.Init(nil); err != nil { // it was a socket of the same kind
			t.lose(p.endpoint, err)
			return
		}
	}
	t.b.serve(p.endpoint)
	t.b.watch(t.b.run, p.endpoint)
}

// samePlace tells whether l can listen on the socket of o.
func (l ListenerConfig) samePlace(o ListenerConfig) bool {
	return l.Network() == o.Network() && l.Address == o.Address && (l.Network() != ListenUnix || l.SocketMode() == o.SocketMode())
}

// sameKind tells whether clients speak the same over l and o.
func (l ListenerConfig) sameKind(o ListenerConfig) bool {
	return l.Type == o.Type || l.Network() == "tcp" && o.Network() == "tcp" && l.Secure() == o.Secure() && l.webSocket() == o.webSocket()
}

// sameFiles tells whether l and o name the same files of certificates.
func (l ListenerConfig) sameFiles(o ListenerConfig) bool {
	return l.Certificate == o.Certificate && l.PrivateKey == o.PrivateKey && l.ClientCA == o.ClientCA && l.CRL == o.CRL
}

func (l ListenerConfig) webSocket() bool {
	return l.Type == ListenWebSocket || l.Type == ListenWebSocketTLS
}

// sameDoor tells whether clients find nothing different between l and o until
// they send CONNECT.
func (l ListenerConfig) sameDoor(o ListenerConfig) bool {
	return l.samePlace(o) && l.sameKind(o) && l.sameFiles(o) && l.AsksFor() == o.AsksFor() && l.MinVersion == o.MinVersion
}

// anyPort tells whether the address leaves the port to the system.
func (l ListenerConfig) anyPort() bool {
	_, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n == 0
}
