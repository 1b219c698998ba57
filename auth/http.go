package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/internal/peer"
)

// HTTPConfig is whom to ask, and how hard. [DefaultHTTPConfig] fills all but URL.
type HTTPConfig struct {
	// URL is asked with POST. http is for loopback addresses only, since
	// passwords are in the question.
	URL string

	// Authorization is sent as the header of this name, if present: "Bearer ...".
	Authorization Secret

	Timeout  time.Duration // of a question, from when it is its turn
	Parallel int           // questions at once; also connections to the server
	Waiting  int           // questions that may wait for their turn; others are ErrBusy

	// How long answers count without being asked for again, at most. 0: not at
	// all.
	AllowedFor, DeniedFor time.Duration
	CacheEntries          int // of allowed answers, and as many of denied ones

	// Transport is how the server is reached; nil: directly, without the
	// environment's proxies, with TLS 1.2 or later and the system's authorities.
	Transport http.RoundTripper
}

// DefaultHTTPConfig returns what fits a gateway with 64 MB.
func DefaultHTTPConfig() HTTPConfig {
	return HTTPConfig{
		Timeout:      5 * time.Second,
		Parallel:     4,
		Waiting:      64,
		AllowedFor:   time.Minute,
		DeniedFor:    10 * time.Second,
		CacheEntries: 1024,
	}
}

// Bounds of a question and its answer, in bytes.
const (
	maxCredentials = 16 << 10
	maxAnswer      = 64 << 10
)

// HTTPSource asks a server. The question is a JSON object:
//
//	{"username": "ann", "password": "...", "clientid": "c1", "address": "192.0.2.7",
//	 "listener": "tls", "certificate": "<base64 of the client's certificate>"}
//
// Of these username, password, address and certificate are left out if there is
// none; a password that is not UTF-8 is password_base64. The answer has status
// 200 and is a JSON object of at most 64 KiB:
//
//	{"result": "allow", "username": "ann", "groups": ["ops"], "client_ids": ["c1"], "expire_at": 1893456000}
//
// result is "allow", "deny" or "ignore". The rest is for "allow" and may be left
// out; username is needed if the client has sent none, expire_at is a Unix time
// in seconds. Everything else is a failure: other status codes, redirects,
// timeouts.
//
// It passes if the client sends neither user name nor password, or if the answer
// is "ignore". Equal questions that are asked at the same time are asked once.
// It holds no password: answers are kept by a keyed hash of the question.
type HTTPSource struct {
	config  HTTPConfig
	client  *http.Client
	host    string // for errors
	key     []byte // of questions' hashes
	flights *flights
}

// NewHTTPSource returns a source that asks nobody yet. Close it when it is no
// longer in use.
func NewHTTPSource(config HTTPConfig) (*HTTPSource, error) {
	u, err := url.Parse(config.URL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("URL of the HTTP source is not of the form https://host/path")
	case u.User != nil:
		return nil, errors.New("URL of the HTTP source contains a user; give it as authorization instead")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("HTTP source %s: passwords would cross the network in the clear; use https", u.Host)
	case config.Timeout <= 0:
		return nil, fmt.Errorf("HTTP source %s: timeout must be above 0", u.Host)
	case config.Parallel < 1 || config.Waiting < 1 || config.CacheEntries < 1:
		return nil, fmt.Errorf("HTTP source %s: questions at once, questions that wait, and entries of the cache must be at least 1", u.Host)
	case config.AllowedFor < 0 || config.DeniedFor < 0:
		return nil, fmt.Errorf("HTTP source %s: answers cannot count for less than no time", u.Host)
	}
	transport := config.Transport
	if transport == nil {
		transport = &http.Transport{
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxConnsPerHost:        config.Parallel,
			MaxIdleConns:           config.Parallel,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		}
	}
	s := &HTTPSource{config: config, host: u.Host, key: randomBytes(sha256.Size)}
	s.client = &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	s.flights = newFlights(config)
	return s, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Close ends the questions that are being asked, which fail, and waits for
// their end. Later ones fail at once.
func (s *HTTPSource) Close() {
	s.flights.close()
	s.client.CloseIdleConnections()
}

// question is what the server is asked.
type question struct {
	Username       *string `json:"username,omitempty"`
	Password       *string `json:"password,omitempty"`
	PasswordBase64 string  `json:"password_base64,omitempty"`
	ClientID       string  `json:"clientid"`
	Address        string  `json:"address,omitempty"`
	Listener       string  `json:"listener"`
	Certificate    []byte  `json:"certificate,omitempty"`
}

func ask(a *Attempt) question {
	q := question{ClientID: a.ClientID, Listener: a.Listener}
	if a.HasUsername {
		q.Username = &a.Username
	}
	if password := a.Password.Reveal(); a.Password.Present() && utf8.Valid(password) {
		text := string(password)
		q.Password = &text
	} else if a.Password.Present() {
		q.PasswordBase64 = base64.StdEncoding.EncodeToString(password)
	}
	if a.Addr.IsValid() {
		q.Address = a.Addr.Unmap().String()
	}
	if len(a.Certificates) > 0 {
		q.Certificate = a.Certificates[0].Raw
	}
	return q
}

// digest tells questions apart without keeping what is in them.
func (s *HTTPSource) digest(body []byte) (d [sha256.Size]byte) {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(body))))
	mac.Write(body)
	mac.Sum(d[:0])
	return d
}

