package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of keys and the files that they are in.
const (
	maxKeyFile = 256 << 10 // bytes
	maxKeys    = 64        // of a set
	minRSABits = 2048
	maxRSABits = 8192
)

// TokenKeys is what the signatures of tokens are checked with. Each key is
// pinned to the algorithms of its type, and to the one that it names, if it does:
// what a token says chooses among them but adds none. It is immutable.
type TokenKeys struct{ keys []tokenKey }

// tokenKey is one key. public is what golang-jwt takes: *rsa.PublicKey,
// *ecdsa.PublicKey, ed25519.PublicKey, or []byte for a shared secret.
type tokenKey struct {
	id         string // empty: for tokens of any key id
	algorithms []string
	public     any
}

// pinned is the algorithms that a key may check.
func pinned(public any) ([]string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("RSA key has %d bits; %d to %d are allowed", bits, minRSABits, maxRSABits)
		}
		if k.E < 3 || k.E%2 == 0 {
			return nil, errors.New("RSA key has an unusable exponent")
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
		return nil, errors.New("EC key is of an unknown curve; known are P-256, P-384 and P-521")
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	case []byte:
		switch n := len(k); { // RFC 7518 3.2: a key is as long as the hash at least
		case n < 32:
			return nil, fmt.Errorf("secret has %d bytes; at least 32 are needed", n)
		case n < 48:
			return []string{"HS256"}, nil
		case n < 64:
			return []string{"HS256", "HS384"}, nil
		}
		return []string{"HS256", "HS384", "HS512"}, nil
	}
	return nil, errors.New("key is of an unknown type; known are RSA, EC and Ed25519")
}

func newTokenKey(id string, public any) (tokenKey, error) {
	algorithms, err := pinned(public)
	return tokenKey{id, algorithms, public}, err
}

// candidates is the keys that may have signed a token with this header.
func (k *TokenKeys) candidates(id, algorithm string) (out []any) {
	for _, key := range k.keys {
		if (id == "" || key.id == "" || key.id == id) && slices.Contains(key.algorithms, algorithm) {
			out = append(out, key.public)
		}
	}
	return out
}

// algorithms is what the keys allow together.
func (k *TokenKeys) algorithms() []string {
	var all []string
	for _, key := range k.keys {
		all = append(all, key.algorithms...)
	}
	return unique(all)
}

// parsePublic reads a public key or a certificate in DER.
func parsePublic(der []byte) (crypto.PublicKey, error) {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key, nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("is neither a public key nor a certificate")
	}
	return c.PublicKey, nil
}

// LoadPublicKey reads one public key, or the key of one certificate, in PEM. It
// checks tokens of any key id.
func LoadPublicKey(path string) (*TokenKeys, error) {
	data, _, err := readFile(path, maxKeyFile, publicFile)
	if err != nil {
		return nil, fmt.Errorf("load public key: %w", err)
	}
	key, err := parsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("load public key: %s: %w", path, err)
	}
	return &TokenKeys{[]tokenKey{key}}, nil
}

func parsePEM(data []byte) (tokenKey, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return tokenKey{}, errors.New("is not PEM; it should begin with -----BEGIN PUBLIC KEY-----")
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return tokenKey{}, errors.New("holds a private key, which the broker must not have; give the public one")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return tokenKey{}, errors.New("holds several keys; use a key set (JWKS) for those")
	}
	public, err := parsePublic(block.Bytes)
	if err != nil {
		return tokenKey{}, err
	}
	return newTokenKey("", public)
}
