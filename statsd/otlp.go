package statsd

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/post"
)

// OTLPOptions say where an Exporter reports what, and how.
type OTLPOptions struct {
	Endpoint string        // see ParseOTLPEndpoint
	Interval time.Duration // between reports
	Gzip     bool
	Resource map[string]string // attributes of what reports
	// Headers are read for each request. They may be secret. Nil: there are none.
	Headers func() (http.Header, error)
	// Transport is made at the first request, and anew when nobody has answered,
	// so that certificates which were renewed count.
	Transport func() (http.RoundTripper, error)
	Log       *slog.Logger
}

// Bounds of reports.
const (
	otlpTimeout  = 10 * time.Second // of a request and its answer
	otlpRetryMin = time.Second      // before the first repetition; then it doubles up to the interval
	otlpFarewell = 2 * time.Second  // for the last report
)

// Exporter reports to an OpenTelemetry collector by OTLP/HTTP: all metrics and
// histograms, one request at a time. The names follow from those of Prometheus:
// see docs/MONITORING.md.
//
// It keeps no reports for later: counters are told as totals, so that the next
// report says all that one which was not taken would have said, but for what
// gauges were at that time. For the same reason a repetition tells what counts by
// then.
type Exporter struct {
	opts     OTLPOptions
	url      string
	read     func() Snapshot
	report   *otlpReport
	client   *http.Client // nil: to be made
	trouble  outage
	failures int       // requests in a row that may be repeated
	hold     time.Time // the collector wants no request before
	partial  bool      // that values were rejected has been logged

	reports, failed, rejected atomic.Uint64
}

// OTLPStats counts what went to an OpenTelemetry collector since start.
type OTLPStats struct {
	Reports  uint64 `json:"reports"`  // that it has taken
	Failed   uint64 `json:"failed"`   // attempts; later reports say what they would have
	Rejected uint64 `json:"rejected"` // values that it did not take of these reports
}

// ParseOTLPEndpoint is the URL that reports to endpoint are posted to: below it
// v1/metrics, unless it ends in that. The error does not show endpoint, in which
// there may be a password.
func ParseOTLPEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("that is no URL of a collector")
	case u.User != nil:
		return nil, errors.New("there is a password in the URL, where it would show")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("there is something after the path of the URL")
	}
	if path := strings.TrimRight(u.Path, "/"); !strings.HasSuffix(path, "/v1/metrics") {
		u = u.JoinPath("v1", "metrics")
	}
	return u, nil
}

// NewExporter returns an Exporter that reports what read returns. It sends
// nothing yet. The error says what is wrong with the endpoint.
func NewExporter(o OTLPOptions, read func() Snapshot) (*Exporter, error) {
	u, err := ParseOTLPEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Exporter{opts: o, url: u.String(), read: read, report: newOTLPReport(o.Resource), trouble: outage{steady: 1}}, nil
}

// Stats is what has been reported so far. It may be called from any goroutine.
func (e *Exporter) Stats() OTLPStats {
	return OTLPStats{Reports: e.reports.Load(), Failed: e.failed.Load(), Rejected: e.rejected.Load()}
}

// Run reports at once and then every interval until ctx ends, then once more
// within two seconds, and returns nil.
func (e *Exporter) Run(ctx context.Context) error {
	defer e.forget()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			e.farewell(ctx)
			return nil
		case <-due.C:
			began := time.Now()
			e.Export(ctx)
			due.Reset(e.next(began))
		}
	}
}

// farewell tells how it ends, to a collector that does not want to be left alone.
func (e *Exporter) farewell(ctx context.Context) {
	if time.Now().Before(e.hold) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), otlpFarewell)
	defer cancel()
	e.Export(ctx)
}

// next is how long to wait after a report that began then.
func (e *Exporter) next(began time.Time) time.Duration {
	wait := time.Until(began.Add(e.opts.Interval))
	if e.failures > 0 {
		wait = post.Backoff(e.failures, otlpRetryMin, max(otlpRetryMin, e.opts.Interval))
	}
	return max(wait, time.Until(e.hold), 0)
}

// Export reports now. It is what Run does every interval, for whoever does not let
// it run. It does not repeat what fails.
func (e *Exporter) Export(ctx context.Context) {
	a := e.send(ctx)
	if !a.taken && errors.Is(ctx.Err(), context.Canceled) {
		return // the broker stops, and the last report says what this would have
	}
	if a.lost {
		e.forget()
	}
	e.failures++
	if !a.retry {
		e.failures = 0
	}
	e.hold = time.Now().Add(a.after)
	if a.taken {
		e.reports.Add(1)
		e.rejected.Add(a.rejected)
	} else {
		e.failed.Add(1)
	}
	e.note(a)
}

// forget makes the next request begin anew.
func (e *Exporter) forget() {
	if e.client != nil {
		e.client.CloseIdleConnections()
		e.client = nil
	}
}

func (e *Exporter) send(ctx context.Context) otlpAnswer {
	lost := func(what string, err error) otlpAnswer {
		return otlpAnswer{retry: true, lost: true, err: fmt.Errorf("%s: %w", what, err)}
	}
	if e.client == nil {
		t, err := e.opts.Transport()
		if err != nil {
			return lost("certificates", err)
		}
		e.client = post.Client(t, otlpTimeout)
	}
	var header http.Header
	if e.opts.Headers != nil {
		var err error
		if header, err = e.opts.Headers(); err != nil {
			return lost("headers", err)
		}
	}
	body, err := e.body()
	if err != nil {
		return otlpAnswer{err: fmt.Errorf("encode a report: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return otlpAnswer{err: errors.New("the URL of the collector cannot be used")}
	}
	for key, values := range header {
		req.Header[http.CanonicalHeaderKey(key)] = values
	}
	req.Header.Set("Content-Type", protobufType)
	req.Header.Set("User-Agent", "edgebroker")
	if e.opts.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.client.Do(req)
	if err != nil {
		err = post.WithoutURL(err)
		if text := err.Error(); withoutHeaders(text, header) != text {
			err = errors.New("what answers does not speak HTTP")
		}
		return lost("post", err)
	}
	a := judgeOTLP(resp, time.Now())
	a.message = withoutHeaders(a.message, header)
	return a
}

func (e *Exporter) body() ([]byte, error) {
	s := e.read()
	data, err := e.report.encode(&s, time.Now())
	if err != nil || !e.opts.Gzip {
		return data, err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// withoutHeaders is message, or that it is withheld since it repeats a part of
// what may be secret.
func withoutHeaders(message string, header http.Header) string {
	for _, values := range header {
		for _, v := range values {
			for part := range strings.FieldsSeq(v) {
				if strings.Contains(message, part) {
					return "(it repeats one of otlp.headers, so it is not shown)"
				}
			}
		}
	}
	return message
}

// maxOTLPMessage is how much of what a collector says is logged, in characters.
const maxOTLPMessage = 200

// note logs the first failure of several, that it is over, and once that values
// were not taken.
func (e *Exporter) note(a otlpAnswer) {
	log := e.opts.Log.With("url", e.url)
	warn := log
	if a.message != "" {
		warn = log.With("message", SafeText(a.message, maxOTLPMessage))
	}
	switch began, over := e.trouble.note(!a.taken); {
	case began:
		warn.Warn("the OpenTelemetry collector takes no reports; later ones say what these would have", "error", a.err)
	case over:
		log.Info("the OpenTelemetry collector takes reports again")
	}
	if a.taken && !e.partial && (a.rejected > 0 || a.message != "") {
		e.partial = true
		warn.Warn("the OpenTelemetry collector has not taken all values; this is said once", "rejected", a.rejected)
	}
}
