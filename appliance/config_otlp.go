package appliance

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/statsd"
)

// OTLPConfig is about the OpenTelemetry collector that the broker reports to by
// OTLP/HTTP. See docs/MONITORING.md.
type OTLPConfig struct {
	Endpoint    string               `yaml:"endpoint"` // URL, to which /v1/metrics is added unless it ends so; empty: none
	Interval    time.Duration        `yaml:"interval"`
	Compression Compression          `yaml:"compression"`
	Headers     map[string]SecretRef `yaml:"headers"`     // of requests
	CA          string               `yaml:"ca"`          // PEM file of the authorities to trust; empty: the system's
	Certificate string               `yaml:"certificate"` // PEM files of our certificate and its key; empty: none
	PrivateKey  string               `yaml:"key"`
	Attributes  map[string]string    `yaml:"attributes"` // of the broker as a resource
}

// Compression is how requests are made smaller.
type Compression string

// The kinds of compression.
const (
	CompressionGzip Compression = "gzip"
	CompressionNone Compression = "none"
)

func defaultOTLP() OTLPConfig {
	return OTLPConfig{Interval: time.Minute, Compression: CompressionGzip}
}

const maxOTLPTexts = 4096 // bytes of all attributes

var (
	headerName    = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$")
	attributeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,255}$`)
)

// ownHeaders are set by whoever makes a request.
var ownHeaders = []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent"}

func (c OTLPConfig) findings() []finding {
	out := within[time.Duration]{"otlp.interval", c.Interval, minReportInterval, maxReportInterval, false}.findings()
	out = append(out, oneOf("otlp.compression", c.Compression, CompressionGzip, CompressionNone)...)
	for _, f := range []struct{ key, file string }{{"ca", c.CA}, {"certificate", c.Certificate}, {"key", c.PrivateKey}} {
		out = append(out, credentialPathFindings("otlp."+f.key, f.file)...)
	}
	if (c.Certificate == "") != (c.PrivateKey == "") {
		out = append(out, finding{path: "otlp", what: "certificate and key need each other", mend: "set both or none"})
	}
	out = append(out, c.endpointFindings()...)
	return append(append(out, c.headerFindings()...), c.attributeFindings()...)
}

// endpointFindings do not show the URL: there may be a password in it.
func (c OTLPConfig) endpointFindings() []finding {
	if c.Endpoint == "" {
		return nil
	}
	u, err := statsd.ParseOTLPEndpoint(c.Endpoint)
	switch {
	case err != nil:
		return []finding{{path: "otlp.endpoint", what: err.Error(), mend: "write it like https://collector.example.org:4318; what is secret belongs into otlp.headers"}}
	case u.Scheme == "https":
		return nil
	}
	var out []finding
	if c.CA != "" || c.Certificate != "" {
		out = append(out, finding{path: "otlp", what: "certificates are of no use without TLS in", other: "otlp.endpoint", mend: "write https:// there"})
	}
	if len(c.Headers) > 0 && !isLoopback(u.Hostname()) {
		out = append(out, finding{path: "otlp.headers", what: "what may be secret would cross the network in the clear with http:// in", other: "otlp.endpoint",
			mend: "write https:// there, or ask a collector on this machine to pass reports on"})
	}
	return out
}

func (c OTLPConfig) headerFindings() []finding {
	var out []finding
	seen := make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(c.Headers)) {
		path, name := "otlp.headers["+key+"]", http.CanonicalHeaderKey(key)
		switch other, twice := seen[name]; {
		case !headerName.MatchString(key):
			out = append(out, finding{path: path, what: quoteShort(key) + " cannot name a header", mend: "use letters, digits and -, as in Authorization"})
		case slices.Contains(ownHeaders, name):
			out = append(out, finding{path: path, what: "the broker sets that header itself", mend: "remove it"})
		case twice:
			out = append(out, finding{path: path, what: "the header is that of", other: other, mend: "keep one"})
		case c.Headers[key] == "":
			out = append(out, finding{path: path, what: "no value", mend: "name a file:, env: or credential:, or remove the header"})
		}
		if seen[name] == "" {
			seen[name] = path
		}
		out = append(out, secretRefFindings(path, c.Headers[key])...)
	}
	return out
}

func (c OTLPConfig) attributeFindings() []finding {
	var out []finding
	total := 0
	for _, key := range slices.Sorted(maps.Keys(c.Attributes)) {
		path, value := "otlp.attributes["+key+"]", c.Attributes[key]
		total += len(key) + len(value)
		switch {
		case !attributeName.MatchString(key):
			out = append(out, finding{path: path, what: quoteShort(key) + " cannot name an attribute", mend: "use letters, digits, and _ . -, with a letter first, as in deployment.environment.name"})
		case strings.TrimSpace(value) == "":
			out = append(out, finding{path: path, what: "no value", mend: "write one, or remove the attribute"})
		case !utf8.ValidString(value):
			out = append(out, finding{path: path, what: "the value is not UTF-8", mend: "write it anew"})
		}
	}
	if total > maxOTLPTexts {
		out = append(out, finding{path: "otlp.attributes", what: fmt.Sprintf("the attributes have %d bytes, %d is the most", total, maxOTLPTexts), mend: "use fewer or shorter ones"})
	}
	return out
}
