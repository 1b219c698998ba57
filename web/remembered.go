package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

// remembered is a password that was good a moment ago. It spares those who send
// one with every request, such as a Prometheus server, a hash for each.
type remembered struct {
	person
	id    auth.Identity
	until time.Time
}

// rememberKey stands for a name and a password. Who does not know the secret
// cannot tell anything from it.
func (a *Accounts) rememberKey(name, password string) (key mark) {
	h := hmac.New(sha256.New, a.secret[:])
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(name)))
	h.Write(size[:])
	h.Write([]byte(name))
	h.Write([]byte(password))
	h.Sum(key[:0])
	return key
}

func (a *Accounts) recall(key mark) (remembered, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.remembered[key]
	if !ok || !a.standsLocked(r.person) || !time.Now().Before(r.until) {
		delete(a.remembered, key)
		return remembered{}, false
	}
	return r, true
}

// remember keeps r for a while, in place of the one that ends first if there
// are too many.
func (a *Accounts) remember(key mark, r remembered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.until = time.Now().Add(rememberedFor)
	if len(a.remembered) >= maxRemembered {
		var first mark
		var end time.Time
		for k, other := range a.remembered {
			if end.IsZero() || other.until.Before(end) {
				first, end = k, other.until
			}
		}
		delete(a.remembered, first)
	}
	a.remembered[key] = r
}
