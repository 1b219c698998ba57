package bridge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/wire"
)

// NATS describes the NATS system that an uplink leads to. The functions are
// called for each attempt to connect; nil is for what is not used.
type NATS struct {
	Servers     []string // URLs, nats:// or tls://; those that the servers tell of are tried as well
	InboxPrefix string   // empty: _INBOX

	// Epoch tells the store that the uplink's queue is in from all others that
	// this gateway had or will have. It is the same as long as that store is.
	Epoch string

	Stream     string // empty: no JetStream
	Domain     string // of JetStream; empty: that of the server
	Durable    string // the consumer for what comes in; empty: made of Config.ClientID
	Retained   string // the key-value bucket that has what is retained; empty: retained messages pass as others do
	OnlyWriter bool   // nobody else writes to Stream, so that messages need not wait for each other
	Window     int    // messages that may be on their way at once; 0: 256
	Events     EventNames

	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Proxied func() bool // Dial takes names, since something else looks them up
	// Report is this gateway as others in the fleet see it, no more often than ten
	// times a second; nil: it is in no fleet.
	Report func() ([]byte, error)

	Credentials, NKey func() (string, error) // paths of files
	Token             func() ([]byte, error)
	TLS               func() (*tls.Config, error)
}

const natsWindow = 256

func (c *NATS) window() int { return cmp.Or(c.Window, natsWindow) }

// jetStream is JetStream in c's Domain, by nc.
func (c *NATS) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if c.Domain == "" {
		return jetstream.New(nc)
	}
	return jetstream.NewWithDomain(nc, c.Domain)
}

// api is what the subjects of questions to that begin with.
func (c *NATS) api() string {
	if c.Domain == "" {
		return "$JS.API"
	}
	return "$JS." + c.Domain + ".API"
}

// natsFar is a NATS system.
type natsFar struct {
	up      *Uplink
	cfg     *NATS
	more    []string // servers that the system has told of
	shown   outAge
	control control // in event mode
	fleet   fleet
	kept    mirrorMemory
}

func (f *natsFar) unanswered() time.Duration { return f.shown.oldest() }

func (f *natsFar) run(ctx context.Context) {
	u := f.up
	if u.saysWhoComes() {
		f.control.begin()
		defer f.control.end()
	}
	u.again(ctx, func() (connected bool, err error) {
		u.counts.attempts.Add(1)
		return f.session(ctx)
	}, func(err error) string {
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			u.turnedDown(wire.NotAuthorized)
		}
		return natsWording(err)
	})
}

// session is one connection, from the attempt to its end.
func (f *natsFar) session(ctx context.Context) (connected bool, err error) {
	s := &natsSession{up: f.up, cfg: f.cfg, control: &f.control, fleet: &f.fleet, kept: &f.kept, failed: make(chan error, 1)}
	if err := f.connect(ctx, s); err != nil {
		return false, err
	}
	defer s.nc.Close()
	if err := s.prepare(ctx); err != nil {
		return false, err
	}
	f.up.connected()
	defer s.close()
	if err := s.begin(); err != nil {
		return true, err
	}
	f.shown.of(s.out)
	defer f.shown.of(nil)
	f.up.become(Up, "")
	select {
	case <-ctx.Done():
		s.drain()
		return true, nil
	case err := <-s.failed:
		return true, err
	}
}

// connect makes s.nc.
func (f *natsFar) connect(ctx context.Context, s *natsSession) error {
	u := f.up
	opts := []nats.Option{
		nats.Name(u.cfg.ClientID), nats.NoReconnect(), nats.DontRandomize(), nats.NoEcho(),
		nats.Timeout(connectTimeout), nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(u.cfg.KeepAlive), nats.MaxPingsOutstanding(2),
		nats.ClosedHandler(func(nc *nats.Conn) { s.fail(cmp.Or(nc.LastError(), errLost)) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.fail(cmp.Or(err, errLost)) }),
		nats.ErrorHandler(s.trouble),
	}
	if f.cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(f.cfg.InboxPrefix))
	}
	login, err := f.login()
	if err != nil {
		return err
	}
	opts = append(opts, login...)
	hand := &handshake{ctx: ctx, dial: f.cfg.Dial}
	if f.cfg.Proxied != nil && f.cfg.Proxied() {
		opts = append(opts, nats.SkipHostLookup())
	}
	defer hand.done()
	opts = append(opts, nats.SetCustomDialer(hand))
	servers := slices.Concat(f.cfg.Servers, f.more)
	nc, err := nats.Connect(strings.Join(servers, ","), opts...)
	if err != nil {
		return err
	}
	f.more = slices.DeleteFunc(nc.DiscoveredServers(), func(s string) bool { return slices.Contains(f.cfg.Servers, s) })
	s.nc = nc
	return nil
}

// login is who the uplink says it is, and by what it believes the server.
func (f *natsFar) login() (opts []nats.Option, err error) {
	u, c := f.up, f.cfg
	if c.TLS != nil {
		conf, err := c.TLS()
		if err != nil {
			return nil, err
		}
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if first, err := url.Parse(c.Servers[0]); err == nil && len(c.Servers) == 1 && conf.ServerName == "" {
			conf.ServerName = first.Hostname() // for the servers that it tells of as well
		}
		opts = append(opts, nats.Secure(conf))
	}
	if u.cfg.Username != "" {
		var password []byte
		if u.cfg.Password != nil {
			if password, err = u.cfg.Password(); err != nil {
				return nil, err
			}
		}
		opts = append(opts, nats.UserInfo(u.cfg.Username, string(password)))
	}
	if c.Token != nil {
		token, err := c.Token()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Token(string(token)))
	}
	if c.Credentials != nil {
		path, err := c.Credentials()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserCredentials(path))
	}
	if c.NKey != nil {
		path, err := c.NKey()
		if err != nil {
			return nil, err
		}
		nkey, err := nats.NkeyOptionFromSeed(path)
		if err != nil {
			return nil, fmt.Errorf("read nkey %s: %w", path, err)
		}
		opts = append(opts, nkey)
	}
	return opts, nil
}

var (
	errLost     = errors.New("the connection was lost")
	errNoStream = errors.New("no stream has answered")
)

// handshake dials, and ends what it has dialled when ctx does before done.
type handshake struct {
	ctx   context.Context
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	stops []func() bool
}

// Dial implements nats.CustomDialer.
func (h *handshake) Dial(network, address string) (net.Conn, error) {
	dial := h.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	nc, err := dial(h.ctx, network, address)
	if err == nil {
		h.stops = append(h.stops, context.AfterFunc(h.ctx, func() { _ = nc.Close() }))
	}
	return nc, err
}

func (h *handshake) done() {
	for _, stop := range h.stops {
		stop()
	}
}

// natsWording says what is wrong, and what mends it where that is known.
func natsWording(err error) string {
	text := strings.TrimPrefix(err.Error(), "nats: ")
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the far side refuses the connection: " + strings.ToLower(text) + "; see creds, nkey, token, username and password"
	case errors.Is(err, nats.ErrNoServers):
		return "no server can be reached"
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return text + "; make the stream there, or correct its name"
	case errors.Is(err, errNoBucket):
		return text + "; make it there, as docs/NATS.md says, or correct its name"
	case errors.Is(err, nats.ErrNoResponders):
		return text + ": JetStream is not there; enable it, wait for it to come up, or leave out stream"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return text + "; enable it there, or leave out stream"
	}
	return text
}
