package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
)

func backupCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy what the running broker has stored",
		ArgsUsage: "DEST",
		UsageText: `edgebroker backup /media/usb/edgebroker-monday.tar
edgebroker backup /media/usb/monday                  a folder that can be served from
edgebroker backup - | ssh nas 'cat > edgebroker.tar'`,
		Description: `DEST is a new file if it ends in .tar, standard output if it is -, else a folder
that is new or empty. The copy is that of one moment: everything that was
acknowledged before is in it. Clients are served meanwhile. It is read again and
checked before the command ends with exit code 0, except on standard output.
It holds the messages as they are, unencrypted. See edgebroker restore.`,
		Flags:  controlFlags(),
		Action: func(c *cli.Context) error { return runBackup(e, c) },
	}
}

func restoreCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "make a data folder of a backup",
		ArgsUsage: "SRC",
		UsageText: `edgebroker restore --data /var/lib/edgebroker /media/usb/edgebroker-monday.tar
edgebroker restore --data /var/lib/edgebroker /media/usb/monday`,
		Description: `SRC is what edgebroker backup has written, or the data folder of a broker that
does not run. It is checked first; DIR must be new or empty, and holds all of it
or nothing. Exit code 2 means that a newer version has made SRC.`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "data", Usage: "the folder `DIR` to restore to", DefaultText: "none", TakesFile: true},
			&cli.BoolFlag{Name: "damaged", Usage: "restore also if SRC is damaged: what cannot be read is lost"},
		},
		Action: func(c *cli.Context) error { return runRestore(e, c) },
	}
}

func runBackup(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, 1, "the file or folder to write to")
	if err != nil {
		return err
	}
	dest := args[0]
	if dest == "" {
		return usageError("backup", "the name of the file or folder to write to is empty")
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	fetch := func(fn func(archive io.Reader, complete func() error) error) error {
		var here error
		err := daemon.client.Backup(c.Context, func(archive io.Reader, complete func() error) error {
			here = fn(archive, complete)
			return here
		})
		if here != nil && c.Context.Err() == nil && !errors.As(here, new(*statsd.ErrUnreachable)) && !errors.As(here, new(*statsd.APIError)) {
			return here // not the daemon's fault
		}
		return daemon.explain(c.Context, err)
	}
	if dest == "-" {
		if isTerminal(e.stdout) {
			return usageError("backup", "an archive on a terminal helps nobody; redirect the output")
		}
		return fetch(func(archive io.Reader, complete func() error) error {
			if _, err := io.Copy(e.stdout, archive); err != nil {
				return err
			}
			return complete()
		})
	}
	if dest, err = filepath.Abs(dest); err != nil {
		return err
	}
	if strings.HasSuffix(dest, ".tar") {
		err = writeArchive(dest, fetch)
	} else {
		err = fetch(func(archive io.Reader, complete func() error) error { return store.Unpack(archive, dest, complete) })
	}
	if err != nil {
		return targetFailure(err)
	}
	return checkCopy(e, dest, "backup written to", "the store itself is damaged: see `edgebroker store verify`")
}

// targetFailure says what to do about a place that cannot be written to.
func targetFailure(err error) error {
	var path *fs.PathError
	f := &failure{code: exitError, err: err}
	switch known := (*failure)(nil); {
	case errors.As(err, &known) || !errors.As(err, &path):
		return err
	case errors.Is(err, fs.ErrPermission):
		f.hint = whoMay(err)
	case errors.Is(err, fs.ErrNotExist):
		f.hint = "make the folder above it first"
	case errors.Is(err, fs.ErrExist):
		f.hint = "another backup is being written there, or one was interrupted; wait, or remove it"
	}
	return f
}

