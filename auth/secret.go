package auth

import (
	"crypto/rand"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is bytes that do not show: it prints, formats, logs and marshals as
// "[redacted]", also from within other values. The zero Secret is absent, which
// is not the same as present and empty.
type Secret struct {
	// A function, because fmt prints unexported fields of other types without
	// asking their methods, and follows pointers: of a function it shows an
	// address.
	reveal func() []byte
}

// NewSecret returns a Secret of b, which belongs to it from now on.
func NewSecret(b []byte) Secret { return Secret{func() []byte { return b }} }

// Present reports whether there is a secret, be it empty.
func (s Secret) Present() bool { return s.reveal != nil }

// Reveal returns the bytes, which must not be changed; nil if absent.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return redacted }

// Format implements [fmt.Formatter], for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements [encoding/json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// alphabet is 32 characters, so five bits each, none of which looks like
// another: no 0, 1, l or o.
const alphabet = "23456789abcdefghijkmnpqrstuvwxyz"

// GeneratePassword returns a password of 140 random bits, in seven groups of
// four characters that can be read out and typed: "k7mp-w2xe-...".
func GeneratePassword() Secret {
	const groups, size = 7, 4
	random := make([]byte, groups*size)
	_, _ = rand.Read(random) // never fails
	out := make([]byte, 0, groups*(size+1))
	for i, b := range random {
		if i > 0 && i%size == 0 {
			out = append(out, '-')
		}
		out = append(out, alphabet[b%byte(len(alphabet))])
	}
	return NewSecret(out)
}
