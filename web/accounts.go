package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

// Bounds of what is remembered of people.
const (
	maxSessions        = 128
	maxSessionsPerUser = 8
	sessionIdle        = time.Hour      // without a request, and without a stream that runs
	sessionLife        = 24 * time.Hour // in any case
	maxRemembered      = 64
	rememberedFor      = 5 * time.Minute
)

// ErrNoRole is the error of those who are who they say, and may not come in.
var ErrNoRole = errors.New("the user is in neither of the groups admin and viewer")

// errNoUsers is that of everybody before SetUsers.
var errNoUsers = fmt.Errorf("%w: there are no users", auth.ErrRefused)

// mark is auth.PasswordFile.Mark.
type mark = [sha256.Size]byte

// person is somebody who has shown who they are.
type person struct {
	name string
	role Role
	mark mark // of what they have shown it by
}

// Accounts know who people are: the users, the sessions, and passwords that
// were verified a moment ago. They outlive the Server and are safe for use by
// many goroutines. A change of the users counts at once: sessions, requests and
// streams of those end who are gone or have another password or other groups.
type Accounts struct {
	lockout *auth.Lockout
	turns   *turns
	secret  [sha256.Size]byte // of the keys of remembered

	mu         sync.Mutex         // guards everything that follows
	users      *auth.PasswordFile // nil: nobody
	sessions   map[mark]*session  // by hash of their tokens; of users as they are now
	remembered map[mark]remembered
	visits     map[*visit]struct{}
}

// NewAccounts returns Accounts that know nobody.
func NewAccounts() *Accounts {
	config := auth.DefaultLockoutConfig()
	config.Entries = 256 // people, not devices
	lockout, err := auth.NewLockout(config)
	if err != nil {
		panic(fmt.Sprintf("bounds of guessing: %v", err)) // they are good
	}
	a := &Accounts{
		lockout:    lockout,
		turns:      newTurns(),
		sessions:   make(map[mark]*session),
		remembered: make(map[mark]remembered),
		visits:     make(map[*visit]struct{}),
	}
	_, _ = rand.Read(a.secret[:]) // never fails
	return a
}

// SetUsers puts other users in force; nil: there are none any more.
func (a *Accounts) SetUsers(f *auth.PasswordFile) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users = f
	for key, s := range a.sessions {
		if !a.standsLocked(s.person) {
			a.endLocked(key)
		}
	}
	for key, r := range a.remembered {
		if !a.standsLocked(r.person) {
			delete(a.remembered, key)
		}
	}
	for v := range a.visits {
		if !a.standsLocked(v.person) {
			v.cancel()
		}
	}
}

// standsLocked reports whether p is in the users as they are now.
func (a *Accounts) standsLocked(p person) bool {
	if a.users == nil {
		return false
	}
	now, ok := a.users.Mark(p.name)
	return ok && now == p.mark
}

// identify finds out who somebody is who says a name and a password. The errors
// are those of package auth, and ErrNoRole.
func (a *Accounts) identify(ctx context.Context, from netip.Addr, name, password string) (person, error) {
	var known mark
	key := a.rememberKey(name, password)
	source := auth.SourceFunc(func(ctx context.Context, at *auth.Attempt) (auth.Identity, error) {
		id, m, err := a.judge(ctx, key, at)
		known = m
		return id, err
	})
	id, err := a.lockout.Guard(source).Authenticate(ctx, &auth.Attempt{
		Listener: "http", Addr: from, Username: name, HasUsername: true, Password: auth.NewSecret([]byte(password)),
	})
	if err != nil {
		return person{}, err
	}
	p := person{id.Name, roleOf(id.Groups), known}
	if p.role == "" {
		return person{}, ErrNoRole
	}
	return p, nil
}

// judge verifies a password, unless that was done a moment ago.
func (a *Accounts) judge(ctx context.Context, key mark, at *auth.Attempt) (auth.Identity, mark, error) {
	if r, ok := a.recall(key); ok {
		return r.id, r.person.mark, nil
	}
	if err := a.turns.take(ctx, at.Addr); err != nil {
		return auth.Identity{}, mark{}, err
	}
	defer a.turns.done()
	if r, ok := a.recall(key); ok { // while this one waited
		return r.id, r.person.mark, nil
	}
	a.mu.Lock()
	users := a.users
	a.mu.Unlock()
	if users == nil {
		return auth.Identity{}, mark{}, errNoUsers
	}
	id, err := auth.Chain(users).Authenticate(ctx, at)
	if err != nil {
		return auth.Identity{}, mark{}, err
	}
	m, _ := users.Mark(id.Name)
	a.remember(key, remembered{person: person{name: id.Name, mark: m}, id: id})
	return id, m, nil
}
