package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// FuzzKeySet: whatever is in a set, parsing ends without a panic, and each key
// that comes out is within bounds and pinned to algorithms of its own type.
func FuzzKeySet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256","kid":"a"}]}`)
	f.Add(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 342) + `","use":"sig"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeySet([]byte(text))
		if err != nil {
			return
		}
		if len(keys.keys) == 0 || len(keys.keys) > maxKeys {
			t.Fatalf("%d keys", len(keys.keys))
		}
		for _, k := range keys.keys {
			prefixes := []string{"HS"}
			switch p := k.public.(type) {
			case *rsa.PublicKey:
				prefixes = []string{"RS", "PS"}
				if p.N.BitLen() < minRSABits || p.N.BitLen() > maxRSABits || p.E < 3 {
					t.Fatalf("RSA key of %d bits, exponent %d", p.N.BitLen(), p.E)
				}
			case *ecdsa.PublicKey:
				prefixes = []string{"ES"}
			case ed25519.PublicKey:
				prefixes = []string{"Ed"}
			case []byte:
				if len(p) < 32 {
					t.Fatalf("secret of %d bytes", len(p))
				}
			default:
				t.Fatalf("key of type %T", p)
			}
			if len(k.algorithms) == 0 {
				t.Fatal("key without algorithms")
			}
			for _, a := range k.algorithms {
				if !slices.Contains(prefixes, a[:2]) {
					t.Fatalf("%T checks %s", k.public, a)
				}
			}
		}
	})
}

// FuzzToken: whatever a password is, it is judged without a panic, and only what
// an independent check finds signed gets in.
func FuzzToken(f *testing.F) {
	secret := []byte(strings.Repeat("k", 32))
	b64 := base64.RawURLEncoding
	signed := func(header, payload string) string {
		text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64.EncodeToString(mac.Sum(nil))
	}
	f.Add(`{"alg":"HS256"}`, `{"sub":"ann","exp":9999999999}`, "")
	f.Add(`{"alg":"HS256","kid":"x"}`, `{"sub":"ann","exp":9999999999,"aud":["a"],"nbf":1}`, "x.y.z")
	f.Add(`{"alg":"none"}`, `{"sub":"ann"}`, "eyJhbGciOiJub25lIn0.e30.")
	f.Add(`{"alg":"HS512","crit":[]}`, `{"sub":{"a":1},"g":{"a":["b"]}}`, "eyJhbGciOiJSUzI1NiJ9.e30.AA")
	key, err := newTokenKey("", secret)
	if err != nil {
		f.Fatal(err)
	}
	source, err := NewTokenSource(&TokenKeys{[]tokenKey{key}}, TokenConfig{GroupsClaim: []string{"g", "a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header, payload, other string) {
		for _, token := range []string{signed(header, payload), other} {
			id, err := source.Authenticate(t.Context(), &Attempt{Password: NewSecret([]byte(token))})
			if err != nil {
				continue
			}
			if err := id.check(); err != nil || id.NotAfter.IsZero() {
				t.Fatalf("identity %+v: %v", id, err)
			}
			parts := strings.Split(token, ".")
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(parts[0] + "." + parts[1]))
			if sum, err := b64.DecodeString(parts[2]); err != nil || !hmac.Equal(sum, mac.Sum(nil)) {
				t.Fatalf("%q got in unsigned", token)
			}
		}
	})
}
