package auth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
)

// LockoutConfig is how much guessing is tolerated.
type LockoutConfig struct {
	// Failures is how many wrong passwords one user may give from one address
	// before each further one costs a wait: 1 s, 2 s, 4 s, up to MaxWait.
	Failures int

	// AddressFailures is the same for one address and all users together. Raise
	// it where many devices share an address.
	AddressFailures int

	// MaxWait bounds every wait.
	MaxWait time.Duration

	// Entries is how many addresses, users, and users at addresses are
	// remembered, each: about 120 bytes times this.
	Entries int
}

// DefaultLockoutConfig returns what fits a gateway: about 240 KB.
func DefaultLockoutConfig() LockoutConfig {
	return LockoutConfig{Failures: 5, AddressFailures: 40, MaxWait: 5 * time.Minute, Entries: 2048}
}

// Times of the lockout.
const (
	firstWait   = time.Second
	forgetAfter = time.Hour       // Failures, or AddressFailures, are forgiven in it
	maxSlowing  = 3 * time.Second // for a user under attack
)

// Lockout makes guessing passwords slow, and outlives the sources that it
// guards. An address is an IPv4 address or the /64 of an IPv6 one. It counts
// three things, each with a tolerance, and forgives steadily, all of a tolerance in
// an hour:
//
//   - Wrong passwords of one user from one address. Beyond the tolerance the
//     user is locked at this address, for a second, then two, up to MaxWait.
//     Once locked, one attempt per wait is let through, however many are made at
//     once. Attempts while locked are not judged, so they do not count. Success
//     resets.
//   - Wrong passwords from one address, of any users. Of one user at most
//     Failures count, so that one device with an old password does not lock out
//     those that share its address. Beyond the tolerance the address is locked in
//     the same way, except for users who have logged in from there before. Success
//     takes back what that user added, and no more: who has one good password
//     cannot buy further guesses at others with it.
//   - Wrong passwords of one user, from any address. Beyond the tolerance, which
//     is AddressFailures, the user is under attack: attempts from addresses where
//     they have not logged in before take up to three seconds longer. They are
//     never locked out: else any stranger could do that to anybody.
//
// So a stranger can hold up a user only from an address that both use, and there
// only by guessing at that user's name, or if the user is new there.
//
// Memory is fixed. Where a table is full of worse offenders, a new one is not
// tracked; attempts of those are slowed by the three seconds, not locked. Many
// addresses therefore neither push out who is locked nor lock others. Against an
// attacker with very many addresses the bounds are the [Verifier]'s and the
// password's; generated ones cannot be guessed.
type Lockout struct {
	config LockoutConfig
	seed   maphash.Seed
	start  time.Time // times below are since then, monotonic

	mu     sync.Mutex
	pairs  table // user and address
	addrs  table // address
	users  table // user
	proven proven
}

// LockedError is an [ErrRefused] without a look at the credentials.
type LockedError struct {
	Wait time.Duration // until an attempt is judged again
	Addr bool          // the address is locked; else the user at this address
}

func (e *LockedError) Error() string {
	what := "user is locked at this address"
	if e.Addr {
		what = "address is locked"
	}
	return fmt.Sprintf("%s after too many failed logins, for %v more", what, e.Wait.Round(time.Second))
}

// Unwrap makes it an ErrRefused.
func (e *LockedError) Unwrap() error { return ErrRefused }

