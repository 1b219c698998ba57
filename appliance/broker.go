package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/hint"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/memory"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/sinks"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/web"
	"github.com/synthetism/edgebroker/wire"
)

// Errors that callers may want to tell apart.
var (
	// ErrListen is wrapped by Start's error when an address cannot be bound.
	ErrListen = listen.ErrListen
	// ErrState is returned for a call that the Broker's state does not allow,
	// such as a second Start.
	ErrState = errors.New("broker is not in the state for that")
)

// Broker is one running edgebroker: listeners, MQTT server, relay, events and
// control socket, started and stopped as a unit. Use it once: New, Start,
// Stop. Except for Start, its methods may be called at any time, from any
// goroutine.
type Broker struct {
	cfg     atomic.Pointer[Config] // in force; see conf
	log     *slog.Logger
	version string
	control bool

	authMethods  []AuthMethod
	authSources  []AuthSource
	sockets      []systemd.Socket // bound by the service manager
	arrived      *handover.Parcel // from the process before; nil: there was none
	arrivedPaths []*net.UnixListener
	authByName   map[string]AuthMethod
	responseInfo func(client string) string // nil: none

	bus      *events.Bus
	store    *store.Store  // nil: state is kept in memory
	recovery *store.Report // what was found in it

	memoryEpoch string // see epoch
	relay       *relay.Relay
	gate        *listen.Gate
	tracer      *trace.Tracer
	access      *hooks.Access
	guards      guards
	sessions    *hooks.Sessions
	doors       atomic.Pointer[doors]
	server      *mqtt.Server
	uplinks     atomic.Pointer[[]*uplink] // in the order of the configuration; see links
	fleet       fleet
	recorder    *recorder.Recorder // nil: off
	recording   *events.Sub        // by which it gets events
	sinks       []*sinks.Sink      // in the order of the configuration
	telling     atomic.Bool        // sinks may publish: from the end of Start until relay is closed
	sampler     *statsd.Sampler
	stats       *statsd.Server
	accounts    *web.Accounts    // of the HTTP address
	pusher      *statsd.Pusher   // nil: there is no StatsD server
	exporter    *statsd.Exporter // nil: there is no OpenTelemetry collector
	sys         sysTelling
	// sysValues are the latest values of $SYS/broker if metrics show them; nil
	// before the first.
	sysValues atomic.Pointer[[]statsd.SysValue]

	reread func() (Config, error) // reads the configuration again; nil: only what it names is read
	level  *slog.LevelVar         // of log, nil if it cannot be changed

	recovering   func(done, total int64)      // nil: nobody wants to know
	reloadBegins func() (end func(err error)) // nil: nobody wants to know
	ownsProcess  bool
	machine      fs.FS                                       // nil: that of the process
	clockSets    func(ctx context.Context, set func()) error // onClockSet
	bounds       bounds                                      // of the configuration that it was started with, made to fit the budget
	budgetSource string
	watcher      *memory.Watcher // nil: there is no budget
	rest         *rest.Rest      // of all that is done again and again
	hints        *hint.Hints     // of files that may have changed

	reloading  sync.Mutex // held while the configuration changes, before mu
	files      *accessFiles
	httpStamps map[string]stamp                // of the users of the HTTP address, from before they were read
	watchEvery time.Duration                   // between two looks at files
	slow       atomic.Pointer[map[string]bool] // clients that do not keep up

	mu        sync.Mutex // guards everything that follows
	state     state
	endpoints []*endpoint        // in the order of the configuration
	http      *httpDoor          // nil: there is no HTTP address
	run       context.Context    // of the goroutines that Start has started
	cancel    context.CancelFunc // ends run
	running   sync.WaitGroup
	stopped   chan struct{} // closed when Stop is done
	stopErr   error
}

type state int

const (
	made state = iota
	started
	stopping
)

// runs reports whether the broker has started and is not stopping.
func (b *Broker) runs() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == started
}

// Option changes how New makes a Broker.
type Option func(*Broker)

// WithLogger makes the broker log to log. Without it nothing is logged.
func WithLogger(log *slog.Logger) Option { return func(b *Broker) { b.log = log } }

// WithVersion sets the version that the broker reports of itself.
func WithVersion(v string) Option { return func(b *Broker) { b.version = v } }

// WithoutControl leaves the control socket out: a program that embeds the
// broker asks it through Stats and On.
func WithoutControl() Option { return func(b *Broker) { b.control = false } }

// WithSockets gives the broker sockets that the service manager has bound, for
// listeners whose address is "systemd:NAME". They are the broker's once Start is
// called, which closes those that no listener names.
func WithSockets(sockets []systemd.Socket) Option {
	return func(b *Broker) { b.sockets = append(b.sockets, sockets...) }
}

