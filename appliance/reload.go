package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/statsd"
)

// ReloadReport is what a Reload has put in force.
type ReloadReport = statsd.Reloaded

// ErrRestart is wrapped by the error of a Reload that would have to change what
// cannot change while the broker runs.
var ErrRestart = errors.New("cannot change while the broker runs")

// WithConfigSource has Reload read the configuration again by read, instead of
// only the files that it names.
func WithConfigSource(read func() (Config, error)) Option {
	return func(b *Broker) { b.reread = read }
}

// WithLogLevel lets Reload change the level of the log, which is that of the
// logger given to WithLogger.
func WithLogLevel(level *slog.LevelVar) Option { return func(b *Broker) { b.level = level } }

// WithReloadNotice has begin called when a Reload begins, whoever asked for it,
// and what that returns when it is over, with its error.
func WithReloadNotice(begin func() (end func(error))) Option {
	return func(b *Broker) { b.reloadBegins = begin }
}

// Reload reads the configuration, the files of its access section, and the
// certificates of its listeners again, and puts all of it in force. With an
// error nothing has changed. What is no longer allowed ends at once: live
// subscriptions, messages that wait, and the connections of clients who would
// not be let in any more. All other clients stay.
func (b *Broker) Reload(context.Context) (ReloadReport, error) { return b.reload(b.reread, everything) }

// TryReload says what Reload would do, and does nothing.
func (b *Broker) TryReload(context.Context) (ReloadReport, error) { return b.reload(b.reread, attempt) }

// change is a new configuration that can be put in force.
type change struct {
	before    Config
	was       *accessFiles
	cfg       Config
	files     *accessFiles
	rules     *hooks.Rules
	policies  *acl.Comparison // of was and files
	endpoints *transition
	http      *httpChange // nil: it stays as it is, its users included
	report    ReloadReport

	filesOnly bool // the configuration is the one in force
}

// scope is how far a reload goes.
type scope int

const (
	everything scope = iota
	attempt          // as far, but nothing is put in force
	accessOnly       // the files of the access section; listeners and their certificates stay as they are
)

// reload puts in force what read returns or, if read is nil, what the files say
// now that the configuration in force names.
func (b *Broker) reload(read func() (Config, error), how scope) (_ ReloadReport, err error) {
	try := how == attempt
	b.reloading.Lock()
	defer b.reloading.Unlock()
	defer b.rest.Stir() // what is watched, and how often, may have changed
	if !b.runs() {
		return ReloadReport{}, fmt.Errorf("reload: %w: the broker does not run", ErrState)
	}
	if how == everything {
		b.reopenSinks()
		if b.reloadBegins != nil {
			end := b.reloadBegins()
			defer func() { end(err) }()
		}
	}
	c, err := b.planReload(read, how)
	switch {
	case err != nil && try:
		return ReloadReport{}, fmt.Errorf("reload: %w", err)
	case err != nil:
		b.log.Error("reload failed, everything stays as it was", "error", err)
		b.system(events.SystemReloadFailed, err.Error())
		return ReloadReport{}, fmt.Errorf("reload: %w", err)
	case try:
		c.abandon()
		return c.report, nil
	}
	b.putInForce(c)
	return c.report, nil
}

// planReload does all of a reload that can fail.
func (b *Broker) planReload(read func() (Config, error), how scope) (_ *change, err error) {
	try := how == attempt
	c := &change{before: b.conf(), was: b.files, cfg: b.conf(), report: ReloadReport{DryRun: try, Clients: []statsd.AffectedClient{}}}
	if read != nil {
		if c.cfg, err = read(); err != nil {
			return nil, err
		}
		if err := c.cfg.validate(len(b.authMethods)+len(b.authSources) > 0); err != nil {
			return nil, err
		}
	}
	c.report.Changes = append([]statsd.Change{}, c.before.diff(c.cfg)...) // empty, not nil, for JSON
	if err := b.explain(c.report.Changes); err != nil {
		return nil, err
	}
	if c.files, err = c.cfg.Access.load(b.guards, b.authSources); err != nil {
		return nil, err
	}
	if how == accessOnly {
		c.filesOnly = true
		c.endpoints = b.sameEndpoints()
	} else if c.endpoints, err = b.planEndpoints(c.cfg, try); err != nil {
		c.files.close()
		return nil, err
	} else if c.http, err = b.planHTTP(c.cfg.HTTP, try); err != nil {
		c.endpoints.rollBack()
		c.files.close()
		return nil, err
	}
	c.rules = b.rulesOf(c.cfg, c.files)
	c.policies = acl.Compare(c.was.policy, c.files.policy)
	c.report.Users, c.report.Rules = c.files.users.Size(), c.files.policy.Size()
	if c.http != nil {
		c.report.People = c.http.users.users.Size()
	}
	if try {
		c.judge(b.sessions.Members(), false)
	}
	return c, nil
}

