package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
)

// access reads what the access section names, as a broker that starts does.
func (x *examination) access() {
	warnings, err := x.Config.CheckFiles()
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			x.problem("", strings.TrimPrefix(line, appliance.ErrAccess.Error()+": "), "mend it; a broker does not start with it, and does not take it at a reload")
		}
	}
	for _, w := range warnings {
		what, mend, _ := cutLast(w, "; ")
		x.warn("", what, mend)
	}
}

// listeners looks at who can reach what without saying who they are, or
// without anybody else hearing it.
func (x *examination) listeners() {
	signIn := x.Config.Access.Passwords != "" || x.Config.Access.HTTP.URL != "" || x.Config.Access.Tokens.KeyFile != ""
	for i, l := range x.Config.Listeners {
		where := fmt.Sprintf("listeners[%d] %s %s", i, l.Name, l.Address)
		if l.Local() || strings.HasPrefix(l.Address, "systemd:") {
			continue
		}
		certified := l.Secure() && l.AsksFor() == appliance.ClientCertificatesRequired
		if x.Config.Anonymous(l) && !certified {
			what := "whoever reaches this address comes in without a password"
			if len(x.Config.Access.Rules) == 0 {
				what += ", and may read and write everything"
			}
			x.warn(where, what, "name a file of users in access.passwords and set allow_anonymous: false, or listen on 127.0.0.1")
		}
		if !l.Secure() && signIn {
			x.warn(where, "passwords cross the network as they are, for all on it to read", "set type: tls (or wss for browsers); docs/TLS.md says how to make certificates")
		}
	}
}

func httpFine(p *Patient) string {
	if p.Config.HTTP.Address == "" {
		return ""
	}
	return "passwords do not cross a network as they are, and the users of the http address are its own"
}

// httpAddress looks at who could hear the passwords that are sent to the HTTP
// address, and at whose they are.
func (x *examination) httpAddress() {
	h := x.Config.HTTP
	if h.Address == "" {
		return
	}
	if !h.Local() && !h.Listener().Secure() {
		x.warn("http.address "+h.Address, "passwords cross the network as they are, for all on it to read, unless a proxy in front of it encrypts", "set http.tls.certificate and key; docs/TLS.md says how to make certificates")
	}
	if h.Users != "" && h.Users == x.Config.Access.Passwords {
		x.warn("http.users "+h.Users, "is the file of access.passwords, too, so a device that is in no group may look at everything here", "name a file of its own")
	}
}

func certificatesFine(p *Patient) string {
	for _, l := range append(slices.Clone(p.Config.Listeners), p.Config.HTTP.Listener()) {
		if l.Secure() {
			return "certificates, keys and lists fit each other, and none ends soon"
		}
	}
	return "" // there are none
}

// certificates looks at what the listeners show and trust.
func (x *examination) certificates() {
	for i, l := range x.Config.Listeners {
		x.certificatesOf(l, fmt.Sprintf("listeners[%d]", i), func(key string) string { return item("listeners", i, key) })
	}
	x.certificatesOf(x.Config.HTTP.Listener(), "http.tls", func(key string) string { return "http.tls." + key })
}

// certificatesOf looks at those of one listener, which is called where; key is
// one of its keys.
func (x *examination) certificatesOf(l appliance.ListenerConfig, where string, key func(string) string) {
	if !l.Secure() {
		return
	}
	files, err := l.CertificateFiles()
	if err != nil {
		x.warn(key("key"), "systemd passes it to the broker, so that it was not looked at here", "see certificates of `edgebroker stats -o json` while the broker runs")
		return
	}
	states, err := files.Read()
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			what, mend, _ := cutLast(line, "; ")
			x.problem(where, what, mend)
		}
		return
	}
	for _, s := range states {
		x.certificate(key(s.Role)+" "+s.Path, s)
	}
}

func (x *examination) certificate(where string, s certs.FileState) {
	day := s.NotAfter.UTC().Format(time.DateOnly)
	renew, what := "renew it", "the certificate of "+s.Subject
	if s.Role == "crl" {
		renew, what = "get the new list in time: without it all clients of this authority are refused", "the list of "+s.Subject
	}
	switch {
	case x.Host.Now.Before(s.NotBefore):
		x.problem(where, fmt.Sprintf("%s is not valid before %s, and by this machine's clock it is %s", what, s.NotBefore.UTC().Format(time.DateOnly), x.Host.Now.UTC().Format(time.DateOnly)),
			"set the clock, or get a certificate that is valid now")
	case s.Expired(x.Host.Now):
		x.problem(where, what+" has ended on "+day, renew)
	case s.Expiring(x.Host.Now):
		x.warn(where, what+" ends on "+day, renew)
	}
}

// clock looks whether the time can be true.
func (x *examination) clock() {
	now := x.Host.Now
	switch {
	case now.Before(certs.Epoch()):
		x.problem("", "by this machine's clock it is "+now.UTC().Format(time.DateOnly)+", which is before there was this program", "set the clock, for example with chrony or systemd-timesyncd")
	case !x.Built.IsZero() && now.Before(x.Built):
		x.problem("", fmt.Sprintf("by this machine's clock it is %s, and this program was made on %s", now.UTC().Format(time.DateOnly), x.Built.UTC().Format(time.DateOnly)),
			"set the clock, for example with chrony or systemd-timesyncd")
	}
}

// BadConfig is what is wrong with a config file that cannot be used, which is
// all that can be said then. err is that of appliance.LoadConfig.
func BadConfig(path string, err error) []Finding {
	bad := (*appliance.ConfigError)(nil)
	if !errors.As(err, &bad) {
		return []Finding{{"config", Problem, path, err.Error(), "name the config file that the broker uses"}}
	}
	var out []Finding
	for _, p := range bad.Problems {
		what, mend, _ := cutLast(p.Message, "; ")
		p.Message = ""
		out = append(out, Finding{"config", Problem, strings.TrimSuffix(p.String(), ": "), what, mend})
	}
	return out
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
