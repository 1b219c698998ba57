package hooks

import (
	"encoding/json"
	"slices"
	"sync/atomic"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/relay"
)

// rights is what one client may do, by the policy that is in force when it is
// asked.
type rights struct {
	rules   *atomic.Pointer[Rules] // of the Access
	subject acl.Subject
	known   atomic.Pointer[resolved]
}

// resolved is what a policy says of the subject.
type resolved struct {
	policy *acl.Policy
	rights *acl.Rights
}

func (h *Access) rightsOf(s acl.Subject) *rights { return &rights{rules: &h.rules, subject: s} }

// now is what the policy in force says; nil if everything is allowed.
func (r *rights) now() *acl.Rights {
	policy := r.rules.Load().Policy
	if policy == nil {
		return nil
	}
	if k := r.known.Load(); k != nil && k.policy == policy {
		return k.rights
	}
	k := &resolved{policy, policy.Resolve(r.subject)}
	r.known.Store(k)
	return k.rights
}

// CanPublish implements relay.Access.
func (r *rights) CanPublish(topic string) bool {
	now := r.now()
	return now == nil || now.Publish(topic).Allow
}

// CanReceive implements relay.Access.
func (r *rights) CanReceive(topic string) bool {
	now := r.now()
	return now == nil || now.Receive(topic).Allow
}

// canSubscribe reports whether a subscription to filter can lead to anything.
func (r *rights) canSubscribe(filter string) bool {
	now := r.now()
	return now == nil || now.Subscribe(filter).Allow
}

// Same implements relay.Access.
func (r *rights) Same(other relay.Access) bool {
	o, ok := other.(*rights)
	return ok && o.rules == r.rules && o.subject.User == r.subject.User && o.subject.ClientID == r.subject.ClientID &&
		o.subject.CertName == r.subject.CertName && o.subject.Listener == r.subject.Listener &&
		slices.Equal(o.subject.Groups, r.subject.Groups)
}

// storedSubject is what is kept of a subject with its session, beside client
// identifier and owner.
type storedSubject struct {
	Groups   []string `json:"g,omitempty"`
	CertName string   `json:"c,omitempty"`
	Listener string   `json:"l,omitempty"`
}

func (r *rights) stored() string {
	b, err := json.Marshal(storedSubject{r.subject.Groups, r.subject.CertName, r.subject.Listener})
	if err != nil {
		return "" // strings always can be encoded
	}
	return string(b)
}

// Recovered makes the rights that the client of a recovered session had, so
// that messages which come before the client does are judged by them.
func (h *Access) Recovered(t relay.Terms) relay.Access {
	var s storedSubject
	_ = json.Unmarshal([]byte(t.Subject), &s) // what cannot be read gives no rights beyond the name's
	return h.rightsOf(acl.Subject{User: t.Owner, ClientID: t.ClientID, Groups: s.Groups, CertName: s.CertName, Listener: s.Listener})
}