func (c *change) abandon() {
	if c.http != nil {
		c.http.rollBack()
	}
	c.endpoints.rollBack()
	c.files.close()
}

// putInForce carries c out. It cannot fail: that is why things come in this
// order, tighter rules before wider doors.
func (b *Broker) putInForce(c *change) {
	if b.level != nil && !c.filesOnly {
		b.level.Set(c.cfg.Log.Level)
	}
	b.cfg.Store(&c.cfg)
	c.endpoints.tighten()
	b.access.SetRules(c.rules)
	b.limit(c.cfg)
	b.relay.AccessChanged()
	c.judge(b.sessions.Members(), true)
	b.setUplinks(c.cfg, true)
	c.endpoints.carryOut()
	if c.http != nil {
		c.http.carryOut()
	}
	b.files = c.files
	c.was.close()
	b.announceReload(c.report)
}

// limit puts the limits of c in force.
func (b *Broker) limit(c Config) {
	bounds := b.fit(c)
	b.gate.SetLimits(bounds.gateLimits())
	b.relay.Reconfigure(b.relayConfig(bounds))
}

// judge notes what c means for clients. First come those whom it costs their
// connections, which expel ends, except where their listener does.
func (c *change) judge(clients []hooks.Member, expel bool) {
	slices.SortFunc(clients, func(a, b hooks.Member) int { return cmp.Compare(a.ID, b.ID) })
	var stay []hooks.Member
	for _, m := range clients {
		why := c.expels(m)
		if why == "" {
			stay = append(stay, m)
			continue
		}
		c.report.Disconnected++
		c.note(statsd.AffectedClient{ID: m.ID, Why: why, Disconnected: true})
		if expel && !c.endpoints.closing[m.Subject.Listener] {
			m.Expel()
		}
	}
	for _, m := range stay {
		if !c.policies.Agree(m.Subject) {
			c.note(statsd.AffectedClient{ID: m.ID, Why: "its rules have changed"})
		}
	}
}

func (c *change) note(a statsd.AffectedClient) {
	c.report.Affected++
	if len(c.report.Clients) < statsd.MaxAffected {
		c.report.Clients = append(c.report.Clients, a)
	}
}

func (b *Broker) announceReload(r ReloadReport) {
	keys := make([]string, 0, len(r.Changes))
	for _, ch := range r.Changes {
		log := b.log.With("key", ch.Key, "from", ch.From, "to", ch.To)
		if ch.Effect != "" {
			log = log.With("counts", ch.Effect)
		}
		log.Info("configuration changed")
		keys = append(keys, ch.Key)
	}
	detail := fmt.Sprintf("%d users, %d rules, %d clients disconnected", r.Users, r.Rules, r.Disconnected)
	if len(keys) > 0 {
		detail += "; changed: " + strings.Join(keys, ", ")
	}
	b.system(events.SystemReloaded, detail)
	b.log.Info("reloaded", "changes", len(keys), "users", r.Users, "rules", r.Rules, "disconnected", r.Disconnected)
}

// fixed are the sections and keys that a running broker cannot change.
var fixed = []string{"memory", "control", "storage", "events", "sys", "statsd", "otlp", "log.format"}

// nextConnection are the keys that count for clients when they connect again.
var nextConnection = []string{"limits.receive_maximum", "limits.max_inflight", "limits.max_topic_alias", "limits.max_packet_size", "limits.connect_timeout"}

// nextConnectionThere are those of a listener.
var nextConnectionThere = []string{"proxy_protocol", "allowed_origins", "max_packet_size", "connect_timeout", "certificate", "key", "min_version"}

// explain says of each change when it counts. The error names those that cannot
// be made now.
func (b *Broker) explain(changes []statsd.Change) error {
	var late []string
	for i := range changes {
		ch := &changes[i]
		switch {
		case slices.ContainsFunc(fixed, func(key string) bool { return ch.Key == key || strings.HasPrefix(ch.Key, key+".") }),
			ch.Key == "log.level" && b.level == nil:
			late = append(late, ch.Key)
		case slices.Contains(nextConnection, ch.Key),
			strings.HasPrefix(ch.Key, "listeners[") && slices.Contains(nextConnectionThere, ch.Key[strings.LastIndexByte(ch.Key, '.')+1:]):
			ch.Effect = "when a client connects again"
		}
	}
	if len(late) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w; put that back as it was, or restart the broker", strings.Join(late, ", "), ErrRestart)
}