// NewLockout returns a Lockout that has seen nothing.
func NewLockout(config LockoutConfig) (*Lockout, error) {
	switch {
	case config.Failures < 1 || config.AddressFailures < 1:
		return nil, errors.New("lockout: tolerated failures must be at least 1")
	case config.Failures > maxTolerance || config.AddressFailures > maxTolerance:
		return nil, fmt.Errorf("lockout: tolerated failures must be at most %d", maxTolerance)
	case config.MaxWait < firstWait || config.MaxWait > forgetAfter:
		return nil, fmt.Errorf("lockout: longest wait is %v; must be between %v and %v", config.MaxWait, firstWait, forgetAfter)
	case config.Entries < ways:
		return nil, fmt.Errorf("lockout: entries must be at least %d", ways)
	}
	return &Lockout{
		config: config,
		seed:   maphash.MakeSeed(),
		start:  time.Now(),
		pairs:  newTable(config.Entries, config.Failures, config.MaxWait),
		addrs:  newTable(config.Entries, config.AddressFailures, config.MaxWait),
		users:  newTable(config.Entries, config.AddressFailures, config.MaxWait),
		proven: newProven(config.Entries),
	}, nil
}

// Guard is s behind the lockout: what is locked is a [*LockedError] and never
// reaches s. Refusals by s count as wrong passwords, other than those that are
// ErrStale; failures do not.
func (l *Lockout) Guard(s Source) Source {
	return SourceFunc(func(ctx context.Context, a *Attempt) (Identity, error) {
		k := l.keys(a)
		ticket, err := l.admit(k)
		if err != nil {
			return Identity{}, err
		}
		var id Identity
		if err = wait(ctx, ticket.slow); err == nil {
			id, err = s.Authenticate(ctx, a)
		}
		switch {
		case err == nil:
			l.succeeded(k, ticket)
		case errors.Is(err, ErrRefused) && !errors.Is(err, ErrStale):
			l.failed(k)
		default:
			l.unjudged(k, ticket)
		}
		return id, err
	})
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keys is what an attempt is counted under. 0: it is not counted under that,
// because it names no user or comes from no address.
type keys struct{ pair, addr, user uint64 }

func (l *Lockout) keys(a *Attempt) (k keys) {
	from := peer.Network(a.Addr)
	if from.IsValid() {
		k.addr = nonzero(maphash.Comparable(l.seed, from))
	}
	if a.HasUsername {
		k.user = nonzero(maphash.String(l.seed, a.Username))
		k.pair = nonzero(maphash.Comparable(l.seed, struct {
			from netip.Prefix
			user string
		}{from, a.Username}))
	}
	return k
}

func nonzero(key uint64) uint64 { return max(key, 1) }

// ticket is an attempt that is let through.
type ticket struct {
	slow       time.Duration // to wait first
	pair, addr time.Duration // until when it has locked those
}

// admit lets an attempt through, or says that it is locked.
func (l *Lockout) admit(k keys) (t ticket, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	known := l.proven.has(k.pair)
	if w := l.pairs.locked(k.pair, now); w > 0 {
		return t, &LockedError{Wait: w}
	}
	if !known {
		if w := l.addrs.locked(k.addr, now); w > 0 {
			return t, &LockedError{Wait: w, Addr: true}
		}
		t.addr = l.addrs.spend(k.addr, now)
		t.slow = max(l.users.slowing(k.user, now), l.pairs.untracked(k.pair, now), l.addrs.untracked(k.addr, now))
	}
	t.pair = l.pairs.spend(k.pair, now)
	return t, nil
}

// unjudged takes back what admit has done.
func (l *Lockout) unjudged(k keys, t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	l.pairs.refund(k.pair, t.pair, now)
	l.addrs.refund(k.addr, t.addr, now)
}

func (l *Lockout) failed(k keys) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	fresh := true
	if k.pair != 0 {
		fresh = l.pairs.fail(k.pair, now) <= l.config.Failures
	}
	if fresh {
		l.addrs.fail(k.addr, now)
	}
	l.users.fail(k.user, now)
}

func (l *Lockout) succeeded(k keys, t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	n := l.pairs.reset(k.pair, now)
	l.addrs.refund(k.addr, t.addr, now)
	l.addrs.forgive(k.addr, min(n, l.config.Failures), now)
	l.users.forgive(k.user, n, now)
	l.proven.add(k.pair)
}
