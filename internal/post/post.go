// Package post is what those have in common who post reports to web servers: a
// client that goes nowhere it was not sent, how long to wait before the next
// attempt, and what may be said of an error.
package post

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// MaxAnswer is the most bytes that are read of an answer.
	MaxAnswer = 64 << 10
	// MaxRetryAfter is how long a server can ask us to wait.
	MaxRetryAfter = time.Hour
)

// Transport keeps one connection to a server, with TLS as in config; nil: as the
// system has it.
func Transport(config *tls.Config) *http.Transport {
	// Not a clone of http.DefaultTransport, which a program may have replaced.
	dialer := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxConnsPerHost:        1,
		MaxResponseHeaderBytes: MaxAnswer,
	}
}

// Client follows no redirects: a report is for the server that was named. timeout
// is for a request and its answer.
func Client(t http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{Transport: t, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Read is the body of an answer as far as MaxAnswer. Its connection can be used
// again, unless there was more.
func Read(resp *http.Response) []byte {
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer)) // what was read before an error counts
	return body
}

// RetryAfter is how long the header of that name asks to wait from now on, in
// seconds or by a date, at most MaxRetryAfter. 0: it does not ask.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	s := header.Get("Retry-After")
	if n, err := strconv.ParseUint(s, 10, 63); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), MaxRetryAfter)
	}
	return 0
}

// Backoff is how long to wait after so many failures in a row, 1 or more: first
// least, then ever twice as long up to most, less up to half of it by chance, so
// that gateways that lost a server together do not come back together.
func Backoff(failures int, least, most time.Duration) time.Duration {
	d := most
	if shift := failures - 1; least <= d>>shift {
		d = least << shift
	}
	return d/2 + rand.N(d/2+1)
}

// WithoutURL is an error of an HTTP client without the URL, in which there may be
// something secret.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
