package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
)

func deviceCommand(e *env) *cli.Command {
	dir := homeFlag()
	flags := func(own ...cli.Flag) []cli.Flag { return append(append([]cli.Flag{dir}, own...), controlFlags()...) }
	return &cli.Command{
		Name:  "device",
		Usage: "let devices in that `edgebroker init` has made a place for, and lock them out",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "enrol a device: a user with a password, or a certificate", ArgsUsage: "NAME",
				UsageText: `edgebroker device add pump-7
edgebroker device add --cert --group panels --subscribe 'plant/line1/#' panel-2`,
				Description: `Prints what the device needs to know and a command to try it with. A device may
publish and subscribe below devices/NAME; --publish and --subscribe add to that.
All devices are in group devices; --group adds others, of which a certificate
names them as its organizational units.`,
				Flags: flags(
					&cli.BoolFlag{Name: "cert", Usage: "make a certificate instead of a password"},
					&cli.StringSliceFlag{Name: "group", Aliases: []string{"g"}, Usage: "put it into group `NAME` too; may be given more than once"},
					&cli.StringSliceFlag{Name: "publish", Usage: "let it publish on `FILTER` too; may be given more than once"},
					&cli.StringSliceFlag{Name: "subscribe", Usage: "let it subscribe to `FILTER` too; may be given more than once"},
				),
				Action: func(c *cli.Context) error { return addDevice(e, c) },
			},
			listCommand(e, "list", "edgebroker device list"),
			{
				Name: "renew", Usage: "give a device a new certificate for the key that it has", ArgsUsage: "NAME",
				UsageText: "edgebroker device renew panel-2",
				Description: `The certificate before it stays good until it ends, or the device is deleted, so
that the device can change over when it is reached.`,
				Flags:  []cli.Flag{dir},
				Action: func(c *cli.Context) error { return renewDevice(e, c) },
			},
			{
				Name: "del", Usage: "delete devices and lock them out", ArgsUsage: "NAME...",
				UsageText: "edgebroker device del pump-7",
				Description: `The user and the rules that were made for the device are deleted. Its certificates
go on the list of revoked ones and stay in pki/devices/revoked, without their
key. A daemon that runs reads all that again, and disconnects the device.`,
				Flags:  flags(),
				Action: func(c *cli.Context) error { return deleteDevices(e, c) },
			},
		},
	}
}

// homeFlag names the folder that init has made.
func homeFlag() cli.Flag {
	return &cli.PathFlag{Name: "dir", Aliases: []string{"d"}, Value: filepath.Dir(packagedConfig), Usage: "the `FOLDER` that init has made"}
}

// listCommand is `device list`, which is also called `devices`.
func listCommand(e *env, name, example string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: "list the devices, and when their certificates end",
		UsageText: example,
		Flags:     []cli.Flag{homeFlag(), outputFlag("table", "json", "jsonl")},
		Action:    func(c *cli.Context) error { return listDevices(e, c) },
	}
}

// enrolled is what every change of devices begins with: their names, at most so
// many of them or, if that is -1, any number, and the home and the authority
// that they belong to.
func enrolled(e *env, c *cli.Context, most int) (names []string, h home, ca *certs.Authority, err error) {
	names, err = e.positionals(c, 1, most, "the name of the device")
	if err != nil {
		return nil, h, nil, err
	}
	for _, name := range names {
		if err := deviceName(name); err != nil {
			return nil, h, nil, usageError(commandPath(c), "%v", err)
		}
	}
	dir, err := filepath.Abs(c.Path("dir"))
	if err != nil {
		return nil, h, nil, err
	}
	h = home{dir}
	ca, err = h.authority()
	return names, h, ca, err
}

func addDevice(e *env, c *cli.Context) error {
	names, h, ca, err := enrolled(e, c, 1)
	if err != nil {
		return err
	}
	name := names[0]
	groups := distinct(append([]string{devicesGroup}, c.StringSlice("group")...))
	if err := h.unknown(name); err != nil {
		return err
	}
	rules, err := deviceRules(c, name)
	if err != nil {
		return err
	}
	var show, pub string
	if c.Bool("cert") {
		show, pub, err = h.certify(ca, name, groups)
	} else {
		show, pub, err = h.enrol(c, name, groups)
	}
	if err != nil {
		return userFailure(err)
	}
	if len(rules) > 0 {
		if err := acl.Append(h.rules(), rules...); err != nil {
			return err
		}
	}
	if err := reloadIfRunning(e, c, h.dir, readIt); err != nil {
		return err
	}
	url := h.url()
	_, err = fmt.Fprintf(e.stdout, "device:    %s\nbroker:    %s\nauthority: %s\n%s\n\ntry it:\n     %s --address %s --cafile %s devices/%s/hello 1\n",
		name, url, ca.CertificateFile(), show, pub, url, ca.CertificateFile(), name)
	return err
}

