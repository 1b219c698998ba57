package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TokenConfig is which tokens count, and what is in them. A claim is named by
// its path, from outside in: {"sub"}, or {"realm_access", "roles"}. Tokens
// without exp do not count, and a user name beside a token does not either.
type TokenConfig struct {
	Issuers       []string      // iss must be one of these; empty: any
	Audiences     []string      // aud must contain one of these; empty: any
	Leeway        time.Duration // by which clocks may differ, 0 to [MaxLeeway]
	UsernameClaim []string      // the name; empty: {"sub"}
	GroupsClaim   []string      // a string or an array of strings, may be absent; empty: no groups
}

// Bounds of tokens.
const (
	MaxToken  = 8 << 10 // bytes; longer ones are refused
	MaxLeeway = 5 * time.Minute
)

// TokenSource names clients by a JSON Web Token in the password. It passes if
// the password does not look like one: three parts between dots, of which the
// first is a header that names an algorithm. What looks like one is judged here
// and nowhere else. Its keys decide which algorithms count; "none" never does.
type TokenSource struct {
	config TokenConfig
	keys   *TokenKeys
	parser *jwt.Parser
}

// NewTokenSource returns a source of the tokens that keys have signed.
func NewTokenSource(keys *TokenKeys, config TokenConfig) (*TokenSource, error) {
	if config.Leeway < 0 || config.Leeway > MaxLeeway {
		return nil, fmt.Errorf("leeway of tokens is %v; must be between 0 and %v", config.Leeway, MaxLeeway)
	}
	if len(config.UsernameClaim) == 0 {
		config.UsernameClaim = []string{"sub"}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(keys.algorithms()),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(config.Leeway),
		jwt.WithExpirationRequired(),
	}
	if len(config.Audiences) > 0 {
		options = append(options, jwt.WithAudience(config.Audiences...))
	}
	return &TokenSource{config, keys, jwt.NewParser(options...)}, nil
}

// Authenticate implements [Source].
func (s *TokenSource) Authenticate(_ context.Context, a *Attempt) (Identity, error) {
	token := a.Password.Reveal()
	if !looksLikeToken(token) {
		return Identity{}, ErrPass
	}
	if len(token) > MaxToken {
		return Identity{}, s.refuse(ErrRefused, "token is longer than %d bytes", MaxToken)
	}
	claims := jwt.MapClaims{}
	if _, err := s.parser.ParseWithClaims(string(token), claims, s.candidates); err != nil {
		return Identity{}, s.explain(err)
	}
	id, err := s.identity(claims)
	if err != nil {
		return Identity{}, s.refuse(ErrStale, "%v", err)
	}
	return id, nil
}

func (s *TokenSource) refuse(err error, format string, args ...any) error {
	return refuse(err, "jwt", format, args...)
}

// looksLikeToken reports whether password is for a TokenSource to judge. It
// looks at no more than MaxToken bytes.
func looksLikeToken(password []byte) bool {
	head, rest, found := bytes.Cut(password[:min(len(password), MaxToken)], []byte("."))
	if !found || len(password) <= MaxToken && bytes.Count(rest, []byte(".")) != 1 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(string(head))
	if err != nil {
		return false
	}
	var header struct {
		Algorithm *json.RawMessage `json:"alg"`
	}
	return json.Unmarshal(text, &header) == nil && header.Algorithm != nil
}

// Why no key fits.
var (
	errNoKey    = errors.New("no key fits the token's kid and alg")
	errCritical = errors.New("token has critical extensions, of which none is known")
	errKeyID    = errors.New("token's kid is not a string")
)

// candidates implements jwt.Keyfunc.
func (s *TokenSource) candidates(t *jwt.Token) (any, error) {
	if _, found := t.Header["crit"]; found {
		return nil, errCritical
	}
	id := ""
	if value, found := t.Header["kid"]; found {
		var ok bool
		if id, ok = value.(string); !ok {
			return nil, errKeyID
		}
	}
	var set jwt.VerificationKeySet
	for _, k := range s.keys.candidates(id, t.Method.Alg()) {
		set.Keys = append(set.Keys, k)
	}
	if len(set.Keys) == 0 {
		return nil, errNoKey
	}
	return set, nil
}

// explain turns an error of the JWT library, which may quote the token, into
// one that does not.
func (s *TokenSource) explain(err error) error {
	genuine := []struct {
		is     error
		reason string
	}{
		{jwt.ErrTokenExpired, "token has expired"},
		{jwt.ErrTokenNotValidYet, "token is not valid yet; is the clock right?"},
		{jwt.ErrTokenInvalidAudience, "token is for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, "token lacks a claim that is required, such as exp or aud"},
		{jwt.ErrTokenInvalidClaims, "token has unusable claims"},
	}
	for _, known := range []error{errNoKey, errCritical, errKeyID} {
		if errors.Is(err, known) {
			return s.refuse(ErrRefused, "%v", known)
		}
	}
	if errors.Is(err, jwt.ErrTokenInvalidClaims) { // the signature is right
		for _, g := range genuine {
			if errors.Is(err, g.is) {
				return s.refuse(ErrStale, "%s", g.reason)
			}
		}
	}
	if errors.Is(err, jwt.ErrTokenMalformed) {
		return s.refuse(ErrRefused, "token is broken")
	}
	return s.refuse(ErrRefused, "token is not signed with a key and algorithm that count here")
}

// identity is who genuine claims are about. Its errors quote no claim.
func (s *TokenSource) identity(claims jwt.MapClaims) (Identity, error) {
	if len(s.config.Issuers) > 0 {
		if issuer, err := claims.GetIssuer(); err != nil || !slices.Contains(s.config.Issuers, issuer) {
			return Identity{}, errors.New("token is of another issuer")
		}
	}
	id := Identity{Source: "jwt"}
	var ok bool
	if id.Name, ok = lookUp(claims, s.config.UsernameClaim).(string); !ok {
		return Identity{}, fmt.Errorf("claim %s, the user name, is not a string", strings.Join(s.config.UsernameClaim, "."))
	}
	var err error
	if id.Groups, err = texts(claims, s.config.GroupsClaim); err != nil {
		return Identity{}, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil {
		return Identity{}, errors.New("claim exp is not a time")
	}
	if _, present := claims["exp"]; present && expires == nil { // the library takes 0 for absent
		return Identity{}, errors.New("claim exp is not a time")
	}
	if expires != nil {
		if year := expires.Year(); year < 1970 || year > 9999 {
			return Identity{}, errors.New("claim exp is not a time before the year 10000")
		}
		id.NotAfter = expires.Add(s.config.Leeway)
	}
	return id, id.check()
}

// lookUp is the claim at path, or nil.
func lookUp(claims map[string]any, path []string) any {
	var value any = claims
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// texts is the strings of the claim at path, none if path is empty or the claim
// absent.
func texts(claims map[string]any, path []string) ([]string, error) {
	if len(path) == 0 {
		return nil, nil
	}
	wrong := fmt.Errorf("claim %s is not a string or an array of strings", strings.Join(path, "."))
	switch value := lookUp(claims, path).(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []any:
		if len(value) > MaxGroups {
			return nil, fmt.Errorf("claim %s has %d values; at most %d are allowed", strings.Join(path, "."), len(value), MaxGroups)
		}
		var out []string
		for _, v := range value {
			text, ok := v.(string)
			if !ok {
				return nil, wrong
			}
			out = append(out, text)
		}
		return unique(out), nil
	default:
		return nil, wrong
	}
}
