package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

func debugCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "debug",
		Usage: "collect what helps to find a mistake",
		Subcommands: []*cli.Command{{
			Name:      "bundle",
			Usage:     "write a file with all that helps whoever looks for a mistake",
			ArgsUsage: "[FILE]",
			UsageText: `edgebroker debug bundle
edgebroker debug bundle broker.tar.gz
edgebroker debug bundle - | ssh helper 'cat > broker.tar.gz'`,
			Description: `Writes a .tar.gz that only you may read, and overwrites nothing: the configuration
in force, counters, accounts, clients, losses, the events of the last day, stacks
and a heap profile, what the store and what the doctor say. No password, key, token,
user name or payload is in it; names of clients, topics, files and addresses are.
What a daemon that does not run cannot tell is left out, with exit code 3.`,
			Flags: append([]cli.Flag{
				&cli.PathFlag{Name: "config", Aliases: []string{"c"}, Usage: "the config `FILE`, for the doctor", DefaultText: packagedConfig + " if it is there", TakesFile: true},
				&cli.PathFlag{Name: "data", Usage: "the `FOLDER` of the state, as given to serve", TakesFile: true},
				outputFlag("text", "json", "jsonl"),
			}, controlFlags()...),
			Action: func(c *cli.Context) error { return runBundle(e, c) },
		}},
	}
}

// Bounds on the events of a bundle.
const (
	bundleSince  = 24 * time.Hour
	bundleEvents = 20_000
)

// bundlePart is one file of a bundle.
type bundlePart struct {
	name    string
	what    string
	collect func(context.Context) ([]byte, error)
}

// bundled is what `debug bundle -o json` prints; its names are stable.
type bundled struct {
	File    string            `json:"file"`
	Parts   map[string]int    `json:"parts"`             // bytes, by name
	Missing map[string]string `json:"missing,omitempty"` // why a part could not be had
}

// bundledVersions is version.json of a bundle.
type bundledVersions struct {
	Daemon  statsd.VersionInfo `json:"daemon"`
	Program buildInfo          `json:"program"` // that made the bundle
}

// parts lists what a bundle holds.
func (d *control) parts(c *cli.Context) []bundlePart {
	return []bundlePart{
		{"version.json", "the daemon, and the program that asked it", d.bundleVersion},
		{"config.json", "the configuration in force", asJSON(d.client.Settings)},
		{"health.json", "whether it works", asJSON(d.client.Health)},
		{"stats.json", "counters, certificates, the store", asJSON(d.client.Stats)},
		{"metrics.prom", "the same and the runtime, as metrics", d.client.Metrics},
		{"balance.json", "what has become of every message", asJSON(d.client.Balance)},
		{"drops.json", "what was lost", asJSON(d.client.Drops)},
		{"clients.json", "clients, without user names", asJSON(d.bundleClients)},
		{"log-level.json", "from which level on it logs", asJSON(d.client.LogLevel)},
		{"events.jsonl", "events of the last day, without user names", d.bundleHistory},
		{"goroutines.txt", "what it is doing", d.client.Goroutines},
		{"heap.pprof", "who holds memory, for go tool pprof", d.client.HeapProfile},
		{"store.json", "what lies on the disk", asJSON(d.bundleStore)},
		{"doctor.json", "what will hurt it tomorrow", func(context.Context) ([]byte, error) {
			findings, _, err := consult(c)
			if err != nil {
				return nil, err
			}
			return json.MarshalIndent(findings, "", "  ")
		}},
	}
}

// asJSON makes a file of an answer.
func asJSON[T any](ask func(context.Context) (T, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(v, "", "  ")
	}
}

func (d *control) bundleVersion(ctx context.Context) ([]byte, error) {
	daemon, err := d.client.Version(ctx)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(bundledVersions{daemon, readBuildInfo()}, "", "  ")
}

// noName stands for the name of a user, for which some systems take a token.
const noName = "[redacted]"

func (d *control) bundleClients(ctx context.Context) ([]statsd.Client, error) {
	list, err := d.client.Clients(ctx, "", 0)
	for i := range list {
		if list[i].Username != "" {
			list[i].Username = noName
		}
	}
	return list, err
}

