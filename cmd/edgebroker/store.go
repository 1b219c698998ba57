package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
)

func storeCommand(e *env) *cli.Command {
	const where = `
Without --data the daemon is asked for its folder, which must be readable here.
Nothing is changed, so a broker may run on it; what it has not written yet is
not seen.`
	return &cli.Command{
		Name:  "store",
		Usage: "look at the state that is kept on disk",
		Subcommands: []*cli.Command{
			{
				Name:  "info",
				Usage: "say what is stored, how large it is and how fast it wears out the flash",
				UsageText: `edgebroker store info                             of the daemon that runs
edgebroker store info --endurance 30TB            and how long a disk of 30 TBW lasts
edgebroker store info --data /var/lib/edgebroker  of a folder, whether a broker runs or not`,
				Description: `What is written per day is an average over all the time that a broker has run
on the store. The estimate of life takes what went to the block layer, where
that is known; it does not know what the flash itself adds.`,
				Flags: append([]cli.Flag{
					dataFlag("look at the folder `DIR` instead of asking the daemon"),
					outputFlag("table", "json", "jsonl"),
					&cli.StringFlag{Name: "endurance", Usage: "bytes that the flash can take, as its maker says, such as 30TB (`SIZE`)", DefaultText: "no estimate"},
				}, controlFlags()...),
				Action: func(c *cli.Context) error { return runStoreInfo(e, c) },
			},
			{
				Name:  "verify",
				Usage: "read everything that is stored and say what is damaged",
				UsageText: `edgebroker store verify
edgebroker store verify --data /var/lib/edgebroker`,
				Description: `Prints each damage in a line of its own. Exit code 0 means that there is no damage,
1 that there is some, 2 that a newer version has made the store.` + where,
				Flags:  append([]cli.Flag{dataFlag("the folder `DIR`"), outputFlag("table", "json", "jsonl")}, controlFlags()...),
				Action: func(c *cli.Context) error { return runStoreVerify(e, c) },
			},
			{
				Name:  "dump",
				Usage: "print sessions, subscriptions, queues and retained messages",
				UsageText: `edgebroker store dump
edgebroker store dump --session line1-plc --payloads
edgebroker store dump --topic 'plant/+/alarm' -o jsonl | jq -r .topic
edgebroker store dump --data /mnt/old-card/edgebroker`,
				Description: `First come the sessions with their subscriptions, then the retained messages,
then what waits in each session in the order in which it will be sent. In JSON the
"kind" of each is session, retained, message or unreadable.` + where,
				Flags: append([]cli.Flag{
					dataFlag("the folder `DIR`"),
					outputFlag("table", "json", "jsonl"),
					&cli.StringFlag{Name: "session", Usage: "only the session of the client `ID`"},
					&cli.StringFlag{Name: "topic", Usage: "only messages on topics that match `FILTER`, without the lines for sessions"},
					&cli.BoolFlag{Name: "payloads", Usage: "print payloads, which are left out otherwise"},
				}, controlFlags()...),
				Action: func(c *cli.Context) error { return runStoreDump(e, c) },
			},
		},
	}
}

func dataFlag(usage string) cli.Flag {
	return &cli.PathFlag{Name: "data", Usage: usage, DefaultText: "that of the daemon", TakesFile: true}
}

// askStorage asks the daemon for its counters, of which it must have a store.
func askStorage(c *cli.Context) (statsd.Snapshot, error) {
	var s statsd.Snapshot
	daemon, err := openControl(c)
	if err != nil {
		return s, err
	}
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		s, err = daemon.client.Stats(ctx)
		return err
	})
	if f := (*failure)(nil); errors.As(err, &f) && errors.As(err, new(*statsd.ErrUnreachable)) {
		f.hint = "if no broker runs, name the folder of the store with --data; if one does, name its socket with --socket"
	}
	if err != nil {
		return s, err
	}
	if s.Storage.Directory == "" {
		return s, &failure{code: exitError, err: errors.New("the daemon keeps its state in memory: there is no store"),
			hint: "`edgebroker serve --data DIR` stores it; --data here names the folder of another store"}
	}
	return s, nil
}

// storeDir is the folder of the store that a command is about.
func storeDir(c *cli.Context) (string, error) {
	if dir := c.Path("data"); dir != "" {
		return filepath.Abs(dir)
	}
	s, err := askStorage(c)
	return s.Storage.Directory, err
}

// inspectStore reads the store in dir, which must have one, and notes when a
// broker runs on it.
func inspectStore(e *env, c *cli.Context, dir string) (*store.Contents, lockHolder, error) {
	holder := findHolder(dir)
	disk, err := journal.ReadDir(dir)
	if err != nil {
		return nil, holder, storeFailure(c, dir, err)
	}
	contents, err := store.Inspect(disk)
	if err != nil {
		return nil, holder, storeFailure(c, dir, err)
	}
	if contents.Empty() {
		return nil, holder, &failure{code: exitError, err: fmt.Errorf("%s holds no store", dir), hint: "name the folder that `edgebroker serve --data` has"}
	}
	if holder.held {
		e.notef("%s runs on %s: what it has not written yet is not seen", holder, dir)
	}
	return contents, holder, nil
}

// storeFailure adds to an error what the user can do about it.
func storeFailure(c *cli.Context, dir string, err error) error {
	f := &failure{code: exitError, err: err}
	asked := c.Path("data") == ""
	newer := (*journal.VersionError)(nil)
	switch {
	case errors.As(err, &newer):
		f.code = exitUsage
	case errors.Is(err, fs.ErrPermission):
		f.hint = fmt.Sprintf("%s: sudo %s %s --data %s", whoMay(err), program, commandPath(c), dir)
	case errors.Is(err, fs.ErrNotExist) && asked:
		f.hint = "the daemon sees another file system, as in a container; run this where it runs"
	}
	return f
}
