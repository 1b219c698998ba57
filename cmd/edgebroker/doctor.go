package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/doctor"
	"github.com/synthetism/edgebroker/statsd"
)

func doctorCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look for what will hurt the broker tomorrow",
		UsageText: `edgebroker doctor
edgebroker doctor --config edgebroker.yml -o json | jq '.[] | select(.severity != "ok")'`,
		Description: `Looks at the config file, the files that it names, their permissions,
certificates, the data folder, its file system and how worn its flash is, ports,
limits of the kernel and the clock, and asks the daemon if one runs. It changes
nothing. Ask as root, or as the user that runs the broker: others may not look
everywhere.

Exit codes: 0 no problem, though there may be warnings; 2 the config file cannot
be used; 4 there is a problem.`,
		Flags: append([]cli.Flag{
			&cli.PathFlag{Name: "config", Aliases: []string{"c"}, Usage: "the config `FILE`", DefaultText: packagedConfig + " if it is there", TakesFile: true},
			&cli.PathFlag{Name: "data", Usage: "the `FOLDER` of the state, as given to serve; default: the one of the config, or of the daemon that runs"},
			outputFlag("table", "json", "jsonl"),
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runDoctor(e, c) },
	}
}

func runDoctor(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	findings, bad, err := consult(c)
	if err != nil {
		return err
	}
	if format == "table" {
		err = writeFindings(e.stdout, findings)
	} else {
		err = writeList(e.stdout, findings, format)
	}
	switch {
	case err != nil:
		return err
	case bad:
		return &failure{code: exitUsage, quiet: true, err: errors.New("the config file cannot be used")}
	case doctor.Worst(findings) == doctor.Problem:
		return &failure{code: exitDegraded, quiet: true, err: errors.New("there are problems")}
	}
	return nil
}

// consult is what the doctor finds; bad says that the config file cannot be
// used, so that there is nothing else to look at.
func consult(c *cli.Context) (findings []doctor.Finding, bad bool, err error) {
	p := doctor.Patient{ConfigFile: c.Path("config"), Config: appliance.DefaultConfig(), Host: doctor.ThisHost(), Version: readBuildInfo().Version}
	p.Built, _ = time.Parse(time.RFC3339, readBuildInfo().Built) // zero if unknown
	path := p.ConfigFile
	if path == "" {
		path = packagedConfig
	}
	cfg, err := appliance.LoadConfig(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.ConfigFile == "":
	case err != nil:
		return doctor.BadConfig(path, err), true, nil
	default:
		p.ConfigFile, p.Config = path, cfg
	}
	if data := c.Path("data"); data != "" {
		if p.Config.Storage.Directory, err = filepath.Abs(data); err != nil {
			return nil, false, err
		}
	}
	if p.ConfigFile != "" {
		if p.ConfigFile, err = filepath.Abs(p.ConfigFile); err != nil {
			return nil, false, err
		}
	}
	if err := askDaemon(c, &p); err != nil {
		return nil, false, err
	}
	return doctor.Examine(p), false, nil
}

// askDaemon asks the one whose socket the flags or the config name, if it runs.
func askDaemon(c *cli.Context, p *doctor.Patient) error {
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	if c.IsSet("socket") {
		p.Config.Control.Socket = daemon.path
	} else if path := p.Config.Control.Path(); path != daemon.path {
		daemon.client, daemon.path = statsd.Dial(path), path
	}
	var s statsd.Snapshot
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		if s, err = daemon.client.Stats(ctx); err != nil {
			return err
		}
		p.Health, err = daemon.client.Health(ctx)
		return err
	})
	unreachable := (*statsd.ErrUnreachable)(nil)
	switch {
	case c.Context.Err() != nil:
		return errInterrupted
	case err == nil:
		p.Daemon = &s
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED): // none runs
	case errors.As(err, &unreachable):
		p.Silent = unreachable
	default:
		p.Silent = err
	}
	return nil
}

// writeFindings writes findings for people: one each, and below it what to do.
func writeFindings(w io.Writer, findings []doctor.Finding) error {
	problems, warnings := 0, 0
	for _, f := range findings {
		where := ""
		if f.Where != "" {
			where = f.Where + ": "
		}
		if _, err := fmt.Fprintf(w, "%-8s %-13s %s\n", f.Severity, f.Check, printable(where+f.What)); err != nil {
			return err
		}
		if f.Mend != "" {
			if _, err := fmt.Fprintf(w, "%-22s -> %s\n", "", printable(f.Mend)); err != nil {
				return err
			}
		}
		switch f.Severity {
		case doctor.Problem:
			problems++
		case doctor.Warn:
			warnings++
		}
	}
	_, err := fmt.Fprintf(w, "\n%s, %s\n", things(problems, "problem"), things(warnings, "warning"))
	return err
}
