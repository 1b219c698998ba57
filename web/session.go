package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// session is somebody's login. All of it is guarded by Accounts.mu.
type session struct {
	person
	begun, used time.Time
	busy        int // requests that run
}

// tokenSize is the size of a session's token in random bytes.
const tokenSize = 32

// open begins a session and returns its token, which is kept nowhere. It is in
// place of the user's session that was used longest ago if they have too many,
// and else of anybody's if there are too many. It fails only if the user has
// changed meanwhile.
func (a *Accounts) open(p person) (token string, ok bool) {
	raw := make([]byte, tokenSize)
	_, _ = rand.Read(raw) // never fails
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.standsLocked(p) {
		return "", false
	}
	now := time.Now()
	own := 0
	for key, s := range a.sessions {
		if s.over(now) {
			a.endLocked(key)
		} else if s.name == p.name {
			own++
		}
	}
	if own >= maxSessionsPerUser {
		a.endOldestLocked(func(s *session) bool { return s.name == p.name })
	}
	if len(a.sessions) >= maxSessions {
		a.endOldestLocked(func(*session) bool { return true })
	}
	a.sessions[sha256.Sum256(raw)] = &session{person: p, begun: now, used: now}
	return base64.RawURLEncoding.EncodeToString(raw), true
}

// over reports whether the session has lasted or idled for too long.
func (s *session) over(now time.Time) bool {
	return now.Sub(s.begun) >= sessionLife || s.busy == 0 && now.Sub(s.used) >= sessionIdle
}

func (a *Accounts) endOldestLocked(fits func(*session) bool) {
	var oldest mark
	var at *session
	for key, s := range a.sessions {
		if fits(s) && (at == nil || s.used.Before(at.used)) {
			oldest, at = key, s
		}
	}
	if at != nil {
		a.endLocked(oldest)
	}
}

// endLocked ends a session and the requests that it was shown with.
func (a *Accounts) endLocked(key mark) {
	s := a.sessions[key]
	delete(a.sessions, key)
	for v := range a.visits {
		if v.session == s {
			v.cancel()
		}
	}
}

// keyOf is what a session is found by; ok is false for what is no token.
func keyOf(token string) (key mark, ok bool) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return key, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != tokenSize { // line breaks are passed over
		return key, false
	}
	return sha256.Sum256(raw), true
}

// end ends the session of that token, if there is one.
func (a *Accounts) end(token string) {
	key, ok := keyOf(token)
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok && a.sessions[key] != nil {
		a.endLocked(key)
	}
}

// EndAll ends all sessions and the requests of everybody, and forgets all
// passwords.
func (a *Accounts) EndAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.sessions)
	clear(a.remembered)
	for v := range a.visits {
		v.cancel()
	}
}

// visit is one request of somebody who is known.
type visit struct {
	person
	accounts *Accounts
	session  *session // nil: they have sent their password
	cancel   context.CancelFunc
	detach   []func() bool // ends what endWith has begun
}

// endWith makes the visit's context end with ctx, too. It is for the goroutine
// of the request.
func (v *visit) endWith(ctx context.Context) {
	v.detach = append(v.detach, context.AfterFunc(ctx, v.cancel))
}

// resume begins a visit of whom a session is that has this token. The context
// ends with the session. ok is false if there is no such session.
func (a *Accounts) resume(ctx context.Context, token string) (_ context.Context, v *visit, ok bool) {
	key, ok := keyOf(token)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[key]
	if !ok || s == nil {
		return ctx, nil, false
	}
	if s.over(time.Now()) {
		a.endLocked(key)
		return ctx, nil, false
	}
	ctx, cancel := context.WithDeadline(ctx, s.begun.Add(sessionLife))
	s.busy++
	s.used = time.Now()
	v = &visit{person: s.person, accounts: a, session: s, cancel: cancel}
	a.visits[v] = struct{}{}
	return ctx, v, true
}

// enter begins a visit of p, who has shown a password. The context ends when
// that is none any more; ok is false if it is not already.
func (a *Accounts) enter(ctx context.Context, p person) (_ context.Context, v *visit, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.standsLocked(p) {
		return ctx, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	v = &visit{person: p, accounts: a, cancel: cancel}
	a.visits[v] = struct{}{}
	return ctx, v, true
}

// leave ends the visit.
func (v *visit) leave() {
	for _, stop := range v.detach {
		stop()
	}
	v.cancel()
	a := v.accounts
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.visits, v)
	if v.session != nil {
		v.session.busy--
		v.session.used = time.Now()
	}
}
