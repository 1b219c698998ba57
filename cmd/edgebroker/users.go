package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/statsd"
)

// packagedConfig is where the package puts the config file.
const packagedConfig = "/etc/edgebroker/edgebroker.yml"

func usersCommand(e *env) *cli.Command {
	password := &cli.PathFlag{Name: "password-file", Usage: "take the password from the first line of `FILE`, - for standard input; default: make one and print it", TakesFile: true}
	groups := &cli.StringSliceFlag{Name: "group", Aliases: []string{"g"}, Usage: "put the user into group `NAME`; may be given more than once"}
	output := outputFlag("table", "json", "jsonl")
	return &cli.Command{
		Name:  "users",
		Usage: "add, change, list and delete users and their passwords",
		Description: `The file of users is the one that access.passwords of the config names. A daemon
that runs reads it again at once.`,
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "add a user", ArgsUsage: "NAME",
				UsageText: "edgebroker users add --group devices pump-7",
				Flags:     append([]cli.Flag{groups, password}, usersFlags()...),
				Action:    func(c *cli.Context) error { return addUser(e, c) },
			},
			{
				Name: "passwd", Usage: "give a user another password", ArgsUsage: "NAME",
				UsageText: `edgebroker users passwd ann
edgebroker users passwd --password-file - ann <secret.txt`,
				Flags:  append([]cli.Flag{password}, usersFlags()...),
				Action: func(c *cli.Context) error { return setPassword(e, c) },
			},
			{
				Name: "groups", Usage: "put a user into other groups, or into none", ArgsUsage: "NAME",
				UsageText: "edgebroker users groups --group ops --group devices ann",
				Flags:     append([]cli.Flag{groups}, usersFlags()...),
				Action:    func(c *cli.Context) error { return setGroups(e, c) },
			},
			{
				Name: "del", Usage: "delete users; their clients are disconnected", ArgsUsage: "NAME...",
				UsageText: "edgebroker users del ann",
				Flags:     usersFlags(),
				Action:    func(c *cli.Context) error { return deleteUsers(e, c) },
			},
			{
				Name: "list", Usage: "list the users, without anything secret",
				UsageText: "edgebroker users list",
				Flags:     append([]cli.Flag{output}, usersFlags()...),
				Action:    func(c *cli.Context) error { return listUsers(e, c) },
			},
		},
	}
}

func usersFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.PathFlag{Name: "config", Aliases: []string{"c"}, Usage: "the config `FILE` that names the file of users", Value: packagedConfig, TakesFile: true},
		&cli.PathFlag{Name: "file", Aliases: []string{"f"}, Usage: "the `FILE` of users itself", TakesFile: true},
	}, controlFlags()...)
}

