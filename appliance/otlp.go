package appliance

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/synthetism/edgebroker/internal/post"
	"github.com/synthetism/edgebroker/statsd"
)

// newExporter is nil if there is no OpenTelemetry collector.
func (b *Broker) newExporter() *statsd.Exporter {
	c := b.conf().OTLP
	if c.Endpoint == "" {
		return nil
	}
	o := statsd.OTLPOptions{Endpoint: c.Endpoint, Interval: c.Interval, Gzip: c.Compression == CompressionGzip,
		Resource: c.resource(b.conf().Sys.NodeName(), b.version), Transport: c.transport, Log: b.log.With("component", "otlp")}
	if len(c.Headers) > 0 {
		o.Headers = c.headers
	}
	e, err := statsd.NewExporter(o, b.reported)
	if err != nil {
		panic("otlp.endpoint: " + err.Error()) // it has been validated
	}
	return e
}

// resource are the attributes of the broker: what it knows of itself, in whose
// place Attributes count.
func (c OTLPConfig) resource(node, version string) map[string]string {
	r := map[string]string{"service.name": "edgebroker", "service.version": version, "service.instance.id": node}
	if host, err := os.Hostname(); err == nil && host != "" {
		r["host.name"] = host
	}
	maps.Copy(r, c.Attributes)
	return r
}

// transport reads the certificates anew.
func (c OTLPConfig) transport() (http.RoundTripper, error) {
	var secured *tls.Config // nil: as the system has it
	if c.CA != "" || c.Certificate != "" {
		var err error
		if secured, err = clientTLS(c.CA, c.Certificate, c.PrivateKey); err != nil {
			return nil, err
		}
	}
	return post.Transport(secured), nil
}

// headers reads the secrets anew. The error does not show them.
func (c OTLPConfig) headers() (http.Header, error) {
	h := make(http.Header)
	for _, key := range slices.Sorted(maps.Keys(c.Headers)) {
		secret, err := c.Headers[key].read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		h.Set(key, string(secret.Reveal()))
	}
	return h, nil
}
