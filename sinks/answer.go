package sinks

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// verdict is what a server's answer means for a delivery.
type verdict int

const (
	taken    verdict = iota
	later            // the same may be taken at another time
	tooLarge         // less at once may be taken
	never
)

type answer struct {
	verdict verdict
	after   time.Duration // that the server asks to wait, 0 if it does not
	err     error         // nil if it was taken
}

// judge reads an answer that came at now. Refusals that depend on what somebody
// can mend without changing the events, such as a secret or a path, are no last
// word; nor are redirects, which are not followed.
func judge(status int, retryAfter string, now time.Time) answer {
	a := answer{verdict: later, err: fmt.Errorf("the server answers %d %s", status, http.StatusText(status))}
	switch {
	case status >= 200 && status < 300:
		return answer{}
	case status == http.StatusRequestEntityTooLarge:
		a.verdict = tooLarge
	case status < 400 || status >= 500:
	default:
		switch status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
			http.StatusConflict, http.StatusMisdirectedRequest, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		default:
			a.verdict = never
		}
	}
	if a.verdict == later {
		a.after = parseRetryAfter(retryAfter, now)
	}
	return a
}

// parseRetryAfter is how long a server asks to wait: seconds, or a date.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// withoutURL is an error of an HTTP client without the URL, in which there may be
// something secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
