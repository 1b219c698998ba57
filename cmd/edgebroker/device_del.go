package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/statsd"
)

func deleteDevices(e *env, c *cli.Context) error {
	names, h, ca, err := enrolled(e, c, -1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := h.remove(e, c, ca, name); err != nil {
			return userFailure(err)
		}
	}
	if err := reloadIfRunning(e, c, h.dir, readIt); err != nil {
		return err
	}
	return disconnect(e, c, names)
}

// remove locks a device out and says what it has done. What was begun and cut
// off can be done again.
func (h home) remove(e *env, c *cli.Context, ca *certs.Authority, name string) error {
	paths, err := h.certificatesOf(name)
	if err != nil {
		return err
	}
	users, err := h.knownUsers()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(users, func(u auth.User) bool { return u.Name == name })
	if at >= 0 && !slices.Contains(users[at].Groups, devicesGroup) {
		return &failure{code: exitError, err: fmt.Errorf("%s is a user who is no device", name), hint: "`edgebroker users del` deletes users"}
	}
	if at < 0 && len(paths) == 0 {
		return &failure{code: exitError, err: fmt.Errorf("there is no device %s", name), hint: "`edgebroker device list` names those that are"}
	}
	var done []string
	// Locked out first, tidied up last.
	for _, path := range paths {
		cert, err := certs.ReadCertificate(path)
		if err != nil {
			return fmt.Errorf("%w, so that its certificate cannot be revoked", err)
		}
		if err := ca.RevokeCertificate(cert); err != nil {
			return err
		}
		done = append(done, fmt.Sprintf("certificate %x revoked", cert.SerialNumber))
	}
	if at >= 0 {
		if err := auth.EditPasswordFile(c.Context, h.users(), func(edit *auth.PasswordEdit) error { return edit.Delete(name) }); err != nil {
			return err
		}
		done = append(done, "user deleted")
	}
	removed, others, err := h.removeRules(name)
	if err != nil {
		return err
	}
	if removed > 0 {
		done = append(done, things(removed, "rule")+" deleted")
	}
	if err := h.putAway(name, paths); err != nil {
		return err
	}
	for _, where := range others {
		e.notef("%s names %s still; who gets that name next gets it too", where, name)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %s\n", name, strings.Join(done, ", "))
	return err
}

// certificatesOf are the files of a device's certificates, old ones included.
func (h home) certificatesOf(name string) ([]string, error) {
	older, err := os.ReadDir(h.older(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, entry := range older {
		paths = append(paths, filepath.Join(h.older(name), entry.Name()))
	}
	if _, err := os.Lstat(h.deviceCertificate(name)); err == nil {
		paths = append(paths, h.deviceCertificate(name))
	}
	return paths, nil
}

// removeRules removes the rules that `device add` has made, and tells where
// others name the device.
func (h home) removeRules(name string) (removed int, others []string, err error) {
	if _, err := os.Stat(h.rules()); errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	literal := acl.Literal(name)
	removed, err = acl.Remove(h.rules(), func(r *acl.Rule) bool {
		made := r.Allow && r.User == literal && r.Action != acl.All && r.Group+r.Client+r.Cert+r.Listener == ""
		if !made && (r.User == literal || r.Cert == literal) {
			others = append(others, r.String())
		}
		return made
	})
	return removed, others, err
}

// putAway deletes the device's key, and keeps its certificates where they are
// no device's.
func (h home) putAway(name string, certificates []string) error {
	if err := os.Remove(h.deviceKey(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(certificates) == 0 {
		return nil
	}
	away := filepath.Join(h.devices(), "revoked")
	if err := os.MkdirAll(away, 0o700); err != nil {
		return err
	}
	for _, path := range certificates {
		cert, err := certs.ReadCertificate(path)
		if err != nil {
			return err
		}
		if err := os.Rename(path, filepath.Join(away, fmt.Sprintf("%s.%x.crt", name, cert.SerialNumber))); err != nil {
			return err
		}
	}
	if err := os.Remove(h.older(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// disconnect ends the connections of clients that have signed in as one of
// names, if a daemon runs. Those of deleted users have ended by then.
func disconnect(e *env, c *cli.Context, names []string) error {
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var clients []statsd.Client
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		clients, err = daemon.client.Clients(ctx, "", 0)
		return err
	})
	if unreachable := (*statsd.ErrUnreachable)(nil); errors.As(err, &unreachable) {
		return nil // reloadIfRunning has said so
	}
	for _, client := range clients {
		if err != nil {
			break
		}
		if !client.Connected || !slices.Contains(names, client.Username) {
			continue
		}
		err = daemon.ask(c.Context, func(ctx context.Context) error { return daemon.client.Kick(ctx, client.ID) })
		if errors.Is(err, statsd.ErrNotFound) {
			err = nil // it has gone by itself
		}
	}
	if err != nil {
		return fmt.Errorf("disconnect %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}
