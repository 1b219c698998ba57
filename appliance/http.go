package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"reflect"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/web"
	"github.com/synthetism/edgebroker/web/page"
)

// httpDoor is the HTTP address, bound, and what belongs to it.
type httpDoor struct {
	cfg    HTTPConfig
	certs  *certs.Source // nil without TLS
	server *web.Server
	socket net.Listener
	lent   bool               // socket is another's
	cancel context.CancelFunc // ends the watch over certs; nil if there is none
}

// httpGrace is how long requests that are under way may take when a reload has
// closed the address that they came to.
const httpGrace = 30 * time.Second

// openHTTP makes what answers at the address of c, on the socket of another or,
// if that is nil, on one that it binds. It serves nobody yet.
func (b *Broker) openHTTP(c HTTPConfig, of *httpDoor) (*httpDoor, error) {
	d := &httpDoor{cfg: c}
	if of != nil {
		d.socket, d.lent = of.socket, true
	}
	l := c.Listener()
	d.certs = certificatesFor(l, "http/1.1", b.rest, b.hints, b.httpCertificateReport)
	if err := loadCertificates(l, d.certs); err != nil {
		return nil, fmt.Errorf("http address: read certificates: %w", err)
	}
	o := web.Options{
		Accounts: b.accounts,
		API:      b.stats,
		Hosts:    c.hosts(),
		Refused:  b.httpRefused,
		Log:      b.log.With("component", "http"),
	}
	if d.certs != nil {
		o.TLS, o.Names = d.certs.TLSConfig(), d.certs.Names
	}
	if c.HasDashboard() {
		o.Page = page.Handler()
	}
	if d.socket == nil {
		var err error
		if d.socket, err = bindHTTP(c.Address); err != nil {
			return nil, err
		}
	}
	d.server = web.New(o)
	return d, nil
}

// bindHTTP opens the socket of the HTTP address.
func bindHTTP(address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err == nil {
		return l, nil
	}
	why := fmt.Sprintf("cannot bind %s: %v; correct http.address", address, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = fmt.Sprintf("address %s is in use; stop who uses it, or choose another in http.address", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = fmt.Sprintf("no network interface has address %s; choose another in http.address, or \":port\" for all interfaces", address)
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Sprintf("no permission to bind %s; choose a port above 1023 in http.address or grant CAP_NET_BIND_SERVICE", address)
	}
	return nil, &httpError{why, err}
}

// httpError says what to do about cause.
type httpError struct {
	text  string
	cause error
}

func (e *httpError) Error() string   { return "http address: " + e.text }
func (e *httpError) Unwrap() []error { return []error{ErrListen, e.cause} }

// serveHTTP answers at d from now on.
func (b *Broker) serveHTTP(d *httpDoor) {
	b.running.Go(func() {
		if err := d.server.Serve(d.socket); err != nil {
			b.log.Error("http address has failed; nobody can connect there until the broker is started again", "error", err)
		}
	})
	if d.certs != nil {
		var ctx context.Context
		ctx, d.cancel = context.WithCancel(b.run)
		b.running.Go(func() { _ = d.certs.Run(ctx) })
	}
}

// close ends d, which serves or does not.
func (d *httpDoor) close(ctx context.Context) error {
	if d == nil {
		return nil
	}
	if d.cancel != nil {
		d.cancel()
	}
	if !d.lent {
		_ = d.socket.Close() // the server knows it only if it serves
	}
	return d.server.Close(ctx)
}

// startHTTP binds the HTTP address for the start of the broker.
func (b *Broker) startHTTP() error {
	c := b.conf().HTTP
	if c.Address == "" {
		return nil
	}
	p, err := b.loadHTTPUsers(c)
	if err != nil {
		return err
	}
	d, err := b.openHTTP(c, nil)
	if err != nil {
		return err
	}
	b.accounts.SetUsers(p.users)
	b.http, b.httpStamps = d, p.stamps
	return nil
}

// HTTPAddr is the address that the HTTP address has bound, once Start has
// returned; useful when the configured port is 0. It is empty if there is none.
func (b *Broker) HTTPAddr() string {
	if d := b.httpDoor(); d != nil {
		return d.socket.Addr().String()
	}
	return ""
}

// httpDoor is the HTTP address that there is now; nil if there is none.
func (b *Broker) httpDoor() *httpDoor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.http
}

// httpUsers are the users of the HTTP address, and how their file lay there just
// before it was read.
type httpUsers struct {
	users  *auth.PasswordFile // nil: there is no address
	stamps map[string]stamp
}

func (b *Broker) loadHTTPUsers(c HTTPConfig) (u httpUsers, err error) {
	if path, err := ResolvePath(c.Users); err == nil && c.Address != "" && path != "" {
		u.stamps = stamps([]string{path})
	}
	u.users, err = c.loadUsers(b.guards.verifier)
	return u, err
}

// httpWatcher reads the users of the HTTP address again when their file changes,
// if files of the access section are.
func (b *Broker) httpWatcher() *watcher {
	return &watcher{
		rest:     b.rest,
		hints:    b.hints,
		interval: b.watchEvery,
		stamps:   stamps,
		inForce: func() map[string]stamp {
			b.reloading.Lock()
			defer b.reloading.Unlock()
			if !b.conf().Access.Watch {
				return nil
			}
			return b.httpStamps
		},
		changed: b.reloadHTTPUsers,
	}
}

