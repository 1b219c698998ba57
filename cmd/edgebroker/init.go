package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
)

// home is what `edgebroker init` makes in a folder, and where.
type home struct{ dir string }

func (h home) path(name string) string { return filepath.Join(h.dir, name) }
func (h home) config() string          { return h.path("edgebroker.yml") }
func (h home) users() string           { return h.path("users") }
func (h home) rules() string           { return h.path("rules") }
func (h home) pki() string             { return h.path("pki") }
func (h home) certificate() string     { return filepath.Join(h.pki(), "server.crt") }
func (h home) key() string             { return filepath.Join(h.pki(), "server.key") }

func initCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "set up a broker: config, certificates, an administrator, rules",
		UsageText: `edgebroker init
edgebroker init --host broker.plant.example --data /var/lib/edgebroker`,
		Description: `Makes a folder with all that a broker for a network needs, and says what it made.
Nothing that is there already is touched: then it does nothing at all. Only the
config of a package counts as not there, as long as it is unchanged: it stays. In a
folder of root that has a group of its own, the group may read what the broker needs.`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "dir", Aliases: []string{"d"}, Value: filepath.Dir(packagedConfig), Usage: "the `FOLDER`"},
			&cli.StringSliceFlag{Name: "host", Usage: "a `NAME` or address by which devices reach the broker, besides those of this machine; may be given more than once"},
			&cli.PathFlag{Name: "data", Usage: "the `FOLDER` where the broker keeps its state; default: it keeps it in memory"},
		},
		Action: func(c *cli.Context) error { return initBroker(e, c) },
	}
}

func initBroker(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Path("dir"))
	if err != nil {
		return err
	}
	data := c.Path("data")
	if data != "" {
		if data, err = filepath.Abs(data); err != nil {
			return err
		}
	}
	h := home{dir}
	packaged := data == "" && h.isPackaged()
	if err := h.untouched(packaged); err != nil {
		return err
	}
	hosts, err := certs.LocalHosts()
	if err != nil {
		return fmt.Errorf("find the names of this machine: %w", err)
	}
	hosts = distinct(slices.Concat(c.StringSlice("host"), hosts))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := h.makeCertificates(hosts); err != nil {
		return err
	}
	password := auth.GeneratePassword()
	if err := h.makeAdmin(c.Context, password); err != nil {
		return err
	}
	if err := writeNew(h.rules(), initRules); err != nil {
		return err
	}
	if !packaged {
		if err := writeNew(h.config(), h.configText(data)); err != nil {
			return err
		}
	}
	if err := h.letBrokerRead(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, initSaid, h.config(), h.rules(), h.users(), h.pki(), strings.Join(hosts, " "),
		password.Reveal(), h.dir, h.config(), hosts[0], filepath.Join(h.pki(), "ca.crt"))
	return err
}

func distinct(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// untouched is an error if anything is there already that init would make, other
// than the config of a package.
func (h home) untouched(packaged bool) error {
	for _, path := range []string{h.config(), h.users(), h.rules(), h.pki()} {
		switch _, err := os.Lstat(path); {
		case err == nil && path == h.config() && packaged:
		case err == nil:
			return &failure{code: exitError, err: fmt.Errorf("%s is there already; nothing was changed", path),
				hint: "name another folder with --dir, or move what is there out of the way"}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// isPackaged reports whether the config is the one that a package brings, word
// for word what init would write, which needs the rest to be made.
func (h home) isPackaged() bool {
	text, err := os.ReadFile(h.config())
	return err == nil && string(text) == h.configText("")
}

func (h home) makeCertificates(hosts []string) error {
	name, err := os.Hostname()
	if err != nil {
		name = "edgebroker"
	}
	ca, err := certs.CreateAuthority(h.pki(), name+" devices")
	if err != nil {
		return err
	}
	server, err := ca.IssueServer(certs.Request{Name: hosts[0]}, hosts...)
	if err != nil {
		return err
	}
	return server.Write(h.certificate(), h.key(), false)
}

const adminName = "admin"

func (h home) makeAdmin(ctx context.Context, password auth.Secret) error {
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	return auth.EditPasswordFile(ctx, h.users(), func(e *auth.PasswordEdit) error {
		return e.Add(adminName, hash, []string{"admins"})
	})
}

// writeNew writes a file that must not exist, for its owner and group.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

const initRules = `# Who may do what: docs/ACL.md. The first rule that fits decides.
allow group=admins   all  #
allow group=admins   all  $SYS/#
# Each device has a part of the topics to itself; %u is its name.
allow group=devices  all  devices/%u/#
`

func (h home) configText(data string) string {
	storage := ""
	if data != "" {
		storage = fmt.Sprintf("\nstorage:\n  directory: %q\n", data)
	}
	return fmt.Sprintf(`# Every key and its default: edgebroker config example.
listeners:
  - name: lan
    type: tls
    address: ":8883"
    certificate: %q
    key: %q
    client_ca: %q
    crl: %q
    client_certificates: optional
  - name: local
    address: 127.0.0.1:1883

access:
  certificates: cn
  certificate_groups: ou
  passwords: %q
  rules: [%q]
%s`, h.certificate(), h.key(), filepath.Join(h.pki(), "ca.crt"), filepath.Join(h.pki(), "ca.crl"), h.users(), h.rules(), storage)
}

const initSaid = `made the config, TLS on port 8883 and plain MQTT on 127.0.0.1:1883:
     %s
made the rules for what clients may do:
     %s
made the file of users and their hashed passwords:
     %s
made an authority of your own, and a certificate of the broker:
     %s
     for %s

user:     admin
password: %s    (shown this once)

Now let a device in, and start the broker:

     edgebroker device add --dir %s pump-7
     edgebroker serve --config %s

Devices connect to mqtts://%s:8883 and trust %s.
`

// serverHost is the first name in the broker's certificate, by which devices
// reach it.
func serverHost(h home) string {
	pair, err := tls.LoadX509KeyPair(h.certificate(), h.key())
	if err != nil || pair.Leaf == nil || pair.Leaf.Subject.CommonName == "" {
		return "HOST"
	}
	return pair.Leaf.Subject.CommonName
}

// url is where devices reach the broker: by the name in its certificate, at the
// port of the first listener of the config that speaks TLS.
func (h home) url() string {
	port := "8883"
	if cfg, err := appliance.LoadConfig(h.config()); err == nil { // else serve says what is wrong with it
		for _, l := range cfg.Listeners {
			if _, p, err := net.SplitHostPort(l.Address); err == nil && l.Type == appliance.ListenTLS && p != "0" {
				port = p
				break
			}
		}
	}
	return "mqtts://" + net.JoinHostPort(serverHost(h), port)
}
