package appliance

import (
	"slices"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
)

// AccessSource names, as the key in the access section does, who is asked who a
// client is.
type AccessSource string

// The sources, in the order in which they are asked.
const (
	AccessCertificates AccessSource = "certificates"
	AccessTokens       AccessSource = "tokens"
	AccessPasswords    AccessSource = "passwords"
	AccessHTTP         AccessSource = "http"
)

var accessSources = []AccessSource{AccessCertificates, AccessTokens, AccessPasswords, AccessHTTP}

// accessKeys are the keys that bring the sources into being.
var accessKeys = map[AccessSource]string{
	AccessCertificates: "access.certificates", AccessTokens: "access.tokens.key_file",
	AccessPasswords: "access.passwords", AccessHTTP: "access.http.url",
}

// has reports whether s is there to be asked.
func (c AccessConfig) has(s AccessSource) bool {
	switch s {
	case AccessCertificates:
		return c.Certificates != ""
	case AccessTokens:
		return c.Tokens.KeyFile != ""
	case AccessPasswords:
		return c.Passwords != ""
	case AccessHTTP:
		return c.HTTP.URL != ""
	}
	return false
}

// namedSource is a source of the access section, or, without a name, of the
// program.
type namedSource struct {
	name AccessSource
	auth.Source
}

// ask is whom to ask who a client is: the program's sources and those of names,
// or all if there are no names; behind lockout.
func (a *accessFiles) ask(names []AccessSource, lockout *auth.Lockout) hooks.Sources {
	var s hooks.Sources
	var list []auth.Source
	asked := make(map[AccessSource]bool)
	for _, n := range a.sources {
		if n.name != "" && len(names) > 0 && !slices.Contains(names, n.name) {
			continue
		}
		list = append(list, n.Source)
		asked[n.name] = true
	}
	if len(list) == 0 {
		return s
	}
	chain := auth.Chain(list...)
	if asked[AccessPasswords] && asked[AccessHTTP] {
		chain = auth.Floor(refusalFloor, chain)
	}
	s.Source = lockout.Guard(chain)
	s.Certificates = asked[AccessCertificates] || asked[""]
	return s
}
