package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/statsd"
)

// Names in the plant. Users are called as their clients.
const (
	siteName  = "site-7" // of the gateway, at the head office
	adminName = "admin"
	visitor   = "visitor" // for whoever tries things
)

// gateway is the broker of the plant: a folder with its configuration and its
// state, and the one after the other that runs on it.
type gateway struct {
	dir      string
	auto     bool // no address was asked for: any that is free
	autoHTTP bool // likewise
	listen   string
	http     string
	version  string
	uplink   string // address of the head office
	retryMax time.Duration
	devices  []string // names of users
	people   []string
	secrets  secrets
	log      *os.File
	tallies  *tallies

	lives []life // of those that have been stopped

	mu     sync.Mutex
	broker *appliance.Broker // nil: none runs
}

// secrets are made anew each time.
type secrets struct{ device, visitor, admin string }

func newSecrets() secrets {
	password := func() string { return strings.ToLower(rand.Text()[:10]) }
	return secrets{password(), password(), password()}
}

// life is what one broker said at its end.
type life struct {
	balance statsd.Balance
	losses  []statsd.Loss
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }
func (g *gateway) socket() string          { return g.path("control.sock") }

// prepare makes the files.
func (g *gateway) prepare(ctx context.Context) error {
	hash := make(map[string]string)
	for _, p := range []string{g.secrets.device, g.secrets.visitor, g.secrets.admin} {
		h, err := auth.HashPassword(auth.NewSecret([]byte(p)))
		if err != nil {
			return err
		}
		hash[p] = h
	}
	users := func(e *auth.PasswordEdit) (err error) {
		for _, name := range g.devices {
			err = errors.Join(err, e.Add(name, hash[g.secrets.device], []string{"devices"}))
		}
		for _, name := range g.people {
			err = errors.Join(err, e.Add(name, hash[g.secrets.device], []string{"people"}))
		}
		return errors.Join(err, e.Add(visitor, hash[g.secrets.visitor], []string{"people"}))
	}
	admins := func(e *auth.PasswordEdit) error { return e.Add(adminName, hash[g.secrets.admin], []string{"admin"}) }
	if err := errors.Join(auth.EditPasswordFile(ctx, g.path("users"), users), auth.EditPasswordFile(ctx, g.path("http-users"), admins),
		os.WriteFile(g.path("rules"), []byte(rules), 0o600), os.WriteFile(g.path("visitor"), []byte(g.secrets.visitor+"\n"), 0o600)); err != nil {
		return err
	}
	var err error
	g.log, err = os.OpenFile(g.path("gateway.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return err
}

const rules = `# Who may do what: docs/ACL.md. The first rule that fits decides; %u is the
# user's name.
allow group=devices  publish    plant/+/%u/#  video/%u/#
allow group=devices  subscribe  set/%u/#
allow group=people   subscribe  plant/#  video/#
allow user=visitor   publish    set/#
allow user=visitor   subscribe  set/#  $SYS/#
`

// config is the text of the configuration.
func (g *gateway) config() string {
	return fmt.Sprintf(`# What edgebroker demo runs. Every key and its default: edgebroker config example.
listeners:
  - name: plant
    address: %q

control:
  socket: %q

http:
  address: %q
  users: %q

access:
  passwords: %q
  rules: [%q]

memory: 512MiB                  # by which the buffers of connections are bounded, too
limits:
  max_outbound_bytes: 256KiB    # less than usual, so that a stall soon shows

storage:
  directory: %q

bridges:
  - name: head-office
    address: %q
    client_id: %s
    retry_min: 50ms
    retry_max: %s
    topics:
      - {filter: plant/pumps/#, qos: 1, remote_prefix: %[9]s/}
      - {filter: plant/meters/#, qos: 2, remote_prefix: %[9]s/}
      - {filter: set/#, direction: in, qos: 1, remote_prefix: %[9]s/}
`, g.listen, g.socket(), g.http, g.path("http-users"), g.path("users"), g.path("rules"), g.path("data"), "mqtt://"+g.uplink, siteName, g.retryMax)
}

// tries is how often free ports are looked for: somebody else may take one first.
const tries = 20

// start starts a broker on the folder. The first start finds free ports, if none
// were asked for; later ones use the same.
func (g *gateway) start(ctx context.Context) (err error) {
	for i := range tries {
		any := (g.auto || g.autoHTTP) && len(g.lives) == 0
		if any {
			if err := g.choose(i); err != nil {
				return err
			}
		}
		err = g.startOnce(ctx)
		if !any || !errors.Is(err, appliance.ErrListen) {
			return err
		}
	}
	return err
}

func (g *gateway) startOnce(ctx context.Context) error {
	if err := os.WriteFile(g.path("edgebroker.yml"), []byte(g.config()), 0o600); err != nil {
		return err
	}
	cfg, err := appliance.LoadConfig(g.path("edgebroker.yml"))
	if err != nil {
		return err
	}
	log, level := appliance.NewLogger(cfg.Log, struct{ io.Writer }{g.log})
	b, err := appliance.New(cfg, appliance.WithVersion(g.version), appliance.WithLogger(log), appliance.WithLogLevel(level))
	if err != nil {
		return err
	}
	g.tallies.watch(b)
	if err := b.Start(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broker = b
	g.listen, g.http = b.Addr("plant"), b.HTTPAddr() // where a port was 0
	return nil
}

// firstPort is where free ports are looked for: below those that the system gives
// to clients, of which one could be in the way when a broker comes back.
const firstPort = 18830

// choose finds two free ports, beyond the first skip.
func (g *gateway) choose(skip int) error {
	var free []string
	for port := firstPort + skip; port < firstPort+1000 && len(free) < 2; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			free = append(free, l.Addr().String())
			l.Close()
		}
	}
	if len(free) < 2 {
		return fmt.Errorf("find a free port between %d and %d on 127.0.0.1; name two with --listen and --http", firstPort, firstPort+1000)
	}
	if g.auto {
		g.listen = free[0]
	}
	if g.autoHTTP {
		g.http = free[1]
	}
	return nil
}

// stop stops the broker that runs, if any, and notes its books.
func (g *gateway) stop(ctx context.Context) error {
	g.mu.Lock()
	b := g.broker
	g.broker = nil
	g.mu.Unlock()
	if b == nil {
		return nil
	}
	if err := b.Stop(ctx); err != nil {
		return err
	}
	g.lives = append(g.lives, life{b.Balance(), b.Losses()})
	return nil
}

// running is the broker that runs, or nil.
func (g *gateway) running() *appliance.Broker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broker
}

// lost is what a client has missed, by reason, in all lives.
func (g *gateway) lost(client string) map[string]uint64 {
	sum := make(map[string]uint64)
	add := func(list []statsd.Loss) {
		for _, l := range list {
			if l.Client == client {
				sum[l.Reason] += l.Count
			}
		}
	}
	for _, life := range g.lives {
		add(life.losses)
	}
	if b := g.running(); b != nil {
		add(b.Losses())
	}
	return sum
}

// bridge is how the uplink is.
func (g *gateway) bridge() statsd.Bridge {
	if b := g.running(); b != nil {
		for _, u := range b.Stats().Bridges {
			return u
		}
	}
	return statsd.Bridge{}
}