// devicesGroup is the group that every device is in.
const devicesGroup = "devices"

func (h home) devices() string                      { return filepath.Join(h.pki(), "devices") }
func (h home) deviceCertificate(name string) string { return filepath.Join(h.devices(), name+".crt") }
func (h home) deviceKey(name string) string         { return filepath.Join(h.devices(), name+".key") }

// authority is the one that `edgebroker init` has made.
func (h home) authority() (*certs.Authority, error) {
	ca, err := certs.OpenAuthority(h.pki())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{code: exitError, err: fmt.Errorf("there is no authority in %s", h.pki()), hint: "`edgebroker init` makes one; or name its folder with --dir"}
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &failure{code: exitError, err: err, hint: whoMay(err)}
	}
	return ca, err
}

// knownUsers are those of the file of users, none if there is no file yet.
func (h home) knownUsers() ([]auth.User, error) {
	users, err := usersIn(h.users())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return users, userFailure(err)
}

// unknown is an error if there is a user or a certificate of that name: the
// same rules would be for both.
func (h home) unknown(name string) error {
	if _, err := os.Lstat(h.deviceCertificate(name)); err == nil {
		return &failure{code: exitError, err: fmt.Errorf("there is a certificate for %s already: %s", name, h.deviceCertificate(name)),
			hint: "`edgebroker device renew` makes a new one, `edgebroker device del` locks the device out"}
	}
	users, err := h.knownUsers()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(users, func(u auth.User) bool { return u.Name == name }) {
		return userFailure(fmt.Errorf("%s: %w", name, auth.ErrUserExists))
	}
	return nil
}

// deviceName is an error if name cannot be a level of a topic, or a file.
func deviceName(name string) error {
	if err := auth.CheckName(name); err != nil {
		return err
	}
	if _, err := acl.LiteralTopic(name); err != nil || strings.ContainsAny(name, ": ") || name[0] == '.' || name == adminName {
		return fmt.Errorf("%q is no name for a device; use letters, digits, dots, dashes and underscores, such as pump-7", name)
	}
	return nil
}

func deviceRules(c *cli.Context, name string) ([]acl.Rule, error) {
	var rules []acl.Rule
	for _, action := range []acl.Action{acl.Publish, acl.Subscribe} {
		if filters := c.StringSlice(action.String()); len(filters) > 0 {
			rules = append(rules, acl.Rule{Allow: true, User: acl.Literal(name), Action: action, Filters: filters})
		}
	}
	if _, err := acl.New(rules); err != nil {
		return nil, usageError(commandPath(c), "%v", err)
	}
	return rules, nil
}

// enrol makes a user of the device. It returns what to tell it, and how pub
// signs in as it.
func (h home) enrol(c *cli.Context, name string, groups []string) (show, pub string, err error) {
	password := auth.GeneratePassword()
	hash, err := auth.HashPassword(password)
	if err != nil {
		return "", "", err
	}
	err = auth.EditPasswordFile(c.Context, h.users(), func(edit *auth.PasswordEdit) error {
		return edit.Add(name, hash, groups)
	})
	show = fmt.Sprintf("user:      %s\npassword:  %s", name, password.Reveal())
	return show, fmt.Sprintf("EDGEBROKER_PASSWORD=%s edgebroker pub --user %s", password.Reveal(), name), err
}

// certify makes a certificate for the device, and returns what enrol does.
func (h home) certify(ca *certs.Authority, name string, groups []string) (show, pub string, err error) {
	issued, err := ca.IssueClient(certs.Request{Name: name, Groups: groups})
	if err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(h.devices(), 0o700); err != nil {
		return "", "", err
	}
	cert, key := h.deviceCertificate(name), h.deviceKey(name)
	if err := issued.Write(cert, key, false); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("cert:      %s\nkey:       %s\nvalid to:  %s", cert, key, issued.Certificate.NotAfter.UTC().Format(time.DateOnly)), fmt.Sprintf("edgebroker pub --cert %s --key %s", cert, key), nil
}