// Rest is what everything keeps to that the broker does again and again. Work of
// that kind of the program around it may do so as well, for fewer wake-ups.
func (b *Broker) Rest() *rest.Rest { return b.rest }

// New makes a broker of cfg. It does no I/O and starts nothing. The error
// lists everything that is wrong with cfg, or names an option that is.
func New(cfg Config, opts ...Option) (*Broker, error) {
	b := &Broker{control: true, memoryEpoch: newEpoch(), tracer: trace.New(trace.DefaultLimit), version: "unknown", rest: rest.New(), stopped: make(chan struct{}), watchEvery: watchInterval,
		clockSets: onClockSet, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	b.cfg.Store(&cfg)
	for _, o := range opts {
		o(b)
	}
	b.hints = hint.New(b.log.With("component", "hint"))
	if err := cfg.validate(len(b.authMethods)+len(b.authSources) > 0); err != nil {
		return nil, err
	}
	var err error
	if b.authByName, err = authByName(b.authMethods); err != nil {
		return nil, err
	}
	b.bus = events.NewBus(b.log.With("component", "events"), wire.MatchTopic)
	return b, nil
}

// Start binds every listener and the control socket before it returns, so nil
// means that clients can connect. On failure it stops what it has started and
// names the part that failed. ctx bounds starting only; the broker runs until
// Stop.
func (b *Broker) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != made {
		return fmt.Errorf("start: %w: a Broker is started once", ErrState)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	b.budget()
	b.guards = newGuards()
	files, err := b.conf().Access.load(b.guards, b.authSources)
	if err != nil {
		b.failed(ctx)
		return err
	}
	b.files = files
	rec, err := b.openStore()
	if err != nil {
		files.close()
		b.failed(ctx)
		return err
	}
	b.record()
	b.assemble(rec)
	b.startSinks()
	b.giveUpLeftovers(b.conf())
	b.setUplinks(b.conf(), false) // before the first client: nothing that is for them may be missed
	if err := b.bind(); err != nil {
		b.unbind(ctx)
		return err
	}
	if b.store != nil {
		b.store.Run(b.relay) // not before: a start that fails leaves what an earlier version can read
	}
	b.run, b.cancel = context.WithCancel(context.Background())
	b.running.Go(func() { _ = b.sampler.Run(b.run, b.rest) })
	if b.watcher != nil {
		b.running.Go(func() { b.watcher.Run(b.run, b.rest) })
		b.watchCollections()
	}
	if b.ownsProcess {
		b.running.Go(func() { memory.AtRest(b.run, b.rest, new(memory.Shrinker).Shrink) })
	}
	b.running.Go(func() { _ = b.accessWatcher().run(b.run) })
	b.running.Go(func() { _ = b.httpWatcher().run(b.run) })
	b.running.Go(func() { b.recordLosses(b.run) })
	b.running.Go(func() { b.watchSlow(b.run) })
	b.running.Go(func() { b.watchClock(b.run) })
	b.startReports()
	for _, e := range b.endpoints {
		b.watch(b.run, e)
	}
	if b.control {
		b.running.Go(func() {
			if err := b.stats.Serve(); err != nil {
				b.log.Error("control socket has failed; commands do not reach the broker until it is started again", "error", err)
			}
		})
	}
	if b.http != nil {
		b.serveHTTP(b.http)
	}
	b.adopt()
	// Not by the server's Serve: its loop looks every second for sessions and messages
	// to clear away, of which it has none here; see forget.
	b.server.Listeners.ServeAll(b.server.EstablishConnection)
	b.keepToBudget()
	for _, u := range b.links() {
		u.Start()
	}
	b.state = started
	b.sendReports()
	b.telling.Store(true)
	b.system(events.SystemStarted, "")
	return nil
}

// assemble makes the parts.
func (b *Broker) assemble(rec relay.Recovered) {
	b.access = hooks.NewAccess(b.rulesOf(b.conf(), b.files), b.authByName, b.bus, b.log.With("component", "access"))
	config := b.relayConfig(b.bounds)
	if b.store != nil {
		b.relay = relay.New(config, b.store, b.bus, b.log.With("component", "relay"))
		b.relay.Restore(rec)
	} else {
		b.relay = relay.New(config, nil, b.bus, b.log.With("component", "relay"))
	}
	if b.arrived != nil {
		if b.arrived.State.Epoch != "" {
			b.memoryEpoch = b.arrived.State.Epoch // places of messages go on, too
		}
		b.relay.Resume(&b.arrived.State.Relay)
	}
	b.sessions = hooks.NewSessions(b.relay, b.bus, b.responseInfo, b.forget)
	b.sessions.Stands = b.stands
	b.gate = listen.NewGate(listen.Options{
		Limits:       b.bounds.gateLimits(),
		SocketBuffer: b.bounds.socket,
		Log:          b.log.With("component", "listen"),
		Rest:         b.rest,
		OnEnd:        b.sessions.Ended,
		Control:      func(c *listen.Conn) error { return hooks.Control(b.server, c) },
		OnRefuse:     b.refused,
	})
	b.server = newServer(b.log)
	for i, l := range b.conf().Listeners {
		b.endpoints = append(b.endpoints, b.newEndpoint(i, l))
	}
	b.doors.Store(doorsOf(b.endpoints, time.Now()))
	subscriptions := hooks.NewSubscriptions(b.access, b.sessions)
	subscriptions.BeforeSystem = b.renewSys
	for _, h := range []mqtt.Hook{b.access, b.sessions, subscriptions} {
		if err := b.server.AddHook(h, nil); err != nil {
			panic(fmt.Sprintf("add hook %s: %v", h.ID(), err)) // our hooks take no configuration that could be wrong
		}
	}
	b.sampler = statsd.NewSampler(b.totals)
	opts := statsd.Options{Log: b.log.With("component", "statsd"), CheckFilter: wire.ValidFilter, Rest: b.rest}
	if b.conf().Sys.Metrics {
		opts.Sys = b.latestSys
	}
	b.stats = statsd.NewServer(backend{b}, opts)
	b.accounts = web.NewAccounts()
}

// bind opens every socket.
func (b *Broker) bind() error {
	if err := b.bindAll(); err != nil {
		return err
	}
	if err := b.startHTTP(); err != nil {
		return err
	}
	if !b.control {
		return nil
	}
	return b.stats.Listen(b.conf().Control.Path(), b.conf().Control.Mode)
}

// unbind closes what bind has opened, when starting has failed.
func (b *Broker) unbind(ctx context.Context) {
	for _, e := range b.endpoints {
		e.listen.Close(nil)
	}
	_ = b.http.close(ctx)
	_ = b.stats.Close(context.Background()) // nobody has been served
	b.relay.Close()
	_ = b.closeStore() // nothing has changed
	b.files.close()
	b.failed(ctx)
}

// failed ends what there is from before Start, which has failed: sockets that
// were passed, and handlers, which have had no event of a client.
func (b *Broker) failed(ctx context.Context) {
	for _, s := range b.sockets {
		_ = s.Listener.Close()
	}
	b.stopErr = errors.Join(b.bus.Close(ctx), b.closeSinks(ctx), b.closeRecorder())
	b.state = stopping
	close(b.stopped)
}

// Stop tells clients that the server shuts down, closes everything in the
// reverse order of Start and waits for it, at most until ctx ends; then the
// error says what was still going on. A second Stop waits for the first.
// Handlers get the events that have been reported by then. Stop must not be
// called from a handler.
func (b *Broker) Stop(ctx context.Context) error {
	b.mu.Lock()
	switch b.state {
	case made:
		b.state = stopping
		close(b.stopped)
		b.mu.Unlock()
		return b.bus.Close(ctx)
	case stopping:
		b.mu.Unlock()
		select {
		case <-b.stopped:
			return b.stopErr
		case <-ctx.Done():
			return fmt.Errorf("stop: %w", ctx.Err())
		}
	}
	b.state = stopping
	b.mu.Unlock()

	b.system(events.SystemStopping, "")
	b.reloading.Lock() // a change that is under way ends first, and no other one begins
	for _, e := range b.places() {
		e.listen.Close(nil)
	}
	b.reloading.Unlock()
	return b.finish(ctx, false, false)
}

// finish ends what is left of the broker when no more connections are accepted.
// The relay may have been closed already, and the store.
func (b *Broker) finish(ctx context.Context, relayed, stored bool) error {
	var errs []error
	errs = append(errs, b.gate.Shutdown(ctx, wire.ServerShuttingDown, listen.EndServerShutdown))
	if errs[0] == nil {
		errs = append(errs, b.server.Close())
	} else {
		go func() { _ = b.server.Close() }() // it waits for the connections that have not ended yet
	}
	if !relayed {
		b.stopUplinks()
		b.telling.Store(false)
		b.relay.Close()
	}
	if !stored {
		errs = append(errs, b.closeStore())
	}
	errs = append(errs, b.bus.Close(ctx), b.closeSinks(ctx), b.closeRecorder())
	errs = append(errs, b.httpDoor().close(ctx), b.stats.Close(ctx))
	b.accounts.EndAll()
	b.files.close()
	b.cancel()
	b.running.Wait()
	b.stopErr = errors.Join(append(errs, b.hints.Close())...)
	close(b.stopped)
	return b.stopErr
}

// system reports what, a System word of events.
func (b *Broker) system(what, detail string) {
	b.bus.Publish(events.New(events.System, events.Source, events.SystemData{What: what, Detail: detail}))
}

// refused reports a socket that did not become a connection.
func (b *Broker) refused(remote, _, reason string) {
	if b.bus.Wants(events.Refusal) {
		b.bus.Publish(events.New(events.Refusal, events.Source, events.RefusalData{Remote: remote, What: "connect", Reason: reason}))
	}
}

// forget removes what the MQTT server may still hold of a connection that is
// over: it keeps those whose CONNACK could not be written.
func (b *Broker) forget(client string, conn *listen.Conn) {
	if cl, ok := b.server.Clients.Get(client); ok && cl.Net.Conn == conn {
		b.server.Clients.Delete(client)
	}
}

// conf is the configuration in force.
func (b *Broker) conf() Config { return *b.cfg.Load() }

func (b *Broker) relayConfig(c bounds) relay.Config {
	r := relay.DefaultConfig()
	r.AccessOf = b.access.Recovered
	r.Rest = b.rest
	r.OutboundRoom = func() int64 { return b.gate.OutboundRoom() }
	r.TotalFilterBytes = c.filters
	if c.filters > 0 {
		r.MaxFilterBytes = min(r.MaxFilterBytes, c.filters/4)
	}
	if c.outbound > 0 {
		r.SpillBytes = int64(max(32*KiB, min(ByteSize(r.SpillBytes), c.Sessions.TotalQueuedBytes/64)))
	}
	r.FlushBytes = int(min(c.outbound/4, math.MaxInt32))
	if c.routes > 0 {
		r.RouteCacheEntries = c.routes
	}
	r.ForgetTopics = !c.Events.Provenance
	r.MaxInflight = c.Limits.MaxInflight
	r.ReceiveMaximum = uint16(c.Limits.ReceiveMaximum)
	r.MaxTopicAlias = uint16(c.Limits.MaxTopicAlias)
	r.MaxTopicLevels = c.Limits.MaxTopicLevels
	r.MaxOutbound = int(c.Limits.MaxOutboundBytes)
	r.Queue, r.QueueFor = c.queueRules()
	r.Rate = relay.Rate{Messages: c.Limits.PublishRate, Bytes: int64(c.Limits.PublishBytes), Patience: c.Limits.PublishPatience}
	r.TotalQueuedBytes = int64(c.Sessions.TotalQueuedBytes)
	r.MaxSessions = c.Sessions.MaxSessions
	r.MaxSubscriptions = c.Sessions.MaxSubscriptions
	r.MaxSessionExpiry = c.Sessions.MaxExpiry
	r.MaxRetained = c.Retained.MaxMessages
	r.MaxRetainedBytes = int64(c.Retained.MaxBytes)
	return r
}

func (c bounds) gateLimits() listen.Limits {
	return listen.Limits{
		MaxConnections:          c.Limits.MaxConnections,
		MaxPerAddress:           c.Limits.MaxPerAddress,
		ConnectRate:             c.Limits.ConnectRate,
		MaxUnauthenticated:      c.Limits.MaxUnauthenticated,
		MaxUnauthenticatedBytes: c.unauthenticatedBytes(),
		ConnectTimeout:          c.Limits.ConnectTimeout,
		MaxConnectSize:          int(c.Limits.MaxConnectSize),
		MaxPacketSize:           int(c.Limits.MaxPacketSize),
		MaxFilterBytes:          c.subscribe,
		MaxInputBytes:           c.input,
		MaxOutboundBytes:        c.outbound,
		MaxConnectBytes:         c.connects,
		LowWater:                int(c.Limits.MaxOutboundBytes) / 4,
		// Relay stops at MaxOutboundBytes; what comes on top are answers to
		// what the client sends, so it is the client that must wait.
		MaxOutbound: int(min(4*c.Limits.MaxOutboundBytes, math.MaxInt32)),
	}
}

// unauthenticatedBytes is what those who have not authenticated may have sent.
func (c bounds) unauthenticatedBytes() int {
	n := int64(c.Limits.MaxUnauthenticated) * int64(c.Limits.MaxConnectSize) / 4
	if c.unauthenticated > 0 {
		n = min(n, max(c.unauthenticated, int64(c.Limits.MaxConnectSize)))
	}
	return int(min(n, math.MaxInt32))
}