// usersFile is the file of users that the flags lead to.
func usersFile(c *cli.Context) (string, error) {
	if path := c.Path("file"); path != "" {
		return path, nil
	}
	cfg, err := appliance.LoadConfig(c.Path("config"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.IsSet("config"):
		return "", usageError(commandPath(c), "there is no %s; name another config file with --config, or the file of users with --file", packagedConfig)
	case err != nil:
		return "", configFailure(err)
	case cfg.Access.Passwords == "":
		return "", &failure{code: exitUsage, err: fmt.Errorf("%s names no file of users", c.Path("config")),
			hint: "set access.passwords to the path of one, such as /etc/edgebroker/passwords; it need not exist yet"}
	case strings.HasPrefix(cfg.Access.Passwords, "credential:"):
		return "", &failure{code: exitUsage, err: fmt.Errorf("access.passwords of %s is a credential of systemd, a copy that nobody can change", c.Path("config")),
			hint: "name the file that LoadCredential= of the unit copies with --file, and restart the broker after the change"}
	}
	return cfg.Access.Passwords, nil
}

// editUsers changes the file of users and has a daemon that runs read it.
func editUsers(e *env, c *cli.Context, change func(*auth.PasswordEdit) error) error {
	path, err := usersFile(c)
	if err != nil {
		return err
	}
	_, before := os.Stat(path)
	if err := auth.EditPasswordFile(c.Context, path, change); err != nil {
		return err
	}
	if errors.Is(before, fs.ErrNotExist) {
		if err := giveToOwner(path); err != nil {
			return fmt.Errorf("%s is written, but the daemon may not be able to read it: %w", path, err)
		}
	}
	return reloadIfRunning(e, c, path, usersRead(c, path))
}

// usersRead says what a daemon has read after a change of the file of users at path.
// Whether it is that of MQTT or that of the HTTP address only the config knows, if
// --file names it.
func usersRead(c *cli.Context, path string) func(statsd.Reloaded) string {
	if c.Path("file") == "" {
		return readIt
	}
	return func(r statsd.Reloaded) string {
		return fmt.Sprintf("the daemon has read its files again: %s of MQTT, %d of the http address; if %s is neither file, name it in access.passwords or http.users",
			things(r.Users, "user"), r.People, path)
	}
}

// readIt says what a daemon has read after a change of a file that its config names.
func readIt(r statsd.Reloaded) string { return "the daemon has read it: " + reloadedWords(r) }

// reloadIfRunning has a daemon that runs read its files again, of which the
// user has changed what; words say what it has read.
func reloadIfRunning(e *env, c *cli.Context, what string, words func(statsd.Reloaded) string) error {
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	r, err := daemon.reload(c.Context, false)
	unreachable := (*statsd.ErrUnreachable)(nil)
	switch {
	case errors.As(err, &unreachable):
		e.notef("no daemon answers on %s; the change counts from its start on", daemon.path)
		return nil
	case err != nil:
		return fmt.Errorf("%s is changed, but the daemon goes on as before: %w", what, err)
	}
	e.notef("%s", words(r))
	return nil
}

// newPassword is the password that the flags give, or one made now.
func newPassword(e *env, c *cli.Context) (password auth.Secret, made bool, err error) {
	from, path := e.stdin, c.Path("password-file")
	switch path {
	case "":
		return auth.GeneratePassword(), true, nil
	case "-":
	default:
		f, err := os.Open(path)
		if err != nil {
			return password, false, fmt.Errorf("read password: %w", err)
		}
		defer f.Close()
		from = f
	}
	line, err := firstLine(from)
	if err != nil {
		return password, false, fmt.Errorf("read password: %w", err)
	}
	return auth.NewSecret(line), false, nil
}

func addUser(e *env, c *cli.Context) error {
	return withPassword(e, c, func(edit *auth.PasswordEdit, name, hash string) error {
		return edit.Add(name, hash, c.StringSlice("group"))
	})
}

func setPassword(e *env, c *cli.Context) error {
	return withPassword(e, c, func(edit *auth.PasswordEdit, name, hash string) error {
		return edit.SetHash(name, hash)
	})
}

// withPassword makes a change that needs the hash of a new password, and prints
// that if it was made here.
func withPassword(e *env, c *cli.Context, change func(edit *auth.PasswordEdit, name, hash string) error) error {
	args, err := e.positionals(c, 1, 1, "the name of the user")
	if err != nil {
		return err
	}
	if err := auth.CheckName(args[0]); err != nil {
		return usageError(commandPath(c), "%v", err)
	}
	password, made, err := newPassword(e, c)
	if err != nil {
		return err
	}
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	if err := editUsers(e, c, func(edit *auth.PasswordEdit) error { return change(edit, args[0], hash) }); err != nil {
		return userFailure(err)
	}
	if made {
		_, err = fmt.Fprintf(e.stdout, "user:     %s\npassword: %s\n", printable(args[0]), password.Reveal())
	}
	return err
}

func setGroups(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, 1, "the name of the user")
	if err != nil {
		return err
	}
	return userFailure(editUsers(e, c, func(edit *auth.PasswordEdit) error { return edit.SetGroups(args[0], c.StringSlice("group")) }))
}

func deleteUsers(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, -1, "the name of the user")
	if err != nil {
		return err
	}
	return userFailure(editUsers(e, c, func(edit *auth.PasswordEdit) error {
		for _, name := range args {
			if err := edit.Delete(name); err != nil {
				return err
			}
		}
		return nil
	}))
}

// userFailure adds to an error of an edit what the user can do about it.
func userFailure(err error) error {
	switch {
	case errors.Is(err, auth.ErrUserExists):
		return &failure{code: exitError, err: err, hint: "`edgebroker users passwd` gives it another password"}
	case errors.Is(err, auth.ErrNoUser):
		return &failure{code: exitError, err: err, hint: "`edgebroker users list` names those that are"}
	case errors.Is(err, fs.ErrPermission):
		return &failure{code: exitError, err: err, hint: whoMay(err)}
	}
	return err
}

// usersIn reads the file of users at path.
func usersIn(path string) ([]auth.User, error) {
	v, err := auth.NewVerifier(auth.DefaultVerifierLimits())
	if err != nil {
		return nil, err
	}
	f, err := auth.LoadPasswordFile(path, v)
	if err != nil {
		return nil, err
	}
	return f.Users(), nil
}

// listedUser is the JSON of one user.
type listedUser struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	Hash   string   `json:"hash"` // its kind and parameters
}

func listUsers(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	path, err := usersFile(c)
	if err != nil {
		return err
	}
	users, err := usersIn(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{code: exitError, err: err, hint: "`edgebroker users add` makes the file with its first user; --file and --config name another"}
	}
	if err != nil {
		return userFailure(err)
	}
	list := []listedUser{}
	for _, u := range users {
		list = append(list, listedUser{u.Name, append([]string{}, u.Groups...), u.Kind})
	}
	if format != "table" {
		return writeList(e.stdout, list, format)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.stdout, "there are no users; `edgebroker users add NAME` makes one")
		return err
	}
	table := newTable("USER\tGROUPS\tHASH")
	for _, u := range list {
		table.row("%s\t%s\t%s", printable(u.Name), printable(strings.Join(u.Groups, " ")), u.Hash)
	}
	return table.writeTo(e.stdout)
}
