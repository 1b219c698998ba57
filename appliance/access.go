package appliance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
)

// What a program needs to tell the broker who its clients are.
type (
	AuthSource   = auth.Source
	AuthAttempt  = auth.Attempt
	AuthIdentity = auth.Identity
)

// ErrAccess is wrapped by the errors of Start, Reload and CheckFiles when what
// the access section names cannot be used.
var ErrAccess = errors.New("access files cannot be used")

// WithAuthSource has source asked who a client is, before the sources of the
// configuration; of several, in their order. See [auth.Source].
func WithAuthSource(source AuthSource) Option {
	return func(b *Broker) { b.authSources = append(b.authSources, source) }
}

// guards are what outlives the files that they guard.
type guards struct {
	verifier *auth.Verifier
	lockout  *auth.Lockout
}

// refusalFloor is how long a refusal takes at least where a server is asked about
// users that are not in the password file: how long it took would tell whether
// they are.
const refusalFloor = time.Second

func newGuards() guards {
	v, err := auth.NewVerifier(auth.DefaultVerifierLimits())
	l, err2 := auth.NewLockout(auth.DefaultLockoutConfig())
	if err := errors.Join(err, err2); err != nil {
		panic(fmt.Sprintf("default limits of logins: %v", err)) // they are good
	}
	return guards{v, l}
}

// accessFiles is what the access section has led to.
type accessFiles struct {
	sources []namedSource      // in the order in which they are asked
	policy  *acl.Policy        // nil: everything is allowed
	users   *auth.PasswordFile // nil: there is none
	stamps  map[string]stamp   // of what is to be watched, from before it was read
	close   func()
}

// load reads the files of c. It opens no connection.
func (c AccessConfig) load(g guards, before []auth.Source) (_ *accessFiles, err error) {
	a := &accessFiles{stamps: stamps(c.watched()), close: func() {}}
	defer func() {
		if err != nil {
			a.close()
			err = fmt.Errorf("%w: %w", ErrAccess, err)
		}
	}()
	for _, s := range before {
		a.sources = append(a.sources, namedSource{"", s})
	}
	if c.Certificates != "" {
		s, err := auth.NewCertificateSource(c.Certificates, c.CertificateGroups == GroupsInOU)
		if err != nil {
			return nil, fmt.Errorf("access.certificates: %w", err)
		}
		a.sources = append(a.sources, namedSource{AccessCertificates, s})
	}
	if c.Tokens.KeyFile != "" {
		s, err := c.Tokens.source()
		if err != nil {
			return nil, fmt.Errorf("access.tokens: %w", err)
		}
		a.sources = append(a.sources, namedSource{AccessTokens, s})
	}
	if c.Passwords != "" {
		f, err := c.loadPasswords(g.verifier)
		if err != nil {
			return nil, fmt.Errorf("access.passwords: %w", err)
		}
		a.users = f
		a.sources = append(a.sources, namedSource{AccessPasswords, f})
	}
	if c.HTTP.URL != "" {
		s, err := c.HTTP.source()
		if err != nil {
			return nil, fmt.Errorf("access.http: %w", err)
		}
		a.close = s.Close
		a.sources = append(a.sources, namedSource{AccessHTTP, s})
	}
	if len(c.Rules) > 0 {
		if a.policy, err = acl.Load(c.Rules...); err != nil {
			return nil, fmt.Errorf("access.rules: %w", err)
		}
	}
	return a, nil
}

func (c AccessConfig) loadPasswords(v *auth.Verifier) (*auth.PasswordFile, error) {
	return loadPasswords(c.Passwords, v)
}

// loadPasswords reads the file of users that a key of the configuration names.
func loadPasswords(ref string, v *auth.Verifier) (*auth.PasswordFile, error) {
	path, err := ResolvePath(ref)
	if err != nil {
		return nil, err
	}
	return auth.LoadPasswordFile(path, v)
}

func (c TokenConfig) source() (*auth.TokenSource, error) {
	load := auth.LoadPublicKey
	if strings.HasSuffix(c.KeyFile, ".json") || strings.HasSuffix(c.KeyFile, ".jwks") {
		load = auth.LoadKeySet
	}
	path, err := ResolvePath(c.KeyFile)
	if err != nil {
		return nil, err
	}
	keys, err := load(path)
	if err != nil {
		return nil, err
	}
	config := auth.TokenConfig{Issuers: c.Issuers, Audiences: c.Audiences, Leeway: c.Leeway, UsernameClaim: strings.Split(c.UsernameClaim, ".")}
	if c.GroupsClaim != "" {
		config.GroupsClaim = strings.Split(c.GroupsClaim, ".")
	}
	return auth.NewTokenSource(keys, config)
}

func (c HTTPAuthConfig) source() (*auth.HTTPSource, error) {
	config := auth.DefaultHTTPConfig()
	config.URL, config.Timeout, config.AllowedFor, config.DeniedFor = c.URL, c.Timeout, c.AllowedFor, c.DeniedFor
	if c.Authorization != "" {
		secret, err := c.Authorization.read()
		if err != nil {
			return nil, fmt.Errorf("authorization: %w", err)
		}
		config.Authorization = secret
	}
	return auth.NewHTTPSource(config)
}

// CheckFiles reads the files of users and rules that c names, as Start will, and
// tells what is wrong with them. The warnings are about rules that can hardly
// be meant, and about what only the service manager passes to a broker, so that
// it cannot be looked at here.
func (c Config) CheckFiles() (warnings []string, err error) {
	c, warnings = c.withoutPassed()
	g := newGuards()
	a, err := c.Access.load(g, nil)
	_, err2 := c.HTTP.loadUsers(g.verifier)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	a.close()
	if a.policy != nil {
		for _, f := range a.policy.Lint() {
			warnings = append(warnings, f.String())
		}
	}
	return warnings, nil
}

// rulesOf are the hooks' rules that c, and a, which it has led to, make.
func (b *Broker) rulesOf(c Config, a *accessFiles) *hooks.Rules {
	all := a.ask(nil, b.guards.lockout)
	r := &hooks.Rules{Anonymous: make(map[string]bool), Own: make(map[string]hooks.Sources),
		Source: all.Source, Policy: a.policy, Certificates: all.Certificates}
	for _, l := range c.Listeners {
		if len(l.Sources) > 0 {
			r.Own[l.Name] = a.ask(l.Sources, b.guards.lockout)
		}
		r.Anonymous[l.Name] = c.anonymous(l, len(b.authSources) > 0)
	}
	return r
}
