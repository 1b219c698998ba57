package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/certs"
)

// device is one that may come in, as its JSON is.
type device struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // password or certificate
	Groups   []string  `json:"groups"`
	NotAfter time.Time `json:"notAfter,omitzero"` // of the certificate
	State    string    `json:"state"`             // ok; of a certificate also expiring, expired, revoked, unreadable
}

// expiringWithin is when `device list` says that a certificate ends soon.
const expiringWithin = 30 * 24 * time.Hour

// deviceList is the devices of h, by name.
func (h home) deviceList(now time.Time) ([]device, error) {
	list := []device{}
	users, err := h.knownUsers()
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if slices.Contains(u.Groups, devicesGroup) {
			list = append(list, device{Name: u.Name, Kind: "password", Groups: append([]string{}, u.Groups...), State: "ok"})
		}
	}
	entries, err := os.ReadDir(h.devices())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	revoked := map[string]bool{}
	if len(entries) > 0 {
		ca, err := h.authority()
		if err != nil {
			return nil, err
		}
		serials, err := ca.Revoked()
		if err != nil {
			return nil, err
		}
		for _, s := range serials {
			revoked[s.String()] = true
		}
	}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".crt")
		if !ok || entry.IsDir() {
			continue
		}
		d := device{Name: name, Kind: "certificate", Groups: []string{}, State: "unreadable"}
		if c, err := certs.ReadCertificate(filepath.Join(h.devices(), entry.Name())); err == nil {
			d.Groups, d.NotAfter, d.State = append(d.Groups, c.Subject.OrganizationalUnit...), c.NotAfter, certificateState(c, revoked, now)
			slices.Sort(d.Groups) // a certificate holds them in no order
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b device) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func certificateState(c *x509.Certificate, revoked map[string]bool, now time.Time) string {
	switch {
	case revoked[c.SerialNumber.String()]:
		return "revoked"
	case now.After(c.NotAfter):
		return "expired"
	case now.Add(expiringWithin).After(c.NotAfter):
		return "expiring"
	}
	return "ok"
}

func listDevices(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Path("dir"))
	if err != nil {
		return err
	}
	list, err := home{dir}.deviceList(time.Now())
	if err != nil {
		return err
	}
	if format != "table" {
		return writeList(e.stdout, list, format)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.stdout, "there are no devices; `edgebroker device add NAME` makes one")
		return err
	}
	table := newTable("DEVICE\tSIGNS IN WITH\tGROUPS\tVALID TO\tSTATE")
	for _, d := range list {
		until := "-"
		if !d.NotAfter.IsZero() {
			until = d.NotAfter.UTC().Format(time.DateOnly)
		}
		table.row("%s\t%s\t%s\t%s\t%s", printable(d.Name), d.Kind, printable(strings.Join(d.Groups, " ")), until, d.State)
	}
	return table.writeTo(e.stdout)
}

// renewDevice makes a certificate for the key that a device has. The one before
// is kept beside it, so that it can be revoked as well.
func renewDevice(e *env, c *cli.Context) error {
	names, h, ca, err := enrolled(e, c, 1)
	if err != nil {
		return err
	}
	name := names[0]
	old, err := certs.ReadCertificate(h.deviceCertificate(name))
	if err != nil {
		return noDevice(name, err)
	}
	key, err := certs.ReadKey(h.deviceKey(name))
	if err != nil {
		return noDevice(name, err)
	}
	issued, err := ca.IssueClient(certs.Request{Name: name, Groups: old.Subject.OrganizationalUnit, Key: key})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.older(name), 0o700); err != nil {
		return err
	}
	kept := filepath.Join(h.older(name), fmt.Sprintf("%x.crt", old.SerialNumber))
	if err := os.Link(h.deviceCertificate(name), kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep the certificate before: %w", err)
	}
	if err := issued.WriteRenewed(h.deviceCertificate(name)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "device:    %s\ncert:      %s\nvalid to:  %s (the one before: %s)\n", name, h.deviceCertificate(name),
		issued.Certificate.NotAfter.UTC().Format(time.DateOnly), old.NotAfter.UTC().Format(time.DateOnly))
	return err
}

// older is the folder of certificates that a device had before it got others.
func (h home) older(name string) string { return filepath.Join(h.devices(), "older", name) }

func noDevice(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{code: exitError, err: fmt.Errorf("there is no device %s with a certificate and a key", name), hint: "`edgebroker device list` names those that are"}
	}
	return err
}
