package appliance

import (
	"errors"
	"fmt"

	"github.com/synthetism/edgebroker/hooks"
)

// What a program needs to bring a method of enhanced authentication of its
// own, see [WithAuthMethod].
type (
	AuthMethod   = hooks.AuthMethod
	AuthExchange = hooks.AuthExchange
	AuthStep     = hooks.AuthStep
	AuthPeer     = hooks.AuthPeer
)

// What a program needs to give [ScramSHA256] its users.
type (
	ScramCredentials = hooks.ScramCredentials
	ScramKeys        = hooks.ScramKeys
)

// MinScramIterations is the least that [NewScramKeys] takes.
const MinScramIterations = hooks.MinScramIterations

// NewScramKeys makes what is to be stored of a password: see
// [hooks.NewScramKeys].
func NewScramKeys(password string, iterations int) (ScramKeys, error) {
	return hooks.NewScramKeys(password, iterations)
}

// ScramSHA256 is the method SCRAM-SHA-256 for [WithAuthMethod]: see
// [hooks.ScramSHA256].
func ScramSHA256(users ScramCredentials) AuthMethod { return hooks.ScramSHA256(users) }

// WithAuthMethod offers a method of enhanced authentication to MQTT 5 clients,
// on every listener. Give it once for each method. Clients that name none are
// let in as the listener's allow_anonymous says.
func WithAuthMethod(m AuthMethod) Option {
	return func(b *Broker) { b.authMethods = append(b.authMethods, m) }
}

// WithResponseInformation gives clients that ask for it the part of the topic
// tree in which they are to choose their response topics (section 4.10.1 of
// MQTT 5). prefix is called for each of their connections, from many
// goroutines; client was chosen by the client and may hold any character. An
// empty prefix tells the client nothing. That others keep out of that part is
// for access control to see to.
func WithResponseInformation(prefix func(client string) string) Option {
	return func(b *Broker) { b.responseInfo = prefix }
}

// authByName checks and sorts the methods that New was given.
func authByName(methods []AuthMethod) (map[string]AuthMethod, error) {
	byName := make(map[string]AuthMethod)
	for _, m := range methods {
		if m == nil {
			return nil, errors.New("authentication method is nil")
		}
		name := m.Name()
		switch {
		case name == "":
			return nil, errors.New("authentication method has no name")
		case byName[name] != nil:
			return nil, fmt.Errorf("authentication method %q is given twice", name)
		}
		byName[name] = m
	}
	return byName, nil
}
