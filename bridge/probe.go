package bridge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Step is a part of a Probe and what came of it.
type Step struct {
	Name   string // "resolve", "connect", "tls", "login", ...
	Result Result
	Took   time.Duration // 0 if that says nothing
	What   string        // happened
	Mend   string        // how to mend it; empty: nothing is to be mended
}

// Result is what came of a Step.
type Result string

// The results. What is noted works otherwise than the uplink asks for.
const (
	Fine   Result = "ok"
	Noted  Result = "note"
	Failed Result = "failed"
)

// ProbeTimeout bounds each step of a Probe.
const ProbeTimeout = 10 * time.Second

// probe is one run of Probe.
type probe struct {
	cfg   *Config
	own   bool // it is the uplink itself, as far as the far side knows
	steps []Step
}

// Probe connects as an uplink of cfg would, and says step by step what comes of
// it; it ends with the first step that fails. It has another client identifier,
// unless own is set: then it is for the caller to see to it that no uplink is
// connected by it. Nothing that waits for the far side is sent, and nothing that
// comes from there is acknowledged.
func Probe(ctx context.Context, cfg Config, own bool) []Step {
	if !own {
		cfg.ClientID += "-test"
	}
	p := &probe{cfg: &cfg, own: own}
	switch {
	case !p.reach(ctx):
	case cfg.NATS != nil:
		p.nats(ctx)
	default:
		p.broker(ctx)
	}
	return p.steps
}

// note adds a step, and reports whether it goes on.
func (p *probe) note(name string, begun time.Time, r Result, what, mend string) bool {
	s := Step{Name: name, Result: r, What: what, Mend: mend}
	if !begun.IsZero() {
		s.Took = time.Since(begun)
	}
	p.steps = append(p.steps, s)
	return r != Failed
}

// failed adds a step that has failed, unless err is nil.
func (p *probe) failed(name string, begun time.Time, err error) bool {
	if err == nil {
		return false
	}
	what, mend := diagnose(err, p.cfg)
	p.note(name, begun, Failed, what, mend)
	return true
}

// reach finds the far side and connects by TCP, unless a proxy does that.
func (p *probe) reach(ctx context.Context) bool {
	u, err := url.Parse(p.cfg.URL)
	if err != nil {
		return p.note("address", time.Time{}, Failed, err.Error(), "correct address")
	}
	if p.cfg.Proxy != nil {
		switch proxy, err := p.cfg.Proxy(); {
		case err != nil:
			return p.note("proxy", time.Time{}, Failed, err.Error(), "correct proxy, or HTTPS_PROXY and ALL_PROXY in the environment")
		case proxy != "":
			return p.note("proxy", time.Time{}, Fine, "goes through "+proxy, "")
		}
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	if net.ParseIP(host) == nil {
		begun := time.Now()
		list, err := net.DefaultResolver.LookupHost(ctx, host)
		if p.failed("resolve", begun, err) {
			return false
		}
		p.note("resolve", begun, Fine, host+" is "+strings.Join(list, ", "), "")
	}
	begun := time.Now()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if p.failed("connect", begun, err) {
		return false
	}
	p.note("connect", begun, Fine, "TCP to "+nc.RemoteAddr().String(), "")
	return nc.Close() == nil
}

// certificate says what the far side has shown.
func (p *probe) certificate(begun time.Time, state tls.ConnectionState) {
	if len(state.PeerCertificates) == 0 {
		return
	}
	cert := state.PeerCertificates[0]
	what := fmt.Sprintf("%s, %s, certificate of %s by %s until %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite),
		strings.Join(append(cert.DNSNames, cert.Subject.CommonName), " "), cert.Issuer.CommonName, cert.NotAfter.UTC().Format(time.DateOnly))
	if left := time.Until(cert.NotAfter); left < soon {
		p.note("tls", begun, Noted, what, fmt.Sprintf("it is over in %d hours: it must be renewed there", int(left.Hours())))
		return
	}
	p.note("tls", begun, Fine, what, "")
}

// soon is when a certificate is to be renewed.
const soon = 14 * 24 * time.Hour

// diagnose says what err is, and what mends it.
func diagnose(err error, cfg *Config) (what, mend string) {
	var (
		dns     *net.DNSError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		alert   tls.AlertError
		record  tls.RecordHeaderError
		timeout net.Error
	)
	what = err.Error()
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		mend = "correct the name in address; `getent hosts NAME` shows what this machine finds"
	case errors.As(err, &dns):
		mend = "this machine's DNS does not answer: see /etc/resolv.conf"
	case errors.Is(err, syscall.ECONNREFUSED):
		mend = "nothing listens there: correct the port in address, or start the far side"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		mend = "there is no route: see the network of this machine"
	case errors.As(err, &host):
		mend = "its certificate is for another name: write one that it has into address"
	case errors.As(err, &unknown):
		mend = "name the authority that has signed its certificate in ca, or correct that"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what += " (it holds from " + invalid.Cert.NotBefore.UTC().Format(time.DateOnly) + " to " + invalid.Cert.NotAfter.UTC().Format(time.DateOnly) + ")"
		mend = "renew the certificate there, or set the clock here: it is " + time.Now().UTC().Format(time.DateTime)
	case errors.As(err, &alert), strings.Contains(what, "remote error: tls:"):
		mend = "the far side does not take our certificate: see that certificate and key are those it knows, have not expired, and are needed at all"
	case errors.As(err, &record), strings.Contains(what, "server gave HTTP response"):
		mend = "it does not speak TLS at this port: correct the port, or write mqtt://, ws:// or nats://"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		mend = "it does not answer: see that a firewall lets this port out, and that it is the right one"
	case errors.Is(err, errHungUp):
		mend = "it hangs up: see that this is the right port, and whether it wants TLS, another client_id, a username or a certificate"
		if strings.HasSuffix(cfg.ClientID, "-test") {
			mend += "; if it knows the uplink's own client_id only, add --own-id"
		}
	}
	return what, mend
}

// passing makes an Uplink that is good for nothing but its settings.
func passing(cfg Config) *Uplink {
	return &Uplink{cfg: cfg, log: slog.New(slog.DiscardHandler), started: time.Now()}
}
