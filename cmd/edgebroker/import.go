package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/moving"
)

func importCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "import",
		Usage: "make a configuration of that of another broker",
		Subcommands: []*cli.Command{{
			Name:      "mosquitto",
			Usage:     "convert mosquitto.conf, its files of passwords and rules, and its bridges",
			ArgsUsage: "FILE",
			UsageText: `edgebroker import mosquitto --dry-run /etc/mosquitto/mosquitto.conf
edgebroker import mosquitto --out broker /etc/mosquitto/mosquitto.conf
edgebroker import mosquitto --dry-run -o json mosquitto.conf | jq '.[] | select(.security)'`,
			Description: `Says of each line whether it was converted, means something else now, is not
needed or cannot be converted, and writes edgebroker.yml, users, acl and the
passwords of bridges into a folder, for their owner alone.

Nobody gets in, and nothing is allowed, who or what mosquitto would keep out. Lines
with ! say who gets in or may do what, and mean less here: if there are any, nothing
is written until --go-on says so. docs/MOVING.md has more.

Exit codes: 0 done; 1 there are lines with !, and no --go-on; 2 wrong usage;
4 written, but the config check finds something to be mended.`,
			Flags: []cli.Flag{
				&cli.PathFlag{Name: "out", Aliases: []string{"d"}, Value: filepath.Dir(packagedConfig), Usage: "the `FOLDER` to write to"},
				&cli.PathFlag{Name: "data", Value: "/var/lib/edgebroker", Usage: "the `FOLDER` of edgebroker's state, if mosquitto has persistence"},
				&cli.StringFlag{Name: "mosquitto", Usage: "the `VERSION` of mosquitto, such as 2.0.11, where it matters; default: what is safest"},
				&cli.PathFlag{Name: "cwd", Usage: "the `FOLDER` in which mosquitto is started, for relative paths; default: the current one"},
				&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write nothing"},
				&cli.BoolFlag{Name: "force", Usage: "replace files that are there"},
				&cli.BoolFlag{Name: "go-on", Usage: "write although there are lines with !, which mean less than they did"},
				outputFlag("table", "json", "jsonl"),
			},
			Action: func(c *cli.Context) error { return importMosquitto(e, c) },
		}},
	}
}

func importMosquitto(e *env, c *cli.Context) error {
	args, format, err := e.asked(c, 1, 1, "the mosquitto.conf")
	if err != nil {
		return err
	}
	o, err := importOptions(c, args[0])
	if err != nil {
		return err
	}
	r, err := moving.Convert(o)
	if r == nil {
		return err
	}
	if format == "table" {
		err = errors.Join(r.Report.Write(e.stdout, printable), err)
		_, err2 := fmt.Fprintf(e.stdout, "\n%d converted, %d changed, %d not needed, %d impossible, %d to look at (!)\n", r.Report.Count(moving.Converted),
			r.Report.Count(moving.Changed), r.Report.Count(moving.NotNeeded), r.Report.Count(moving.Impossible), r.Report.Security())
		err = errors.Join(err, err2)
	} else {
		err = errors.Join(writeList(e.stdout, r.Report, format), err)
	}
	if err != nil {
		return err
	}
	if n := r.Report.Security(); n > 0 && !c.Bool("go-on") {
		return &failure{code: exitError, err: fmt.Errorf("%s who gets in or may do what, and cannot be converted as they are; nothing was written", lines(n)),
			hint: "mend what is marked with !, or write what there is, which allows less, with --go-on"}
	}
	if c.Bool("dry-run") {
		return nil
	}
	if err := r.Write(c.Context, o.Out, c.Bool("force")); err != nil {
		f := &failure{code: exitError, err: err}
		if errors.Is(err, moving.ErrExists) {
			f.hint = "name another folder with --out, or replace what is there with --force"
		} else if errors.Is(err, fs.ErrPermission) {
			f.hint = whoMay(err) + ", or name a folder of yours with --out"
		}
		return f
	}
	for _, made := range r.Files { // in /etc/edgebroker the daemon may read it then
		if err := giveToOwner(filepath.Join(o.Out, made.Name)); err != nil {
			return err
		}
	}
	return checkImported(e, filepath.Join(o.Out, moving.ConfigName))
}

func lines(n int) string {
	if n == 1 {
		return "1 line says"
	}
	return fmt.Sprintf("%d lines say", n)
}

func importOptions(c *cli.Context, file string) (o moving.Options, err error) {
	o.File = file
	if o.Version, err = moving.ParseVersion(c.String("mosquitto")); err != nil {
		return o, usageError(commandPath(c), "--mosquitto: %v", err)
	}
	if o.Host, err = os.Hostname(); err != nil {
		return o, fmt.Errorf("find the name of this machine: %w", err)
	}
	for _, p := range []struct {
		to   *string
		path string
	}{{&o.Dir, c.Path("cwd")}, {&o.Out, c.Path("out")}, {&o.Data, c.Path("data")}} {
		if *p.to, err = filepath.Abs(p.path); err != nil {
			return o, err
		}
	}
	return o, nil
}

// checkImported looks at what was written as `edgebroker config check` does, for
// files of mosquitto's that are not there, or that others can read.
func checkImported(e *env, path string) error {
	cfg, err := appliance.CheckConfig(path)
	if err == nil {
		_, err = cfg.CheckFiles()
	}
	if err != nil {
		return &failure{code: exitDegraded, err: err, hint: "mend it, and see `edgebroker config check " + path + "`"}
	}
	e.notef("wrote %s; try it: %s serve --config %s", path, program, path)
	return nil
}
