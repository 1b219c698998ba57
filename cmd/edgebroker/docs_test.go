package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
)

// fence is a block of code in a document.
type fence struct {
	language string
	line     int // of its first line
	text     string
}

// fences lists the blocks of code of a document.
func fences(doc string) (list []fence) {
	open := false
	for i, line := range strings.Split(doc, "\n") {
		language, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && !open:
			list = append(list, fence{language: language, line: i + 2})
			open = true
		case mark:
			open = false
		case open:
			list[len(list)-1].text += line + "\n"
		}
	}
	return list
}

// documents are what people read, by path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "systemd/*.md"} {
		paths, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			docs[filepath.ToSlash(strings.TrimPrefix(path, "../../"))] = string(text)
		}
	}
	if len(docs) < 30 {
		t.Fatalf("only %d documents", len(docs))
	}
	return docs
}

// others are blocks of YAML that are not for edgebroker, by how they begin.
var others = []string{"scrape_configs:"}

// placeholders stand for what a script fills in.
var placeholders = strings.NewReplacer("PORT", "1883", "FOLDER", "/srv")

// wrapped makes a whole config of a part of one that is set in: of an uplink.
func wrapped(text string) string {
	if !strings.HasPrefix(text, " ") {
		return placeholders.Replace(text)
	}
	scheme := "mqtt"
	if strings.Contains(text, "nats:") || strings.Contains(text, "group:") {
		scheme = "nats"
	}
	return "bridges:\n  - name: x\n    address: " + scheme + "://127.0.0.1:1883\n" + text
}

// Each YAML in a document is one that `config check` takes, but for the files that
// it names, which nobody has here.
func TestDocumentsYAML(t *testing.T) {
	n := 0
	for name, doc := range documents(t) {
	blocks:
		for _, b := range fences(doc) {
			if b.language != "yaml" && b.language != "yml" {
				continue
			}
			for _, o := range others {
				if strings.HasPrefix(b.text, o) {
					continue blocks
				}
			}
			n++
			cfg, err := appliance.ParseConfig(name, []byte(wrapped(b.text)))
			if err == nil {
				err = cfg.Validate()
			}
			if err != nil {
				t.Errorf("%s:%d: %v\n%s", name, b.line, err, b.text)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d blocks: the test does not test", n)
	}
}

// commandLine finds edgebroker's command line in a line of a shell.
var commandLine = regexp.MustCompile(`(?:^|&&|[;|(]|\bsudo|[A-Z_]+=\S*)\s*edgebroker (.*)$`)

// words takes the words of the first command in s apart, as a shell does: up to a
// pipe, a redirection, another command, or a comment.
func words(s string) (list []string) {
	var word strings.Builder
	quote, some := rune(0), false
	end := func() {
		if some {
			list = append(list, word.String())
		}
		word.Reset()
		some = false
	}
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, some = c, true
		case c == '\\' && i+1 < len(runes):
			i++
			word.WriteRune(runes[i])
			some = true
		case c == ' ':
			end()
		case strings.ContainsRune("|&;<>)", c), c == '#' && !some:
			end()
			return list
		default:
			word.WriteRune(c)
			some = true
		}
	}
	end()
	return list
}

// understands reports whether the program has this command with these flags and
// values. Nothing is run.
func understands(args []string) error {
	app := newApp(&env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, args: append([]string{program}, args...)})
	app.ExitErrHandler = func(*cli.Context, error) {}
	reached := false
	var disarm func(list []*cli.Command)
	disarm = func(list []*cli.Command) {
		for _, c := range list {
			c.Before, c.After = nil, nil
			if len(c.Subcommands) == 0 || c.Name == "devices" {
				c.Action = func(*cli.Context) error { reached = true; return nil }
			}
			disarm(c.Subcommands)
		}
	}
	disarm(app.Commands)
	if err := app.RunContext(context.Background(), append([]string{program}, args...)); err != nil {
		return err
	}
	if !reached && (len(args) == 0 || !strings.HasPrefix(args[len(args)-1], "--")) {
		return fmt.Errorf("%q is no command", args)
	}
	return nil
}

