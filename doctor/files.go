package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/synthetism/edgebroker/appliance"
)

// named is a file that the configuration names.
type named struct {
	key, path string
	secret    bool // nobody but owner and group may read it
}

// filesOf are the files that c names. Credentials that are not here are left
// out: of those of the access section the access check speaks.
func filesOf(c appliance.Config) []named {
	var out []named
	add := func(key, path string, secret bool) {
		path, err := appliance.ResolvePath(path)
		if path != "" && err == nil {
			out = append(out, named{key, path, secret})
		}
	}
	addSecret := func(key string, ref appliance.SecretRef) {
		kind, rest, _ := strings.Cut(string(ref), ":")
		switch kind {
		case "credential":
			add(key, string(ref), true)
		case "file":
			add(key, rest, true)
		}
	}
	for i, l := range c.Listeners {
		add(item("listeners", i, "certificate"), l.Certificate, false)
		add(item("listeners", i, "key"), l.PrivateKey, true)
		add(item("listeners", i, "client_ca"), l.ClientCA, false)
		add(item("listeners", i, "crl"), l.CRL, false)
	}
	if c.HTTP.Address != "" {
		add("http.users", c.HTTP.Users, true)
		add("http.tls.certificate", c.HTTP.TLS.Certificate, false)
		add("http.tls.key", c.HTTP.TLS.PrivateKey, true)
		add("http.tls.client_ca", c.HTTP.TLS.ClientCA, false)
		add("http.tls.crl", c.HTTP.TLS.CRL, false)
	}
	add("access.passwords", c.Access.Passwords, true)
	add("access.tokens.key_file", c.Access.Tokens.KeyFile, false)
	addSecret("access.http.authorization", c.Access.HTTP.Authorization)
	for i, path := range c.Access.Rules {
		add(fmt.Sprintf("access.rules[%d]", i), path, false)
	}
	for i, b := range c.Bridges {
		addSecret(item("bridges", i, "password"), b.Password)
		if len(b.PasswordCommand) > 0 {
			add(item("bridges", i, "password_command"), b.PasswordCommand[0], false)
		}
		add(item("bridges", i, "ca"), b.CA, false)
		add(item("bridges", i, "certificate"), b.Certificate, false)
		add(item("bridges", i, "key"), b.PrivateKey, true)
		addSecret(item("bridges", i, "proxy_password"), b.ProxyPassword)
		add(item("bridges", i, "nats.creds"), b.NATS.Creds, true)
		add(item("bridges", i, "nats.nkey"), b.NATS.NKey, true)
		addSecret(item("bridges", i, "nats.token"), b.NATS.Token)
	}
	for i, s := range c.Events.Sinks {
		addSecret(item("events.sinks", i, "secret"), s.Secret)
		add(item("events.sinks", i, "ca"), s.CA, false)
	}
	if c.OTLP.Endpoint != "" {
		for _, name := range slices.Sorted(maps.Keys(c.OTLP.Headers)) {
			addSecret("otlp.headers["+name+"]", c.OTLP.Headers[name])
		}
		add("otlp.ca", c.OTLP.CA, false)
		add("otlp.certificate", c.OTLP.Certificate, false)
		add("otlp.key", c.OTLP.PrivateKey, true)
	}
	return out
}

func configFine(p *Patient) string {
	if p.ConfigFile == "" {
		return "there is no config file, so the defaults are in force"
	}
	return p.ConfigFile + " is valid, and nobody else can change it"
}

func (x *examination) configFile() {
	if x.ConfigFile != "" {
		x.file(named{"", x.ConfigFile, false})
	}
}

func filesFine(p *Patient) string {
	if len(filesOf(p.Config)) == 0 {
		return "the config names no files"
	}
	return "nobody else can change the files that the config names, or read the secret ones"
}

func (x *examination) namedFiles() {
	seen := map[string]bool{}
	for _, f := range filesOf(x.Config) {
		if !seen[f.path] {
			seen[f.path] = true
			x.file(f)
		}
	}
}

// file looks at one file and at the folders that lead to it.
func (x *examination) file(f named) {
	where := f.path
	if f.key != "" {
		where = f.key + " " + f.path
	}
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.problem(where, "there is no such file", "create it, or correct the path")
		return
	case errors.Is(err, fs.ErrPermission):
		x.warn(where, fmt.Sprintf("user %d, who asks, may not look at it", x.Host.User), "ask as root, or as the user that runs the broker")
		return
	case err != nil:
		x.problem(where, err.Error(), "make it readable")
		return
	case !info.Mode().IsRegular():
		x.problem(where, "is not a regular file", "name the file itself")
		return
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		x.problem(where, fmt.Sprintf("everybody may write it (mode %04o)", mode), "run: chmod o-w "+f.path)
	case f.secret && mode&0o007 != 0:
		x.problem(where, fmt.Sprintf("everybody may read it (mode %04o), and it is secret", mode), "run: chmod o= "+f.path)
	}
	if what, mend := x.readable(f.path); what != "" && !strings.HasSuffix(f.key, "password_command") {
		x.problem(where, what, mend)
	}
	if at, why := exposed(f.path, x.Host.User); why != "" {
		x.problem(where, at+" "+why, "put the file where only root and the broker may write, such as /etc/edgebroker")
	}
}

// exposed tells where on the way to path somebody other than root and user can
// put something else in its place: in a folder that everybody may write, or by
// what belongs to somebody else in a folder like /tmp. Links are followed.
func exposed(path string, user int) (where, why string) {
	dir, rest := "/", parts(path)
	for hops := 0; len(rest) > 0 && hops < 255; hops++ {
		folder, err := os.Lstat(dir)
		if err != nil {
			return "", "" // what cannot be looked at has been said
		}
		next := filepath.Join(dir, rest[0])
		info, err := os.Lstat(next)
		if err != nil {
			return "", ""
		}
		if folder.Mode().Perm()&0o002 != 0 {
			if folder.Mode()&fs.ModeSticky == 0 {
				return dir, fmt.Sprintf("is a folder in which everybody may replace what there is (mode %04o)", folder.Mode().Perm())
			}
			if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != user {
				return next, fmt.Sprintf("belongs to user %d, in a folder in which everybody may make files", owner.Uid)
			}
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			dir, rest = next, rest[1:]
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", ""
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		dir, rest = "/", append(parts(target), rest[1:]...)
	}
	return "", ""
}

func parts(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
}
