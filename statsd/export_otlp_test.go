package statsd

import (
	"net/http"
	"time"
)

// OTLPFarewell is how long the last report may take.
const OTLPFarewell = otlpFarewell

// OTLPReporter makes a function that encodes one report after the other.
func OTLPReporter(resource map[string]string) func(s Snapshot, now time.Time) ([]byte, error) {
	r := newOTLPReport(resource)
	return func(s Snapshot, now time.Time) ([]byte, error) { return r.encode(&s, now) }
}

// JudgeOTLP reads an answer.
func JudgeOTLP(resp *http.Response) (message string, rejected uint64) {
	a := judgeOTLP(resp, time.Now())
	return a.message, a.rejected
}