// bundleHistory is the latest events, one a line.
func (d *control) bundleHistory(ctx context.Context) ([]byte, error) {
	var lines [][]byte
	first := 0 // of lines, a ring
	err := d.client.History(ctx, statsd.Past{Since: time.Now().Add(-bundleSince)}, events.Filter{}, func(ev events.Event) error {
		line, err := json.Marshal(withoutNames(ev))
		if err != nil {
			return err
		}
		if len(lines) < bundleEvents {
			lines = append(lines, line)
			return nil
		}
		lines[first] = line
		first = (first + 1) % bundleEvents
		return nil
	})
	var out []byte
	for i := range lines {
		out = append(append(out, lines[(first+i)%len(lines)]...), '\n')
	}
	return out, err
}

// withoutNames is ev without what may be secret in it.
func withoutNames(ev events.Event) events.Event {
	hide := func(name *string) {
		if *name != "" {
			*name = noName
		}
	}
	switch d := ev.Data.(type) {
	case events.ConnectionData:
		hide(&d.Username)
		ev.Data = d
	case events.DisconnectionData:
		hide(&d.Username)
		ev.Data = d
	case events.MessageData:
		d.Payload = nil
		ev.Data = d
	case json.RawMessage: // a type that this program does not know
		ev.Data = nil
	}
	return ev
}

func (d *control) bundleStore(ctx context.Context) (storeInfo, error) {
	s, err := d.client.Stats(ctx)
	if err != nil {
		return storeInfo{}, err
	}
	if s.Storage.State == statsd.StorageNone {
		return storeInfo{State: statsd.StorageNone}, nil
	}
	info := liveInfo(&s)
	info.estimate(0)
	return info, nil
}

func runBundle(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 0, 1, "the file to write to")
	if err != nil {
		return err
	}
	format, err := outputFormat(c, "text", "json", "jsonl")
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	now := time.Now()
	done := bundled{File: "edgebroker-" + now.UTC().Format("20060102-150405") + ".tar.gz", Parts: map[string]int{}, Missing: map[string]string{}}
	if len(args) > 0 {
		done.File = args[0]
	}
	out, finish, err := e.bundleFile(done.File)
	if err != nil {
		return err
	}
	silent, err := daemon.writeBundle(c, out, now, &done)
	if err := finish(err); err != nil {
		return err
	}
	switch {
	case done.File == "-":
	case format != "text":
		err = writeJSON(e.stdout, done, format == "json")
	default:
		_, err = fmt.Fprintf(e.stdout, "wrote %s: %s\n", printable(done.File), things(len(done.Parts), "part"))
	}
	for name, why := range done.Missing {
		e.notef("%s is missing: %s", name, why)
	}
	if err == nil && silent != nil {
		return daemon.explain(c.Context, silent)
	}
	return err
}

// bundleFile opens what the bundle goes to. finish is to be called with the
// error of writing, and removes a file that is not whole.
func (e *env) bundleFile(name string) (w io.Writer, finish func(error) error, err error) {
	if name == "-" {
		if isTerminal(e.stdout) {
			return nil, nil, usageError("debug bundle", "an archive on a terminal helps nobody; redirect the output")
		}
		return e.stdout, func(err error) error { return err }, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("make bundle: %w", err)
	}
	return f, func(err error) error {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(name)
			return fmt.Errorf("write bundle: %w", err)
		}
		return nil
	}, nil
}

// writeBundle collects the parts. silent is why the daemon has not answered, nil
// if it has.
func (d *control) writeBundle(c *cli.Context, w io.Writer, now time.Time, done *bundled) (silent, err error) {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	put := func(name string, body []byte) error {
		done.Parts[name] = len(body)
		if err := archive.WriteHeader(&tar.Header{Name: "edgebroker/" + name, Mode: 0o600, Size: int64(len(body)), ModTime: now}); err != nil {
			return err
		}
		_, err := archive.Write(body)
		return err
	}
	contents := "edgebroker debug bundle, " + now.UTC().Format(time.RFC3339) + "\n\n"
	for _, p := range d.parts(c) {
		ctx, cancel := context.WithTimeout(c.Context, d.wait)
		body, err := p.collect(ctx)
		cancel()
		if c.Context.Err() != nil {
			return nil, errInterrupted
		}
		contents += fmt.Sprintf("%-16s %s", p.name, p.what)
		if err != nil {
			if gone := (*statsd.ErrUnreachable)(nil); errors.As(err, &gone) || errors.Is(err, context.DeadlineExceeded) {
				silent = err
			}
			done.Missing[p.name] = err.Error()
			contents += " (missing: " + err.Error() + ")\n"
			continue
		}
		contents += "\n"
		if err := put(p.name, body); err != nil {
			return silent, err
		}
	}
	if err := put("README.txt", []byte(contents)); err != nil {
		return silent, err
	}
	return silent, errors.Join(archive.Close(), zip.Close())
}
