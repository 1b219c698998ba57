package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synthetism/edgebroker/auth"
)

// signers is a key of each type, made once per test that asks.
type signers struct {
	rsa    *rsa.PrivateKey
	ec     map[string]*ecdsa.PrivateKey // by algorithm
	ed     ed25519.PrivateKey
	secret []byte
}

func newSigners(t testing.TB) signers {
	t.Helper()
	s := signers{ec: map[string]*ecdsa.PrivateKey{}, secret: make([]byte, 64)}
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if s.ec[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	_, _ = rand.Read(s.secret)
	return s
}

func (s signers) key(alg string) any {
	switch alg[:2] {
	case "RS", "PS":
		return s.rsa
	case "ES":
		return s.ec[alg]
	case "Ed":
		return s.ed
	}
	return s.secret
}

// set is the public halves as a JWKS, with the algorithm's name as key id.
func (s signers) set(secrets bool) string {
	b64 := base64.RawURLEncoding.EncodeToString
	keys := []map[string]any{
		{"kty": "RSA", "kid": "rsa", "n": b64(s.rsa.N.Bytes()), "e": "AQAB", "x5t": "ignored"},
		{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(s.ed.Public().(ed25519.PublicKey)), "use": "sig"},
		{"kty": "OKP", "crv": "X25519", "x": "AAAA"},       // not for signatures
		{"kty": "RSA", "use": "enc", "n": "", "e": "AQAB"}, // nor this
		{"kty": "future"},
	}
	for alg, k := range s.ec {
		point, err := k.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		keys = append(keys, map[string]any{"kty": "EC", "kid": alg, "alg": alg, "crv": k.Params().Name,
			"x": b64(point[1 : 1+half]), "y": b64(point[1+half:]), "key_ops": []string{"verify"}})
	}
	if secrets {
		keys = append(keys, map[string]any{"kty": "oct", "kid": "hs", "k": b64(s.secret)})
	}
	out, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(out)
}

func keySet(t testing.TB, text string) *auth.TokenKeys {
	t.Helper()
	keys, err := auth.LoadKeySet(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func tokens(t testing.TB, keys *auth.TokenKeys, c auth.TokenConfig) *auth.TokenSource {
	t.Helper()
	s, err := auth.NewTokenSource(keys, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claims(extra jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, extra)
	for k, v := range c {
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func sign(t testing.TB, alg string, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw is a token with any header and a signature by sign.
func raw(header, payload string, sign func(text string) []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	return text + "." + b64(sign(text))
}

func hs256(key []byte) func(string) []byte {
	return func(text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
}

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}

// TestTokenAlgorithms: every key checks its own algorithms, with a key id,
// without one, from a set and from a file of its own; none checks those of another.
func TestTokenAlgorithms(t *testing.T) {
	s, strangers := newSigners(t), newSigners(t)
	ids := func(alg string) string {
		return map[string]string{"RS": "rsa", "PS": "rsa", "ES": alg, "Ed": "ed", "HS": "hs"}[alg[:2]]
	}
	source := tokens(t, keySet(t, s.set(true)), auth.TokenConfig{})
	for _, alg := range algorithms {
		for _, header := range []map[string]any{{}, {"kid": ids(alg)}} {
			id, err := source.Authenticate(t.Context(), login("ignored", sign(t, alg, s.key(alg), header, claims(nil))))
			if err != nil || id.Name != "ann" || id.Source != "jwt" || id.NotAfter.Before(time.Now()) {
				t.Errorf("%s %v: %+v, %v", alg, header, id, err)
			}
		}
		for _, other := range algorithms {
			if ids(other) == ids(alg) {
				continue
			}
			_, err := source.Authenticate(t.Context(), login("", sign(t, alg, s.key(alg), map[string]any{"kid": ids(other)}, claims(nil))))
			want(t, alg+" with the key id of "+other, outcome(err), "refused")
		}
		_, err := source.Authenticate(t.Context(), login("", sign(t, alg, s.key(alg), map[string]any{"kid": "unknown"}, claims(nil))))
		want(t, alg+" with an unknown key id", outcome(err), "refused")
		_, err = source.Authenticate(t.Context(), login("", sign(t, alg, strangers.key(alg), nil, claims(nil))))
		want(t, alg+" by a stranger", outcome(err), "refused")

		own := tokens(t, ownFile(t, s, alg), auth.TokenConfig{})
		for _, other := range algorithms {
			_, err := own.Authenticate(t.Context(), login("", sign(t, other, s.key(other), map[string]any{"kid": "any"}, claims(nil))))
			expect := "refused"
			if ids(other) == ids(alg) {
				expect = "in"
			}
			want(t, other+" for the file of "+alg, outcome(err), expect)
		}
	}
}

// otherRSA is a small key, since making one takes long.
func otherRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func ownFile(t testing.TB, s signers, alg string) *auth.TokenKeys {
	t.Helper()
	if strings.HasPrefix(alg, "HS") {
		return keySet(t, `{"kty":"oct","k":"`+base64.RawURLEncoding.EncodeToString(s.secret)+`"}`)
	}
	public := s.key(alg).(interface{ Public() crypto.PublicKey }).Public()
	keys, err := auth.LoadPublicKey(write(t, publicPEM(t, public)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestTokenAttacks: what has been tried against other brokers does not work.
func TestTokenAttacks(t *testing.T) {
	s := newSigners(t)
	public := publicPEM(t, s.rsa.Public())
	der, _ := pem.Decode([]byte(public))
	now := time.Now()
	payload := fmt.Sprintf(`{"sub":"root","exp":%d}`, now.Add(time.Hour).Unix())
	good := sign(t, "RS256", s.rsa, map[string]any{"kid": "rsa"}, claims(nil))
	parts := strings.Split(good, ".")
	none := func(string) []byte { return nil }
	b64 := base64.RawURLEncoding.EncodeToString
	for name, token := range map[string]string{
		"alg none":               raw(`{"alg":"none"}`, payload, none),
		"alg None":               raw(`{"alg":"None","kid":"rsa"}`, payload, none),
		"alg empty":              raw(`{"alg":""}`, payload, none),
		"alg is a number":        raw(`{"alg":0}`, payload, none),
		"alg is a list":          raw(`{"alg":["none","RS256"]}`, payload, none),
		"alg twice, none last":   raw(`{"alg":"RS256","alg":"none"}`, payload, none),
		"alg in other case":      raw(`{"alg":"rs256","kid":"rsa"}`, payload, none),
		"HS with public PEM":     raw(`{"alg":"HS256","kid":"rsa"}`, payload, hs256([]byte(public))),
		"HS with trimmed PEM":    raw(`{"alg":"HS256"}`, payload, hs256([]byte(strings.TrimSpace(public)))),
		"HS with public DER":     raw(`{"alg":"HS256","kid":"rsa"}`, payload, hs256(der.Bytes)),
		"HS with modulus":        raw(`{"alg":"HS256","kid":"rsa"}`, payload, hs256(s.rsa.N.Bytes())),
		"HS with empty key":      raw(`{"alg":"HS256"}`, payload, hs256(nil)),
		"kid is a path":          raw(`{"alg":"HS256","kid":"../../dev/null"}`, payload, hs256(nil)),
		"kid is SQL":             raw(`{"alg":"HS256","kid":"x' UNION SELECT 'k"}`, payload, hs256([]byte("k"))),
		"kid is a number":        raw(`{"alg":"RS256","kid":1}`, payload, none),
		"kid is null":            raw(`{"alg":"RS256","kid":null}`, payload, none),
		"key in header":          raw(`{"alg":"HS256","jwk":{"kty":"oct","k":"`+b64([]byte("k"))+`"}}`, payload, hs256([]byte("k"))),
		"key elsewhere":          raw(`{"alg":"RS256","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/"}`, payload, none),
		"no signature":           parts[0] + "." + parts[1] + ".",
		"other payload":          parts[0] + "." + b64([]byte(payload)) + "." + parts[2],
		"signature cut":          good[:len(good)-4],
		"signature padded":       good + "==",
		"other RSA padding":      strings.Replace(good, parts[0], b64([]byte(`{"alg":"PS256","kid":"rsa"}`)), 1),
		"other hash":             strings.Replace(good, parts[0], b64([]byte(`{"alg":"RS512","kid":"rsa"}`)), 1),
		"EC zero signature":      raw(`{"alg":"ES256","kid":"ES256"}`, payload, func(string) []byte { return make([]byte, 64) }),
		"Ed zero signature":      raw(`{"alg":"EdDSA","kid":"ed"}`, payload, func(string) []byte { return make([]byte, 64) }),
		"critical extension":     sign(t, "RS256", s.rsa, map[string]any{"crit": []string{"b64"}, "b64": false}, claims(nil)),
		"empty critical":         sign(t, "RS256", s.rsa, map[string]any{"crit": nil}, claims(nil)),
		"payload is no JSON":     raw(`{"alg":"RS256"}`, `{"sub`, none),
		"deeply nested":          raw(`{"alg":"RS256"}`, strings.Repeat("[", 4000), none),
		"too long":               sign(t, "RS256", s.rsa, nil, claims(jwt.MapClaims{"x": strings.Repeat("x", auth.MaxToken)})),
		"too long, header alone": b64([]byte(`{"alg":"RS256"}`)) + "." + strings.Repeat("A.", 1<<16),
	} {
		for file, keys := range map[string]*auth.TokenKeys{
			"set": keySet(t, s.set(false)), "set with secret": keySet(t, s.set(true)), "public key": ownFile(t, s, "RS256"),
		} {
			id, err := tokens(t, keys, auth.TokenConfig{}).Authenticate(t.Context(), login("root", token))
			want(t, name+" with "+file, outcome(err), "refused")
			if err != nil && (strings.Contains(err.Error(), parts[1][:20]) || strings.Contains(err.Error(), "UNION") || len(err.Error()) > 200) {
				t.Errorf("%s: error quotes the token: %v", name, err)
			}
			if id.Name != "" {
				t.Errorf("%s: got in as %q", name, id.Name)
			}
		}
	}
	if _, err := tokens(t, keySet(t, s.set(false)), auth.TokenConfig{}).Authenticate(t.Context(), login("", good)); err != nil {
		t.Fatalf("the good token: %v", err)
	}
}

func TestTokenPasses(t *testing.T) {
	source := tokens(t, ownFile(t, signers{secret: []byte(strings.Repeat("k", 64))}, "HS256"), auth.TokenConfig{})
	b64 := base64.RawURLEncoding.EncodeToString
	for _, password := range []string{"", "x", "a.b.c", "..", b64([]byte(`{"alg":"HS256"}`)), b64([]byte(`{"alg":"HS256"}`)) + ".x",
		b64([]byte(`{"typ":"JWT"}`)) + ".x.y", b64([]byte(`"alg"`)) + ".x.y", "correct.horse.battery", strings.Repeat("x", 1<<16)} {
		_, err := source.Authenticate(t.Context(), login("ann", password))
		want(t, fmt.Sprintf("%.20q", password), outcome(err), "pass")
	}
	_, err := source.Authenticate(t.Context(), &auth.Attempt{})
	want(t, "no password", outcome(err), "pass")
}

func TestTokenClaims(t *testing.T) {
	s := signers{secret: []byte(strings.Repeat("k", 64))}
	keys := ownFile(t, s, "HS256")
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	strict := auth.TokenConfig{Issuers: []string{"a", "b"}, Audiences: []string{"broker", "other"}, Leeway: time.Minute}
	base := jwt.MapClaims{"iss": "b", "aud": []string{"x", "broker"}}
	with := func(extra jwt.MapClaims) jwt.MapClaims {
		c := claims(base)
		maps.Copy(c, extra)
		return claims(c)
	}
	many := make([]string, auth.MaxGroups+1)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	type result struct {
		config auth.TokenConfig
		claims jwt.MapClaims
		want   string
	}
	grouped := auth.TokenConfig{GroupsClaim: []string{"realm", "roles"}, UsernameClaim: []string{"https://a.b/name"}}
	for name, c := range map[string]result{
		"good":                  {strict, with(nil), "in"},
		"audience alone":        {strict, with(jwt.MapClaims{"aud": "other"}), "in"},
		"expired within leeway": {strict, with(jwt.MapClaims{"exp": in(-50 * time.Second)}), "in"},
		"early within leeway":   {strict, with(jwt.MapClaims{"nbf": in(50 * time.Second)}), "in"},
		"expired":               {strict, with(jwt.MapClaims{"exp": in(-70 * time.Second)}), "stale"},
		"too early":             {strict, with(jwt.MapClaims{"nbf": in(70 * time.Second)}), "stale"},
		"wrong issuer":          {strict, with(jwt.MapClaims{"iss": "c"}), "stale"},
		"no issuer":             {strict, claims(jwt.MapClaims{"aud": "broker"}), "stale"},
		"issuer is a list":      {strict, with(jwt.MapClaims{"iss": []string{"a", "b"}}), "stale"},
		"wrong audience":        {strict, with(jwt.MapClaims{"aud": "brokers"}), "stale"},
		"no audience":           {strict, claims(jwt.MapClaims{"iss": "a"}), "stale"},
		"empty audience":        {strict, with(jwt.MapClaims{"aud": []string{}}), "stale"},
		"audience is a number":  {strict, with(jwt.MapClaims{"aud": 7}), "stale"},
		"no expiry":             {strict, jwt.MapClaims{"sub": "ann", "iss": "a", "aud": "broker"}, "stale"},
		"expiry 0":              {auth.TokenConfig{}, jwt.MapClaims{"sub": "ann", "exp": 0}, "stale"},
		"expiry null":           {auth.TokenConfig{}, jwt.MapClaims{"sub": "ann", "exp": json.RawMessage("null")}, "stale"},
		"expiry text":           {auth.TokenConfig{}, claims(jwt.MapClaims{"exp": "tomorrow"}), "stale"},
		"expiry huge":           {auth.TokenConfig{}, claims(jwt.MapClaims{"exp": 1e300}), "stale"},
		"expiry year 20000":     {auth.TokenConfig{}, claims(jwt.MapClaims{"exp": int64(568971820800)}), "stale"},
		"expiry negative":       {auth.TokenConfig{}, claims(jwt.MapClaims{"exp": -1e18}), "stale"},
		"no name":               {auth.TokenConfig{}, jwt.MapClaims{"exp": in(time.Hour)}, "stale"},
		"empty name":            {auth.TokenConfig{}, claims(jwt.MapClaims{"sub": ""}), "stale"},
		"name is a number":      {auth.TokenConfig{}, claims(jwt.MapClaims{"sub": 7}), "stale"},
		"name with control":     {auth.TokenConfig{}, claims(jwt.MapClaims{"sub": "a\nb"}), "stale"},
		"claims by path":        {grouped, claims(jwt.MapClaims{"https://a.b/name": "ann", "realm": map[string]any{"roles": []string{"x", "y", "x"}}}), "in"},
		"no groups":             {grouped, claims(jwt.MapClaims{"https://a.b/name": "ann"}), "in"},
		"group is an object":    {grouped, claims(jwt.MapClaims{"https://a.b/name": "ann", "realm": map[string]any{"roles": map[string]any{}}}), "stale"},
		"group is a number":     {grouped, claims(jwt.MapClaims{"https://a.b/name": "ann", "realm": map[string]any{"roles": []any{"x", 1}}}), "stale"},
		"too many groups":       {grouped, claims(jwt.MapClaims{"https://a.b/name": "ann", "realm": map[string]any{"roles": many}}), "stale"},
	} {
		t.Run(name, func(t *testing.T) {
			token := sign(t, "HS256", s.secret, nil, c.claims)
			id, err := tokens(t, keys, c.config).Authenticate(t.Context(), login("ann", token))
			want(t, "outcome", outcome(err), c.want)
			if err == nil && id.Name != "ann" || err != nil && id.Name != "" {
				t.Errorf("identity is %+v", id)
			}
			if name == "claims by path" && !slices.Equal(id.Groups, []string{"x", "y"}) {
				t.Errorf("identity is %+v", id)
			}
			if name == "expired within leeway" && !id.NotAfter.Equal(time.Unix(in(-50*time.Second), 0).Add(time.Minute)) {
				t.Errorf("ends at %v", id.NotAfter)
			}
		})
	}
	for _, leeway := range []time.Duration{-1, auth.MaxLeeway + 1} {
		if _, err := auth.NewTokenSource(keys, auth.TokenConfig{Leeway: leeway}); err == nil {
			t.Errorf("accepts a leeway of %v", leeway)
		}
	}
}

// TestKeyFiles: broken and unsafe key files are errors that quote nothing.
func TestKeyFiles(t *testing.T) {
	s := newSigners(t)
	b64 := base64.RawURLEncoding.EncodeToString
	n := b64(s.rsa.N.Bytes())
	one := func(fields string) string { return `{"keys":[{` + fields + `}]}` }
	public, set := auth.LoadPublicKey, auth.LoadKeySet
	pkcs8, err := x509.MarshalPKCS8PrivateKey(s.rsa)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		load func(string) (*auth.TokenKeys, error)
		text string
		says string // empty: loads
	}{
		"no PEM":              {public, n, "not PEM"},
		"private PEM":         {public, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), "private key"},
		"two PEM":             {public, publicPEM(t, s.rsa.Public()) + publicPEM(t, s.ed.Public()), "several keys"},
		"PEM of nothing":      {public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "neither"},
		"small RSA":           {public, publicPEM(t, otherRSA(t).Public()), "1024 bits"},
		"set":                 {set, s.set(true), ""},
		"single key":          {set, `{"kty":"RSA","e":"AQAB","n":"` + n + `"}`, ""},
		"no JSON":             {set, "{\"keys\":\n[xyzzy]}", "line 2: is not JSON"},
		"cut JSON":            {set, s.set(false)[:100], "is not JSON"},
		"trailing":            {set, s.set(false) + "{}", "something after"},
		"no keys":             {set, `{"keys":[]}`, "no key"},
		"no set":              {set, `{}`, "no key"},
		"list":                {set, `[]`, "not of the right type"},
		"kid is a number":     {set, one(`"kty":"oct","kid":1`), "not of the right type"},
		"only encryption":     {set, one(`"kty":"RSA","use":"enc","e":"AQAB","n":"` + n + `"`), "no key"},
		"only signing":        {set, one(`"kty":"RSA","key_ops":["sign"],"e":"AQAB","n":"` + n + `"`), "no key"},
		"private":             {set, one(`"kty":"RSA","e":"AQAB","d":"AQAB","n":"` + n + `"`), "private key"},
		"no type":             {set, one(`"kid":"a"`), "no kty"},
		"no modulus":          {set, one(`"kty":"RSA","e":"AQAB"`), "n is not"},
		"small modulus":       {set, one(`"kty":"RSA","e":"AQAB","n":"AQAB"`), "17 bits"},
		"huge modulus":        {set, one(`"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 4000) + `"`), "bits"},
		"exponent 1":          {set, one(`"kty":"RSA","e":"AQ","n":"` + n + `"`), "exponent"},
		"exponent even":       {set, one(`"kty":"RSA","e":"BA","n":"` + n + `"`), "exponent"},
		"exponent huge":       {set, one(`"kty":"RSA","e":"` + strings.Repeat("_", 40) + `","n":"` + n + `"`), "31 bits"},
		"alg of another type": {set, one(`"kty":"RSA","alg":"HS256","e":"AQAB","n":"` + n + `"`), "alg does not fit"},
		"alg none":            {set, one(`"kty":"RSA","alg":"none","e":"AQAB","n":"` + n + `"`), "alg does not fit"},
		"unknown curve":       {set, one(`"kty":"EC","crv":"P-224","x":"AA","y":"AA"`), "crv is unknown"},
		"short point":         {set, one(`"kty":"EC","crv":"P-256","x":"AA","y":"AA"`), "32 bytes"},
		"off the curve":       {set, one(`"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"`), "not a point"},
		"short Ed25519":       {set, one(`"kty":"OKP","crv":"Ed25519","x":"AA"`), "32 bytes"},
		"short oct":           {set, one(`"kty":"oct","k":"` + b64(make([]byte, 16)) + `"`), "16 bytes"},
		"oct for HS512":       {set, one(`"kty":"oct","alg":"HS512","k":"` + b64(make([]byte, 32)) + `"`), "alg does not fit"},
		"many keys":           {set, `{"keys":[` + strings.Repeat(`{"kty":"x"},`, 64) + `{"kty":"x"}]}`, "65 keys"},
		"large":               {set, strings.Repeat(" ", 1<<19), "larger than"},
	} {
		path := write(t, c.text)
		keys, err := c.load(path)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "" && (err == nil || keys != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v, should say %q", name, err, c.says)
		case err != nil && (strings.Contains(err.Error(), "xyzzy") || strings.Contains(err.Error(), n[:16])):
			t.Errorf("%s: quotes the file: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		load  func(string) (*auth.TokenKeys, error)
		text  string
		mode  os.FileMode
		loads bool
	}{
		"public set, readable":      {set, s.set(false), 0o644, true},
		"public set, writable":      {set, s.set(false), 0o646, false},
		"set with secret, readable": {set, s.set(true), 0o644, false},
		"public key, readable":      {public, publicPEM(t, s.ed.Public()), 0o644, true},
	} {
		path := write(t, c.text)
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := c.load(path); (err == nil) != c.loads {
			t.Errorf("%s: %v", name, err)
		}
	}
}
