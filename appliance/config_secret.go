package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/systemd"
)

// SecretRef says where a secret is, and never is one:
//
//	file:/absolute/path   the first line of a file that others may not read
//	env:NAME              an environment variable
//	credential:NAME       what LoadCredential=NAME:... of the systemd unit has passed
//
// It is read when the broker starts, and again by a reload. Empty: no secret.
// A SecretRef that is none of these, because somebody has put the secret itself
// there, prints, logs and marshals as "[redacted]".
type SecretRef string

// The kinds of reference. A path may be a credential too, where the file that
// it names holds something secret.
const (
	secretFile       = "file:"
	secretEnv        = "env:"
	secretCredential = "credential:"
)

// check says what is wrong with the reference without showing it.
func (r SecretRef) check() error {
	kind, rest, _ := strings.Cut(string(r), ":")
	switch kind + ":" {
	case secretFile:
		if !filepath.IsAbs(rest) || strings.ContainsRune(rest, 0) {
			return errors.New("what follows file: is not an absolute path; write it from / on, as in file:/etc/edgebroker/secret")
		}
		return nil
	case secretEnv:
		if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`).MatchString(rest) {
			return errors.New("what follows env: is not the name of an environment variable; write letters, digits and underscores, as in env:EDGEBROKER_SECRET")
		}
		return nil
	case secretCredential:
		return checkCredential(rest)
	}
	if r == "" {
		return nil
	}
	return errors.New("the secret itself has no place here, where it is copied and shown with the config; " +
		"put it into a file that nobody else may read and write file:/path/of/it, or env:NAME, or credential:NAME")
}

// checkCredential says what is wrong with the name of a credential, without
// showing it.
func checkCredential(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r <= ' ' || r == 0x7F }) {
		return errors.New("what follows credential: is not the name of a credential; write the one before the colon in LoadCredential= of the unit")
	}
	return nil
}

// UnmarshalText takes a reference and refuses a secret. The error does not show
// text.
func (r *SecretRef) UnmarshalText(text []byte) error {
	ref := SecretRef(text)
	if err := ref.check(); err != nil {
		return err
	}
	*r = ref
	return nil
}

// String is the reference, if it is one.
func (r SecretRef) String() string {
	if r.check() != nil {
		return "[redacted]"
	}
	return string(r)
}

// GoString is String in quotes.
func (r SecretRef) GoString() string { return fmt.Sprintf("%q", r.String()) }

// Format implements [fmt.Formatter] for every verb.
func (r SecretRef) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'q' || verb == 'v' && f.Flag('#'):
		_, _ = fmt.Fprintf(f, "%q", r.String())
	default:
		_, _ = f.Write([]byte(r.String()))
	}
}

// MarshalText is String, for JSON and the like.
func (r SecretRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// LogValue implements [slog.LogValuer].
func (r SecretRef) LogValue() slog.Value { return slog.StringValue(r.String()) }

// path is the file that the reference leads to; empty for none.
func (r SecretRef) path() (string, error) {
	if path, ok := strings.CutPrefix(string(r), secretFile); ok {
		return path, nil
	}
	if strings.HasPrefix(string(r), secretCredential) {
		return ResolvePath(string(r))
	}
	return "", nil
}

// read reads the secret. The error does not show it.
//
// A variable stays in the environment: a reload reads it again, and what the
// kernel shows of the environment is what the process began with, whatever is
// unset later. The programs of password_command inherit it.
func (r SecretRef) read() (auth.Secret, error) {
	if err := r.check(); err != nil {
		return auth.Secret{}, err
	}
	if name, ok := strings.CutPrefix(string(r), secretEnv); ok {
		value, set := os.LookupEnv(name)
		if !set {
			return auth.Secret{}, fmt.Errorf("the environment variable %s is not set; set it, or use a file", name)
		}
		secret, err := auth.ParseSecret([]byte(value))
		if err != nil {
			return auth.Secret{}, fmt.Errorf("the environment variable %s: %w", name, err)
		}
		return secret, nil
	}
	path, err := r.path()
	if err != nil {
		return auth.Secret{}, err
	}
	return auth.ReadSecret(path)
}

// secretRefFindings checks a reference.
func secretRefFindings(path string, r SecretRef) []finding {
	err := r.check()
	if err == nil {
		return nil
	}
	what, mend, _ := strings.Cut(err.Error(), "; ")
	return []finding{{path: path, what: what, mend: mend}}
}

// credentialPathFindings checks the path of a file that may be left out, or be
// a credential.
func credentialPathFindings(path, file string) []finding {
	if strings.HasPrefix(file, secretCredential) {
		return secretRefFindings(path, SecretRef(file))
	}
	return fileFindings(path, file)
}

// ErrNoCredentials is wrapped by errors about credentials where the service
// manager has passed none, as on the command line.
var ErrNoCredentials = errors.New("systemd has passed no credentials")

// ResolvePath is the path of the file that a key of the configuration names:
// path itself, or where the service manager has put the credential if path is
// credential:NAME.
func ResolvePath(path string) (string, error) {
	name, ok := strings.CutPrefix(path, secretCredential)
	if !ok {
		return path, nil
	}
	if err := checkCredential(name); err != nil {
		return "", err
	}
	dir := systemd.CredentialsDirectory()
	if dir == "" {
		return "", fmt.Errorf("%s: %w ($CREDENTIALS_DIRECTORY is not set); add LoadCredential=%s:/path/of/the/file to the unit, or write the path of a file here", path, ErrNoCredentials, name)
	}
	return filepath.Join(dir, name), nil
}

// withoutPassed is c without the files and secrets that the service manager
// passes to a broker, where it has passed none, and a warning for each.
func (c Config) withoutPassed() (Config, []string) {
	var warnings []string
	absent := func(key, ref string) bool {
		_, err := ResolvePath(ref)
		what := "the credential that systemd passes"
		if name, ok := strings.CutPrefix(ref, secretEnv); ok && err == nil {
			if _, set := os.LookupEnv(name); !set {
				err, what = fs.ErrNotExist, "the environment variable"
			}
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s: %s is not here, so %s was not looked at; `edgebroker reload` says whether a broker that runs can use it", key, what, ref))
		}
		return err != nil
	}
	if absent("access.passwords", c.Access.Passwords) {
		c.Access.Passwords = ""
	}
	if absent("access.tokens.key_file", c.Access.Tokens.KeyFile) {
		c.Access.Tokens.KeyFile = ""
	}
	if absent("access.http.authorization", string(c.Access.HTTP.Authorization)) {
		c.Access.HTTP.Authorization = ""
	}
	for i, l := range c.Listeners {
		absent(listenerPath(i, "key"), l.PrivateKey)
	}
	if absent("http.users", c.HTTP.Users) {
		c.HTTP.Users = ""
	}
	absent("http.tls.key", c.HTTP.TLS.PrivateKey)
	return c, warnings
}
