package hooks

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/xdg-go/scram"

	"github.com/synthetism/edgebroker/wire"
)

// ScramSHA256Name is how CONNECT names the method of [ScramSHA256].
const ScramSHA256Name = "SCRAM-SHA-256"

// ScramKeys is what the broker knows of one user's password: enough to see
// that a client has it, too little to log in with it. [NewScramKeys] makes them.
type ScramKeys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// MinScramIterations is how much work RFC 7677 demands, of the client, for one
// login and, of a thief of keys, for one guess.
const MinScramIterations = 4096

// NewScramKeys makes the keys of a password, with a salt of its own. More
// iterations than [MinScramIterations] make stolen keys worth less, and each
// login slower on the client. The password is prepared as SASLprep demands.
func NewScramKeys(password string, iterations int) (ScramKeys, error) {
	if iterations < MinScramIterations {
		return ScramKeys{}, fmt.Errorf("scram: %d iterations are too few; use %d or more", iterations, MinScramIterations)
	}
	c, err := scram.SHA256.NewClient("user", password, "") // keys do not depend on the name
	if err != nil {
		return ScramKeys{}, errors.New("scram: password holds characters that SASLprep forbids")
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	stored, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return ScramKeys{}, fmt.Errorf("scram: derive keys: %w", err)
	}
	return ScramKeys{Salt: salt, Iterations: iterations, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}, nil
}

// valid tells keys that can be used from those that are half filled in.
func (k *ScramKeys) valid() bool {
	return len(k.Salt) > 0 && k.Iterations > 0 && len(k.StoredKey) == sha256.Size && len(k.ServerKey) == sha256.Size
}

// ScramCredentials knows the users. It is called from many goroutines.
type ScramCredentials interface {
	// ScramKeys returns the keys of a user, ok false if there is no such user.
	// user is what the client sent: untrusted, and not prepared with SASLprep,
	// as clients do that. An error is the store's own: clients hear "server
	// busy" and may try again. ctx bounds the call.
	ScramKeys(ctx context.Context, user string) (keys ScramKeys, ok bool, err error)
}

// ScramSHA256 is the method SCRAM-SHA-256 of RFC 7677, without channel binding:
// the client shows that it has the password and the broker that it has the
// keys, and neither tells the other. A name that no user has is refused in the
// same words and at the same step as a wrong password. It is asked for
// [MinScramIterations], though: who gives users more of them tells their names
// from others.
func ScramSHA256(users ScramCredentials) AuthMethod {
	m := &scramSHA256{users: users}
	_, _ = rand.Read(m.secret[:]) // never fails
	return m
}

type scramSHA256 struct {
	users  ScramCredentials
	secret [32]byte // keys of users that do not exist are made of it
}

// Name implements AuthMethod.
func (m *scramSHA256) Name() string { return ScramSHA256Name }

// Begin implements AuthMethod.
func (m *scramSHA256) Begin(AuthPeer) AuthExchange { return &scramExchange{method: m} }

type scramExchange struct {
	method *scramSHA256
	conv   *scram.ServerConversation // nil until the client's first message
}

// errScram is all that is told of a failed exchange: the library's errors hold
// what the client sent.
var errScram = errors.New("scram: exchange failed")

// Step implements AuthExchange. A client that brings nothing is asked for its
// first message, as SASL demands.
func (e *scramExchange) Step(ctx context.Context, data []byte) (AuthStep, error) {
	if e.conv == nil {
		if data == nil {
			return AuthStep{}, nil
		}
		return e.first(ctx, string(data))
	}
	answer, err := e.conv.Step(string(data))
	if err != nil || !e.conv.Valid() {
		return AuthStep{}, errScram
	}
	if id := e.conv.AuthzID(); id != "" && id != e.conv.Username() {
		return AuthStep{}, errScram // nobody may act for others
	}
	return AuthStep{Data: []byte(answer), Done: true, Username: e.conv.Username()}, nil
}

// first takes the client's first message and answers with salt and nonce.
func (e *scramExchange) first(ctx context.Context, message string) (AuthStep, error) {
	var broken error
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		keys, ok, err := e.method.users.ScramKeys(ctx, user)
		switch {
		case err != nil:
			broken = &wire.Error{Reason: wire.ServerBusy, Detail: "user store: " + err.Error()}
		case !ok:
			keys = e.method.nobody(user)
		case !keys.valid():
			broken = &wire.Error{Reason: wire.ServerBusy, Detail: "user store: keys are incomplete"}
		}
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
			StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
		}, broken
	})
	if err != nil {
		return AuthStep{}, err
	}
	e.conv = server.NewConversation()
	answer, err := e.conv.Step(message)
	switch {
	case broken != nil:
		return AuthStep{}, broken
	case err != nil:
		return AuthStep{}, errScram
	}
	return AuthStep{Data: []byte(answer)}, nil
}

// nobody makes keys for a name that no user has: as long as the broker runs
// the same salt for the same name, so that asking twice tells nothing. No
// password fits them.
func (m *scramSHA256) nobody(user string) ScramKeys {
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, m.secret[:])
		h.Write([]byte(what + user))
		return h.Sum(nil)
	}
	return ScramKeys{Salt: derive("salt:")[:16], Iterations: MinScramIterations,
		StoredKey: derive("stored:"), ServerKey: derive("server:")}
}