// reloadHTTPUsers reads the users of the HTTP address again. If their file is not
// good those before stay.
func (b *Broker) reloadHTTPUsers() {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if !b.runs() {
		return
	}
	u, err := b.loadHTTPUsers(b.conf().HTTP)
	if err != nil {
		b.log.Error("changed users of the http address are not good, those before stay in force", "error", err)
		b.system(events.SystemReloadFailed, err.Error())
		return
	}
	b.accounts.SetUsers(u.users)
	b.httpStamps = u.stamps
	b.log.Info("users of the http address changed", "users", u.users.Size())
	b.system(events.SystemHTTPUsers, fmt.Sprintf("%d users", u.users.Size()))
}

// httpRefused reports somebody who could not log in.
func (b *Broker) httpRefused(remote netip.Addr, reason string) {
	if b.bus.Wants(events.Refusal) {
		b.bus.Publish(events.New(events.Refusal, events.Source, events.RefusalData{Remote: remote.String(), What: "login", Reason: reason}))
	}
}

// httpChange is the way from the HTTP address that there is to that of another
// configuration. Everything that can fail has been done when it is planned.
type httpChange struct {
	b     *Broker
	users httpUsers
	next  *httpDoor     // nil: there will be none
	old   *httpDoor     // nil: there is none
	aside bool          // the socket of old is closed already, because it was in the way
	read  *certs.Source // the certificates of old as they are in the files now; nil: they do not count
}

// planHTTP plans the way to c. With try it binds nothing for longer than it takes
// to see that it can.
func (b *Broker) planHTTP(c HTTPConfig, try bool) (_ *httpChange, err error) {
	ch := &httpChange{b: b, old: b.httpDoor()}
	if ch.users, err = b.loadHTTPUsers(c); err != nil {
		return nil, err
	}
	if c.Address == "" {
		return ch, nil
	}
	if ch.old != nil && reflect.DeepEqual(ch.old.cfg, c) {
		ch.next = ch.old
		ch.read = certificatesFor(c.Listener(), "http/1.1", nil, nil, nil)
		if err := loadCertificates(c.Listener(), ch.read); err != nil {
			return nil, fmt.Errorf("http address: read certificates: %w", err)
		}
		if ch.read != nil {
			if err := ch.old.certs.Accepts(ch.read); err != nil {
				return nil, fmt.Errorf("http address: %w", err)
			}
		}
		return ch, nil
	}
	var of *httpDoor
	if ch.old != nil && ch.old.cfg.Address == c.Address {
		of = ch.old
	}
	ch.next, err = b.openHTTP(c, of)
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || ch.old == nil || !samePort(ch.old.socket.Addr().String(), c.Listener()) {
		return ch, err
	}
	if try {
		return ch, nil // whether another program is in the way, too, shows when it is done
	}
	ch.aside = true
	_ = ch.old.socket.Close()
	if ch.next, err = b.openHTTP(c, nil); err != nil {
		ch.rollBack()
	}
	return ch, err
}

// rollBack undoes what planning has done.
func (c *httpChange) rollBack() {
	if c.next != nil && c.next != c.old {
		_ = c.next.close(context.Background()) // it serves nobody
	}
	if !c.aside {
		return
	}
	// The server of the closed socket goes on with the connections that it has.
	b := c.b
	d, err := b.openHTTP(c.old.cfg, nil)
	if err != nil { // somebody else was quicker
		b.log.Error("http address cannot go on where it was; nobody can connect there until the next reload", "error", err)
		b.system(events.SystemListenerLost, err.Error())
	}
	b.replaceHTTP(c.old, d)
}

// carryOut puts the change in force.
func (c *httpChange) carryOut() {
	b := c.b
	b.accounts.SetUsers(c.users.users)
	b.httpStamps = c.users.stamps
	if c.next == c.old {
		if c.read != nil {
			c.old.certs.Adopt(c.read)
		}
		return
	}
	b.replaceHTTP(c.old, c.next)
}

// replaceHTTP serves at next instead of old; either may be nil. It does not wait
// for old: the request that has caused this may be one of its own.
func (b *Broker) replaceHTTP(old, next *httpDoor) {
	b.mu.Lock()
	b.http = next
	b.mu.Unlock()
	switch {
	case old == nil:
	case next != nil && next.lent:
		old.server.Detach()
		old.lent, next.lent = true, false
	default:
		_ = old.socket.Close() // by the new rules only, from now on
	}
	if next != nil {
		b.serveHTTP(next)
	}
	if old != nil {
		b.running.Go(func() {
			ctx, cancel := context.WithTimeout(b.run, httpGrace)
			defer cancel()
			if err := old.close(ctx); err != nil {
				b.log.Warn("requests at the http address before were cut off", "error", err)
			}
		})
	}
}

// httpCertificateReport is certificateReport for the HTTP address. Those who are
// connected stay: each of their requests says who asks.
func (b *Broker) httpCertificateReport(r certs.Report) {
	b.certificateNews(httpName, "http address", r)
}
