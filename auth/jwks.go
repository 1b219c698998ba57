package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
)

// LoadKeySet reads a JSON Web Key Set (RFC 7517), or one key of such a set. Keys
// for encryption and of types that are not known are skipped, as the RFC asks;
// broken ones, private ones and a set without a usable key are errors. A set with
// a shared secret must not be readable by everybody.
func LoadKeySet(path string) (*TokenKeys, error) {
	data, info, err := readFile(path, maxKeyFile, publicFile)
	if err != nil {
		return nil, fmt.Errorf("load key set: %w", err)
	}
	keys, err := parseKeySet(data)
	if err != nil {
		return nil, fmt.Errorf("load key set: %s: %w", path, err)
	}
	if err := checkSecrecy(path, info, keys); err != nil {
		return nil, fmt.Errorf("load key set: %w", err)
	}
	return keys, nil
}

func checkSecrecy(path string, info os.FileInfo, keys *TokenKeys) error {
	for _, k := range keys.keys {
		if _, secret := k.public.([]byte); secret {
			return checkMode(path, info, secretFile)
		}
	}
	return nil
}

// jwk is one key as it is written.
type jwk struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid"`
	Algorithm string   `json:"alg"`
	Use       string   `json:"use"`
	Ops       []string `json:"key_ops"`
	Curve     string   `json:"crv"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
	K         string   `json:"k"`
	D         string   `json:"d"` // only private keys have it
}

func parseKeySet(data []byte) (*TokenKeys, error) {
	var set struct {
		Keys []jwk  `json:"keys"`
		Type string `json:"kty"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&set); err != nil {
		return nil, jsonError(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after the key set; remove it")
	}
	if set.Keys == nil && set.Type != "" { // a key that is no set
		var one jwk
		if err := json.Unmarshal(data, &one); err != nil {
			return nil, jsonError(data, err)
		}
		set.Keys = []jwk{one}
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("has %d keys; at most %d are allowed", len(set.Keys), maxKeys)
	}
	out := &TokenKeys{}
	for i, k := range set.Keys {
		key, use, err := k.parse()
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		if use {
			out.keys = append(out.keys, key)
		}
	}
	if len(out.keys) == 0 {
		return nil, errors.New("has no key that can check a signature; is it a JSON Web Key Set ({\"keys\": [...]})?")
	}
	return out, nil
}

// jsonError says where JSON is broken, but not what stands there.
func jsonError(data []byte, err error) error {
	at := int64(0)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s is not of the right type", lineOf(data, kind.Offset), kind.Field)
	default:
		at = int64(len(data))
	}
	return fmt.Errorf("line %d: is not JSON", lineOf(data, at))
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:max(0, min(offset, int64(len(data))))], []byte("\n"))
}

// parse returns the key; use is false for one that checks no signatures.
func (k *jwk) parse() (key tokenKey, use bool, err error) {
	if k.Use != "" && k.Use != "sig" || k.Ops != nil && !slices.Contains(k.Ops, "verify") {
		return tokenKey{}, false, nil
	}
	if k.D != "" {
		return tokenKey{}, false, errors.New("is a private key, which the broker must not have; give the public half")
	}
	var public any
	switch k.Type {
	case "RSA":
		public, err = k.rsa()
	case "EC":
		public, err = k.ec()
	case "OKP":
		if k.Curve != "Ed25519" {
			return tokenKey{}, false, nil
		}
		public, err = k.ed25519()
	case "oct":
		public, err = decode64("k", k.K)
	case "":
		return tokenKey{}, false, errors.New("has no kty")
	default:
		return tokenKey{}, false, nil
	}
	if err != nil {
		return tokenKey{}, false, err
	}
	if key, err = newTokenKey(k.ID, public); err != nil {
		return tokenKey{}, false, err
	}
	if k.Algorithm != "" {
		name := k.Algorithm
		if name == "Ed25519" { // RFC 9864's name of EdDSA with this curve
			name = "EdDSA"
		}
		if !slices.Contains(key.algorithms, name) {
			return tokenKey{}, false, fmt.Errorf("alg does not fit the key, which can check %v", key.algorithms)
		}
		key.algorithms = []string{name}
	}
	return key, true, nil
}

func decode64(field, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%s is not base64url", field)
	}
	return b, nil
}

func (k *jwk) rsa() (any, error) {
	n, err := decode64("n", k.N)
	if err != nil {
		return nil, err
	}
	e, err := decode64("e", k.E)
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, errors.New("e is larger than 31 bits")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func (k *jwk) ec() (any, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	curve := curves[k.Curve]
	if curve == nil {
		return nil, errors.New("crv is unknown; known are P-256, P-384 and P-521")
	}
	x, err := decode64("x", k.X)
	if err != nil {
		return nil, err
	}
	y, err := decode64("y", k.Y)
	if err != nil {
		return nil, err
	}
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, fmt.Errorf("x and y do not have %d bytes, as %s asks", size, k.Curve)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("x and y are not a point of the curve")
	}
	return key, nil
}

func (k *jwk) ed25519() (any, error) {
	x, err := decode64("x", k.X)
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x does not have %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}
