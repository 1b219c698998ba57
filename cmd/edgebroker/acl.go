package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/appliance"
)

func aclCommand(e *env) *cli.Command {
	files := []cli.Flag{
		&cli.PathFlag{Name: "config", Aliases: []string{"c"}, Usage: "the config `FILE` that names the files of rules", Value: packagedConfig, TakesFile: true},
		&cli.StringSliceFlag{Name: "rules", Usage: "a `FILE` of rules instead; may be given more than once, in order", TakesFile: true},
	}
	return &cli.Command{
		Name:  "acl",
		Usage: "ask what a client may do, and why",
		Subcommands: []*cli.Command{
			{
				Name:  "test",
				Usage: "say whether a client may publish on a topic, or receive or subscribe to it",
				UsageText: `edgebroker acl test --user pump-7 --topic plant/7/temp --action publish
edgebroker acl test --user ann --topic 'plant/#' --action subscribe
edgebroker acl test --user ann --topic 'plant/#' --action subscribe -o json | jq .allowed`,
				Description: "Prints the rule that decides, with file and line, and why the rules before it do\nnot. Exit code 0: allowed; 1: denied.",
				Flags: append([]cli.Flag{
					outputFlag("text", "json", "jsonl"),
					&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "the user `NAME` with which the client signs in", DefaultText: "none"},
					&cli.StringFlag{Name: "client", Aliases: []string{"i"}, Usage: "the client `ID`"},
					&cli.StringSliceFlag{Name: "group", Aliases: []string{"g"}, Usage: "a `GROUP` of the user, besides those in the file of users"},
					&cli.StringFlag{Name: "cert", Usage: "the `NAME` in the client's certificate"},
					&cli.StringFlag{Name: "listener", Usage: "the `NAME` of the listener at which it comes in"},
					&cli.StringFlag{Name: "topic", Aliases: []string{"t"}, Usage: "a topic or, to subscribe, a filter (`TOPIC`)", Required: true},
					&cli.StringFlag{Name: "action", Aliases: []string{"a"}, Usage: "publish or subscribe (`WORD`)", Required: true},
				}, files...),
				Action: func(c *cli.Context) error { return testACL(e, c) },
			},
			{
				Name: "check", Usage: "say what is wrong with files of rules, and what can hardly be meant",
				UsageText: `edgebroker acl check
edgebroker acl check --rules /etc/edgebroker/acl.new`,
				Description: "Exit code 0 and no output, or an empty list: nothing is wrong with them.",
				Flags:       append([]cli.Flag{outputFlag("text", "json", "jsonl")}, files...),
				Action:      func(c *cli.Context) error { return checkACL(e, c) },
			},
		},
	}
}

// policyOf is the policy of the files that the flags name, and the file of
// users beside it, "" if there is none.
func policyOf(c *cli.Context) (*acl.Policy, string, error) {
	paths, users := c.StringSlice("rules"), ""
	if len(paths) == 0 {
		cfg, err := appliance.LoadConfig(c.Path("config"))
		switch {
		case errors.Is(err, fs.ErrNotExist) && !c.IsSet("config"):
			return nil, "", usageError(commandPath(c), "there is no %s; name another config file with --config, or files of rules with --rules", packagedConfig)
		case err != nil:
			return nil, "", configFailure(err)
		case len(cfg.Access.Rules) == 0:
			return nil, "", &failure{code: exitUsage, err: fmt.Errorf("%s names no rules: whoever is let in may do everything", c.Path("config")),
				hint: "set access.rules to a list of files; docs/ACL.md says what is in them"}
		}
		paths, users = cfg.Access.Rules, cfg.Access.Passwords
	}
	p, err := acl.Load(paths...)
	if err != nil {
		return nil, "", &failure{code: exitUsage, err: err}
	}
	return p, users, nil
}

func testACL(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	format, err := outputFormat(c, "text", "json", "jsonl")
	if err != nil {
		return err
	}
	actions := map[string]acl.Action{"publish": acl.Publish, "subscribe": acl.Subscribe}
	action, known := actions[c.String("action")]
	if !known {
		return usageError(commandPath(c), "--action %q is neither publish nor subscribe", c.String("action"))
	}
	policy, users, err := policyOf(c)
	if err != nil {
		return err
	}
	s := acl.Subject{User: c.String("user"), ClientID: c.String("client"), Groups: slices.Clone(c.StringSlice("group")),
		CertName: c.String("cert"), Listener: c.String("listener")}
	if users != "" && s.User != "" {
		if err := addGroups(&s, users); err != nil {
			e.notef("the groups of %s are not known: %v", s.User, err)
		}
	}
	x, err := policy.Explain(s, action, c.String("topic"))
	if err != nil {
		return usageError(commandPath(c), "%v", err)
	}
	if format == "text" {
		_, err = fmt.Fprintln(e.stdout, x)
	} else {
		err = writeJSON(e.stdout, describeVerdict(&s, c.String("action"), c.String("topic"), &x), format == "json")
	}
	if err != nil {
		return err
	}
	if !x.Verdict.Allow {
		return &failure{code: exitError, quiet: true, err: errors.New("denied")}
	}
	return nil
}

// addGroups adds the groups that the subject has in the file of users.
func addGroups(s *acl.Subject, path string) error {
	path, err := appliance.ResolvePath(path)
	if err != nil {
		return err
	}
	users, err := usersIn(path)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Name == s.User {
			s.Groups = append(s.Groups, u.Groups...)
		}
	}
	return nil
}

func checkACL(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	format, err := outputFormat(c, "text", "json", "jsonl")
	if err != nil {
		return err
	}
	policy, _, err := policyOf(c)
	if err != nil {
		return err
	}
	findings := policy.Lint()
	if format != "text" {
		if err := writeList(e.stdout, describeFindings(findings), format); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			if _, err := fmt.Fprintln(e.stdout, printable(f.String())); err != nil {
				return err
			}
		}
	}
	if len(findings) > 0 {
		return &failure{code: exitError, quiet: true, err: errors.New("there are findings")}
	}
	return nil
}