// writeArchive makes the file at dest, which must not exist, of a backup. It is
// there when it is complete and on stable storage.
func writeArchive(dest string, fetch func(func(io.Reader, func() error) error) error) error {
	existing := fmt.Errorf("%s exists already; name a new file", dest)
	if _, err := os.Lstat(dest); err == nil {
		return existing
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := dest + ".part"
	return fetch(func(archive io.Reader, complete func() error) (err error) {
		f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				_ = os.Remove(part)
			}
		}()
		_, err = io.Copy(f, archive)
		if err == nil {
			err = complete()
		}
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		switch err := os.Link(part, dest); { // which does not replace
		case err == nil:
			err = os.Remove(part)
			return errors.Join(err, syncParent(dest))
		case errors.Is(err, fs.ErrExist):
			return existing
		}
		if err := os.Rename(part, dest); err != nil { // there are no links here
			return err
		}
		return syncParent(dest)
	})
}

func syncParent(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openCopy is the store in an archive or folder, for reading.
func openCopy(path string) (journal.Disk, func(), error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open backup: %w", err)
	}
	if info.IsDir() {
		disk, err := journal.ReadDir(path)
		return disk, func() {}, err
	}
	a, err := store.OpenArchive(path)
	if err != nil {
		return nil, nil, err
	}
	return a, func() { _ = a.Close() }, nil
}

// checkCopy reads the copy at path and says what is in it. Damage is an error
// with the hint damaged.
func checkCopy(e *env, path, did, damaged string) error {
	disk, done, err := openCopy(path)
	if err != nil {
		return err
	}
	defer done()
	contents, damage, err := examine(disk)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(e.stdout, printable(fmt.Sprintf("%s %s: %s", did, path, stock(contents)))); err != nil {
		return err
	}
	if len(damage) > 0 {
		return &failure{code: exitError, err: fmt.Errorf("%s is damaged: %s", path, things(len(damage), "finding")), hint: damaged}
	}
	return nil
}

// examine reads everything in a copy.
func examine(disk journal.Disk) (*store.Contents, []storeDamage, error) {
	contents, err := store.Inspect(disk)
	if newer := (*journal.VersionError)(nil); errors.As(err, &newer) {
		return nil, nil, &failure{code: exitUsage, err: err}
	}
	if err != nil {
		return nil, nil, err
	}
	damage, err := damageOf(contents)
	return contents, damage, err
}

// stock says how much there is.
func stock(c *store.Contents) string {
	queued := 0
	for _, st := range c.Sessions {
		queued += store.Queued(st)
	}
	return fmt.Sprintf("%s, %s queued, %s retained, %s", things(len(c.Sessions), "session"), messages(queued), messages(len(c.Retained)), size(c.Log.UsedBytes))
}

func runRestore(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, 1, "the backup")
	if err != nil {
		return err
	}
	dir := c.Path("data")
	if dir == "" {
		return usageError("restore", "--data, the folder to restore to, is missing")
	}
	src := args[0]
	if src, err = filepath.Abs(src); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if holder := findHolder(src); holder.held {
		return &failure{code: exitError, err: fmt.Errorf("%s runs on %s, which changes while it is read", holder, src), hint: "copy it with `edgebroker backup`, or stop the broker"}
	}
	disk, done, err := openCopy(src)
	if err != nil {
		return err
	}
	defer done()
	contents, damage, err := examine(disk)
	switch {
	case err != nil:
		return err
	case contents.Empty():
		return &failure{code: exitError, err: fmt.Errorf("%s holds no store", src), hint: "name what `edgebroker backup` has written"}
	case len(damage) > 0 && !c.Bool("damaged"):
		for i := range damage {
			e.notef("%s", damage[i].text())
		}
		return &failure{code: exitError, err: fmt.Errorf("%s is damaged: %s", src, things(len(damage), "finding")),
			hint: "take an older backup, or restore what can be read with --damaged"}
	}
	if err := store.Copy(disk, dir); err != nil {
		return targetFailure(err)
	}
	if len(damage) > 0 {
		_, err = fmt.Fprintln(e.stdout, printable(fmt.Sprintf("restored to %s, damaged as it is: %s", dir, stock(contents))))
		return err
	}
	return checkCopy(e, dir, "restored to", "the disk under it does not keep what is written to it")
}