var (
	// inline finds command lines in running text.
	inline = regexp.MustCompile("`edgebroker ([a-z][^`]*)`")
	// incomplete is said of a command whose name alone is given, as running text may.
	incomplete = regexp.MustCompile(`^\w+ needs a command: |^Required flags? `)
)

// Each command line in a document is one that there is, with flags that it has.
func TestDocumentsCommands(t *testing.T) {
	n := 0
	check := func(name string, line int, text string, mention bool) {
		args := words(text)
		if i := slices.Index(args, "..."); i >= 0 {
			args = args[:i]
		}
		if len(args) == 0 {
			return
		}
		n++
		if err := understands(args); err != nil && !(mention && incomplete.MatchString(err.Error())) {
			t.Errorf("%s:%d: edgebroker %s: %v", name, line, text, err)
		}
	}
	for name, doc := range documents(t) {
		if name == "CHANGELOG.md" {
			continue // tells of what was
		}
		for _, b := range fences(doc) {
			switch b.language {
			case "sh", "console", "bash":
			default:
				continue
			}
			text := strings.ReplaceAll(b.text, "\\\n", strings.Repeat(" ", 2))
			for i, line := range strings.Split(text, "\n") {
				if b.language == "console" {
					var ok bool
					if line, ok = strings.CutPrefix(line, "$ "); !ok {
						continue
					}
				}
				if m := commandLine.FindStringSubmatch(line); m != nil && !strings.HasPrefix(strings.TrimSpace(line), "#") {
					check(name, b.line+i, m[1], false)
				}
			}
		}
		for i, line := range strings.Split(doc, "\n") {
			for _, m := range inline.FindAllStringSubmatch(line, -1) {
				check(name, i+1, m[1], true)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d command lines: the test does not test", n)
	}
}

func TestDocumentsCommandsRefuse(t *testing.T) {
	for _, line := range []string{"bridges probe cloud", "stats --blance", "no-such", "pub --qos one t m"} {
		if understands(words(line)) == nil {
			t.Errorf("edgebroker %s is taken", line)
		}
	}
	for line, want := range map[string]string{
		`pub 'a b' "c" d\ e | jq`: "pub|a b|c|d e", `stats >x`: "stats", `sub '#' # all`: "sub|#", `top;x`: "top",
	} {
		if got := strings.Join(words(line), "|"); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// What the handbook quotes of the program the program still says.
func TestHandbookQuotes(t *testing.T) {
	handbook := documents(t)["docs/HANDBOOK.md"]
	var source strings.Builder
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, quote := range []string{
		"is in use by another process", "not valid YAML", "can be reached from other machines, and there is no way to sign in",
		"storage cannot be used", "locked by another process", "reach control socket", "TLS handshake: ",
		"connection closed without an answer to CONNECT", "bad user name or password", "this listener lets nobody in who does not say who they are",
		"the answer is no MQTT", "the store is full, messages that must be stored are refused", "the disk has failed",
		"nothing listens there: correct the port in address, or start the far side", "going on with the one before", "unknown key; ", "did you mean ",
		"is not a whole number; write it in plain digits, without unit, quotes or leading zeros",
	} {
		if said := strings.TrimSuffix(quote, " "); !strings.Contains(handbook, said) {
			t.Errorf("the handbook does not say %q: take it out here, too", said)
		}
		if !strings.Contains(source.String(), quote) {
			t.Errorf("the program does not say %q any more", quote)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| .*\|$`).FindAllString(handbook, -1) { // reasons in tables of the last chapter
		for _, word := range regexp.MustCompile("`(not_[a-z]+|tls_handshake|no_subscribers|qos0_msg|queue_full|slow_consumer|memory_[a-z]+|takenover|protocol_error)`").FindAllStringSubmatch(m, -1) {
			if !strings.Contains(documents(t)["docs/REFERENCE.md"], "| `"+word[1]+"` |") {
				t.Errorf("there is no reason %s", word[1])
			}
		}
	}
}
