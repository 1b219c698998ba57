package appliance

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

// AccessConfig says who may come in, and what they may do. Sources are asked
// in the order of the fields; the first that knows a client decides. All paths
// are absolute; those of Passwords and Tokens.KeyFile may also be
// "credential:NAME", see [ResolvePath]. What the files hold is read by Start,
// by Reload and, with Watch, within ten seconds of a change.
type AccessConfig struct {
	// Certificates is where in its certificate a client's name is: one of
	// auth.CertificateField; empty: certificates do not say who clients are.
	Certificates auth.CertificateField `yaml:"certificates"`
	// CertificateGroups is where in its certificate a client's groups are; empty:
	// certificates do not say in which groups clients are.
	CertificateGroups CertificateGroups `yaml:"certificate_groups"`

	Tokens    TokenConfig    `yaml:"tokens"`
	Passwords string         `yaml:"passwords"` // file of users; empty: none
	HTTP      HTTPAuthConfig `yaml:"http"`
	Rules     []string       `yaml:"rules"` // files of rules, one after the other; docs/ACL.md
	Watch     bool           `yaml:"watch"` // read files again when they change
}

// CertificateGroups is where in a certificate groups are.
type CertificateGroups string

// GroupsInOU takes each organizational unit (OU) of the subject for a group.
const GroupsInOU CertificateGroups = "ou"

// TokenConfig is about clients that show a JSON Web Token as their password.
type TokenConfig struct {
	// KeyFile is a public key or certificate in PEM, or, with the ending .json
	// or .jwks, a JSON Web Key Set; empty: no tokens.
	KeyFile       string        `yaml:"key_file"`
	Issuers       []string      `yaml:"issuers"`        // iss must be one of these; empty: any
	Audiences     []string      `yaml:"audiences"`      // aud must hold one of these; empty: any
	UsernameClaim string        `yaml:"username_claim"` // levels separated by dots
	GroupsClaim   string        `yaml:"groups_claim"`   // the same; empty: no groups
	Leeway        time.Duration `yaml:"leeway"`         // by which clocks may differ
}

// HTTPAuthConfig is a server that is asked who a client is.
type HTTPAuthConfig struct {
	URL           string        `yaml:"url"`           // empty: none
	Authorization SecretRef     `yaml:"authorization"` // where the value of the Authorization header is; empty: none
	Timeout       time.Duration `yaml:"timeout"`
	AllowedFor    time.Duration `yaml:"allowed_for"` // that an answer is remembered
	DeniedFor     time.Duration `yaml:"denied_for"`
}

func defaultAccess() AccessConfig {
	h := auth.DefaultHTTPConfig()
	return AccessConfig{
		Watch:  true,
		Tokens: TokenConfig{UsernameClaim: "sub", Leeway: 30 * time.Second},
		HTTP:   HTTPAuthConfig{Timeout: h.Timeout, AllowedFor: h.AllowedFor, DeniedFor: h.DeniedFor},
	}
}

// authenticates reports whether anybody is asked who they are.
func (c AccessConfig) authenticates() bool {
	return c.Certificates != "" || c.Tokens.KeyFile != "" || c.Passwords != "" || c.HTTP.URL != ""
}

func (c AccessConfig) findings() []finding {
	out := credentialPathFindings("access.passwords", c.Passwords)
	if c.Certificates != "" {
		out = append(out, oneOf("access.certificates", c.Certificates, auth.CommonName, auth.SANDNS, auth.SANEmail, auth.SANURI)...)
	}
	if c.CertificateGroups != "" {
		out = append(out, oneOf("access.certificate_groups", c.CertificateGroups, GroupsInOU)...)
		if c.Certificates == "" {
			out = append(out, finding{path: "access.certificate_groups", what: "certificates do not say who clients are", mend: "set access.certificates, such as to cn, or remove this"})
		}
	}
	out = append(out, credentialPathFindings("access.tokens.key_file", c.Tokens.KeyFile)...)
	out = append(out, secretRefFindings("access.http.authorization", c.HTTP.Authorization)...)
	if n := len(c.Rules); n > maxListEntries {
		return append(out, finding{path: "access.rules", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)})
	}
	for i, path := range c.Rules {
		item := fmt.Sprintf("access.rules[%d]", i)
		if path == "" {
			out = append(out, finding{path: item, what: "no path", mend: "name a file of rules, or remove the entry"})
		}
		out = append(out, fileFindings(item, path)...)
	}
	if c.authenticates() && len(c.Rules) == 0 {
		out = append(out, finding{path: "access.rules", what: "clients sign in, and there are no rules for what they may do, so they could do nothing",
			mend: "name a file of rules; the single rule `allow any all #` lets everybody who is let in do everything"})
	}
	out = append(out, c.HTTP.findings()...)
	if c.Tokens.KeyFile != "" && c.Tokens.UsernameClaim == "" {
		out = append(out, finding{path: "access.tokens.username_claim", what: "no claim", mend: "set the one that names the client, such as sub"})
	}
	return append(out, within[time.Duration]{"access.tokens.leeway", c.Tokens.Leeway, 0, auth.MaxLeeway, false}.findings()...)
}

func (c HTTPAuthConfig) findings() []finding {
	if c.URL == "" {
		return nil
	}
	var out []finding
	for _, w := range []within[time.Duration]{
		{"access.http.timeout", c.Timeout, 100 * time.Millisecond, time.Minute, false},
		{"access.http.allowed_for", c.AllowedFor, 0, 24 * time.Hour, false},
		{"access.http.denied_for", c.DeniedFor, 0, time.Hour, false},
	} {
		out = append(out, w.findings()...)
	}
	// What is written there is not shown: there may be a password in it.
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		out = append(out, finding{path: "access.http.url", what: "that is no URL of a server", mend: "write it like https://auth.example.org/mqtt"})
	} else if u.User != nil {
		out = append(out, finding{path: "access.http.url", what: "there is a password in the URL, where it would show", mend: "put it into a file and name that in access.http.authorization"})
	}
	return out
}

// fileFindings checks the path of a file that may be left out.
func fileFindings(path, file string) []finding { return pathFindings(path, file, "file") }

// pathFindings checks the path of something, such as a file, that may be left
// out.
func pathFindings(path, name, what string) []finding {
	switch {
	case name == "":
		return nil
	case !filepath.IsAbs(name):
		return []finding{{path: path, what: quoteShort(name) + " is not an absolute path", mend: "write the path of the " + what + " from / on"}}
	case strings.ContainsRune(name, 0):
		return []finding{{path: path, what: "the path holds a zero byte", mend: "remove it"}}
	}
	return nil
}
