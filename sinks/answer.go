package sinks

import (
	"fmt"
	"net/http"
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

// judge reads an answer, in which the server asks to wait for after. Refusals that
// depend on what somebody can mend without changing the events, such as a secret or
// a path, are no last word; nor are redirects, which are not followed.
func judge(status int, after time.Duration) answer {
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
		a.after = after
	}
	return a
}
