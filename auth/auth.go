package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// Attempt is what a client shows of itself. Sources read it and must not
// change or keep it. Everything but Listener, Addr and Certificates is what the
// client claims.
type Attempt struct {
	Listener    string
	ClientID    string
	Addr        netip.Addr // the zero Addr: unknown, as on a unix socket
	Username    string
	HasUsername bool
	Password    Secret // not Present: the client sent none

	// Certificates is the chain that the TLS handshake has verified, the
	// client's own first; nil without one. A certificate that was not verified
	// must not be put here.
	Certificates []*x509.Certificate
}

// Anonymous reports whether the client shows nothing that could be judged.
func (a *Attempt) Anonymous() bool {
	return !a.HasUsername && !a.Password.Present() && len(a.Certificates) == 0
}

// Identity is who a client is. It is a plain value; its slices must not be changed.
type Identity struct {
	// Name is 1 to [MaxName] bytes of UTF-8 without control characters. It may
	// contain '+', '#' and '/': whoever builds topic filters from it must refuse
	// those.
	Name      string
	Groups    []string  // as Name each; no repeats, in the source's order
	ClientIDs []string  // those that the source ties to the identity, as it writes them; empty: it says nothing
	Source    string    // the kind of source: "certificate", "password", "jwt", "http", or an embedder's
	NotAfter  time.Time // when the credentials end; zero: never
}

// Source finds out who clients are. Implementations are called from many
// goroutines at once, return soon after ctx ends, and put no secrets into errors.
// See the package comment for what the errors mean.
type Source interface {
	Authenticate(ctx context.Context, a *Attempt) (Identity, error)
}

// SourceFunc is a function as a [Source].
type SourceFunc func(ctx context.Context, a *Attempt) (Identity, error)

// Authenticate implements [Source].
func (f SourceFunc) Authenticate(ctx context.Context, a *Attempt) (Identity, error) { return f(ctx, a) }

// What a source answers instead of an identity. Test with errors.Is. Every
// other error is a failure: nobody can tell now whether the client is who it says.
var (
	ErrPass    = errors.New("not a client of this source")
	ErrRefused = errors.New("refused")

	// ErrStale is an [ErrRefused] for credentials that were issued but do not
	// count here or now: expired, for another audience, without a name. They
	// are no guess, so [Lockout] does not count them.
	ErrStale = fmt.Errorf("%w: credentials are not valid here or now", ErrRefused)

	// ErrBusy is the failure of too many logins at once: the client should
	// come back later.
	ErrBusy = errors.New("too many logins at once")
)

// refuse is err, which is ErrRefused or ErrStale, with a reason for the
// operator's log. The reason must not contain secrets.
func refuse(err error, source, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", err, source, fmt.Sprintf(format, args...))
}

// Sizes of names and groups.
const (
	MaxName   = 256 // bytes of a name or of a group's
	MaxGroups = 64  // of an identity
)

// CheckName says what is wrong with a user's or group's name, or nil.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > MaxName:
		return fmt.Errorf("name has %d bytes; at most %d are allowed", len(name), MaxName)
	case !utf8.ValidString(name):
		return errors.New("name is not UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("name contains the control character %U", r)
		}
	}
	return nil
}

// check says what is wrong with an identity that a source has given, or nil.
func (id *Identity) check() error {
	if err := CheckName(id.Name); err != nil {
		return err
	}
	if len(id.Groups) > MaxGroups {
		return fmt.Errorf("has %d groups; at most %d are allowed", len(id.Groups), MaxGroups)
	}
	for i, g := range id.Groups {
		if err := CheckName(g); err != nil {
			return fmt.Errorf("group %d: %w", i+1, err)
		}
	}
	return nil
}

// unique is names without repeats, in order. It does not change names.
func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Chain asks sources in order until one does not pass. If all pass the client
// is refused, one that is [Attempt.Anonymous] with [ErrStale]: showing nothing is
// no guess. A chain of nothing refuses everybody. An identity that breaks the
// rules of [Identity] is a failure.
func Chain(sources ...Source) Source { return chain(slices.Clone(sources)) }

type chain []Source

func (c chain) Authenticate(ctx context.Context, a *Attempt) (Identity, error) {
	for _, s := range c {
		if err := ctx.Err(); err != nil {
			return Identity{}, err
		}
		id, err := s.Authenticate(ctx, a)
		switch {
		case err == nil:
			if err := id.check(); err != nil {
				return Identity{}, fmt.Errorf("%s source gives an unusable identity: %w", id.Source, err)
			}
			return id, nil
		case !errors.Is(err, ErrPass):
			return Identity{}, err
		}
	}
	if a.Anonymous() {
		return Identity{}, fmt.Errorf("%w: the client shows neither password nor certificate", ErrStale)
	}
	return Identity{}, fmt.Errorf("%w: no source knows this client", ErrRefused)
}

// Floor is s, whose refusals leave no sooner than min after the question. It
// hides which source has refused, if min is longer than sources usually take.
func Floor(min time.Duration, s Source) Source {
	return SourceFunc(func(ctx context.Context, a *Attempt) (Identity, error) {
		timer := time.NewTimer(min)
		defer timer.Stop()
		id, err := s.Authenticate(ctx, a)
		if errors.Is(err, ErrRefused) {
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		return id, err
	})
}