// Authenticate implements [Source].
func (s *HTTPSource) Authenticate(ctx context.Context, a *Attempt) (Identity, error) {
	if !a.HasUsername && !a.Password.Present() {
		return Identity{}, ErrPass
	}
	const source = "http"
	switch size := len(a.Username) + len(a.Password.Reveal()) + len(a.ClientID); {
	case size > maxCredentials:
		return Identity{}, refuse(ErrRefused, source, "user name, password and client id are longer than %d KiB", maxCredentials>>10)
	case !utf8.ValidString(a.Username) || !utf8.ValidString(a.ClientID):
		return Identity{}, refuse(ErrRefused, source, "user name or client id is not UTF-8")
	}
	body, err := json.Marshal(ask(a))
	if err != nil {
		return Identity{}, fmt.Errorf("ask %s: question cannot be written", s.host)
	}
	answered, err := s.flights.do(ctx, s.digest(body), peer.Network(a.Addr), func(ctx context.Context) (answer, error) {
		return s.post(ctx, body)
	})
	if err != nil {
		return Identity{}, err
	}
	switch answered.Result {
	case "ignore":
		return Identity{}, ErrPass
	case "deny":
		return Identity{}, refuse(ErrRefused, source, "%s says no", s.host)
	}
	id := Identity{
		Name:      answered.Username,
		Groups:    unique(answered.Groups),
		ClientIDs: unique(answered.ClientIDs),
		Source:    source,
		NotAfter:  answered.notAfter(),
	}
	if id.Name == "" && a.HasUsername {
		id.Name = a.Username
	}
	if err := id.check(); err != nil {
		return Identity{}, fmt.Errorf("ask %s: answer is unusable: %w", s.host, err)
	}
	if !id.NotAfter.IsZero() && time.Now().After(id.NotAfter) {
		return Identity{}, refuse(ErrStale, source, "%s says that it has expired", s.host)
	}
	return id, nil
}

// answer is what the server has said.
type answer struct {
	Result    string   `json:"result"`
	Username  string   `json:"username"`
	Groups    []string `json:"groups"`
	ClientIDs []string `json:"client_ids"`
	ExpireAt  *int64   `json:"expire_at"`
	size      int      // bytes, as it was received
}

func (a *answer) notAfter() time.Time {
	if a.ExpireAt == nil {
		return time.Time{}
	}
	return time.Unix(*a.ExpireAt, 0)
}

// post asks the server. Its errors contain neither question nor answer.
func (s *HTTPSource) post(ctx context.Context, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: URL cannot be used", s.host)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if s.config.Authorization.Present() {
		req.Header.Set("Authorization", string(s.config.Authorization.Reveal()))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", s.host, unreached(err))
	}
	defer resp.Body.Close()
	return s.read(resp)
}

// unreached is err without the URL, which may contain a token, and without what
// the server has sent.
func unreached(err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return certificate
	}
	return errors.New("connection broke, or what answers does not speak HTTP")
}

func (s *HTTPSource) read(resp *http.Response) (answer, error) {
	switch kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{}, fmt.Errorf("ask %s: answers with a redirect (status %d), which is not followed; configure the final URL", s.host, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("ask %s: answers with status %d, not 200", s.host, resp.StatusCode)
	case kind != "application/json":
		return answer{}, fmt.Errorf("ask %s: answer is not application/json", s.host)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: read the answer: %w", s.host, unreached(err))
	}
	if len(data) > maxAnswer {
		return answer{}, fmt.Errorf("ask %s: answer is longer than %d KiB", s.host, maxAnswer>>10)
	}
	var a answer
	if json.Unmarshal(data, &a) != nil {
		return answer{}, fmt.Errorf("ask %s: answer is not the JSON object that it should be", s.host)
	}
	a.size = len(data)
	switch a.Result {
	case "allow", "deny", "ignore":
	default:
		return answer{}, fmt.Errorf("ask %s: result is none of allow, deny and ignore", s.host)
	}
	if len(a.Groups) > MaxGroups || len(a.ClientIDs) > MaxGroups {
		return answer{}, fmt.Errorf("ask %s: answer has more than %d groups or client ids", s.host, MaxGroups)
	}
	return a, nil
}
