package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
)

func deviceCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "device",
		Usage: "let devices in that `edgebroker init` has made a place for",
		Subcommands: []*cli.Command{{
			Name: "add", Usage: "enrol a device: a user with a password, or a certificate", ArgsUsage: "NAME",
			UsageText: `edgebroker device add pump-7
edgebroker device add --cert --subscribe 'plant/line1/#' panel-2`,
			Description: `Prints what the device needs to know and a command to try it with. A device may
publish and subscribe below devices/NAME; --publish and --subscribe add to that.`,
			Flags: append([]cli.Flag{
				&cli.PathFlag{Name: "dir", Aliases: []string{"d"}, Value: filepath.Dir(packagedConfig), Usage: "the `FOLDER` that init has made"},
				&cli.BoolFlag{Name: "cert", Usage: "make a certificate instead of a password"},
				&cli.StringSliceFlag{Name: "publish", Usage: "let it publish on `FILTER` too; may be given more than once"},
				&cli.StringSliceFlag{Name: "subscribe", Usage: "let it subscribe to `FILTER` too; may be given more than once"},
			}, controlFlags()...),
			Action: func(c *cli.Context) error { return addDevice(e, c) },
		}},
	}
}

func addDevice(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, 1, "the name of the device")
	if err != nil {
		return err
	}
	name := args[0]
	if err := deviceName(name); err != nil {
		return usageError(commandPath(c), "%v", err)
	}
	dir, err := filepath.Abs(c.Path("dir"))
	if err != nil {
		return err
	}
	h := home{dir}
	ca, err := certs.OpenAuthority(h.pki())
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{code: exitError, err: fmt.Errorf("there is no authority in %s", h.pki()), hint: "`edgebroker init` makes one; or name its folder with --dir"}
	}
	if err != nil {
		return err
	}
	rules, err := deviceRules(c, name)
	if err != nil {
		return err
	}
	var show, pub string
	if c.Bool("cert") {
		show, pub, err = h.certify(ca, name)
	} else {
		show, pub, err = h.enrol(c, name)
	}
	if err != nil {
		return userFailure(err)
	}
	if len(rules) > 0 {
		if err := acl.Append(h.rules(), rules...); err != nil {
			return err
		}
	}
	if err := reloadIfRunning(e, c, h.dir); err != nil {
		return err
	}
	url := "mqtts://" + reachable(serverHost(h))
	_, err = fmt.Fprintf(e.stdout, "device:    %s\nbroker:    %s\nauthority: %s\n%s\n\ntry it:\n     %s --address %s --cafile %s devices/%s/hello 1\n",
		name, url, ca.CertificateFile(), show, pub, url, ca.CertificateFile(), name)
	return err
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
func (h home) enrol(c *cli.Context, name string) (show, pub string, err error) {
	password := auth.GeneratePassword()
	hash, err := auth.HashPassword(password)
	if err != nil {
		return "", "", err
	}
	err = auth.EditPasswordFile(c.Context, h.users(), func(edit *auth.PasswordEdit) error {
		return edit.Add(name, hash, []string{"devices"})
	})
	show = fmt.Sprintf("user:      %s\npassword:  %s", name, password.Reveal())
	return show, fmt.Sprintf("EDGEBROKER_PASSWORD=%s edgebroker pub --user %s", password.Reveal(), name), err
}

// certify makes a certificate for the device, and returns what enrol does.
func (h home) certify(ca *certs.Authority, name string) (show, pub string, err error) {
	issued, err := ca.IssueClient(certs.Request{Name: name})
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(h.pki(), "devices")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	cert, key := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if err := issued.Write(cert, key, false); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("cert:      %s\nkey:       %s", cert, key), fmt.Sprintf("edgebroker pub --cert %s --key %s", cert, key), nil
}
