package web

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// contentPolicy is for answers that are no pages; a page has its own.
const contentPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard turns away what no honest client sends, and gives every answer its
// headers.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		renew(w)
		if !s.knows(r.Host) {
			statsd.WriteError(w, http.StatusForbidden, "unexpected host name",
				"add the name to http.hosts in the broker's configuration and run `edgebroker reload`, or ask by IP address")
			return
		}
		if s.cross.Check(r) != nil {
			statsd.WriteError(w, http.StatusForbidden, "requests from pages of other sites are refused", "ask from the broker's own page, or from a program")
			return
		}
		switch err := readBody(w, r); {
		case errors.As(err, new(*http.MaxBytesError)):
			h.Set("Connection", "close")
			statsd.WriteError(w, http.StatusRequestEntityTooLarge, "the request is too large", "send at most 16 KiB")
		case err != nil:
			h.Set("Connection", "close")
			statsd.WriteError(w, http.StatusBadRequest, "the request has not come to its end", "send it within 10 seconds")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knows reports whether a Host header names this broker. A page of another site
// can have its name lead here, but it cannot choose what the name is.
func (s *Server) knows(host string) bool {
	name := plainHost(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return s.hosts[name] || name != "" && s.opts.Names != nil && s.opts.Names(name)
}

// plainHost is a host without its port, in the form in which hosts are compared.
func plainHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// readBody reads the body, which is short, so that whoever sends it slowly has
// a bounded time, and what answers need not think of that.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return rc.SetReadDeadline(time.Time{}) // it would end the request's context
}

// fromElsewhere reports whether a browser says that a page of another site has
// made the request. Logins do not go with such requests (the cookie's SameSite),
// but what a browser knows by HTTP Basic does.
func fromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // no browser, the broker's page, a person
		return false
	}
	return true
}

// fromBrowser reports whether a browser has made the request, which would ask for
// a password by itself if it were told of HTTP Basic.
func fromBrowser(r *http.Request) bool {
	for _, name := range []string{"Origin", "Referer", "Cookie", "Accept-Language", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return strings.HasPrefix(r.UserAgent(), "Mozilla/") || strings.Contains(r.Header.Get("Accept"), statsd.EventStream)
}
