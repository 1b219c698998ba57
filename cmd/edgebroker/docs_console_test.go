package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// background is a command that was begun with an & at its end.
type background struct {
	*terminal
	read int // bytes that have been looked at
}

// unread is what it has printed since.
func (b *background) unread() string { return b.String()[b.read:] }

// behindOutput is what the commands in the background have printed that no command
// was shown to cause.
func (w *walk) behindOutput() (text string) {
	for _, b := range w.behind {
		text += b.unread()
	}
	return text
}

func (w *walk) behindRead() {
	for _, b := range w.behind {
		b.read += len(b.unread())
	}
}

// startBehind begins a command in the background, and returns when it is at it: a
// subscriber has subscribed, a watcher of events shows them.
func (w *walk) startBehind(t *testing.T, command string) {
	t.Helper()
	b := &background{terminal: w.spawn(t, command)}
	if strings.HasPrefix(command, "edgebroker events") {
		n := 0
		brokertest.WaitFor(t, command, func() bool {
			if !strings.Contains(b.String(), "connection") {
				n++
				w.shellQuiet(t, w.aimed("edgebroker pub not/in/the/document 1"))
			}
			return strings.Contains(b.String(), "disconnection") &&
				strings.Count(b.String(), "  connection ") == strings.Count(b.String(), "  disconnection ")
		})
	} else {
		brokertest.WaitFor(t, command, func() bool {
			out, _ := w.shell(t, "edgebroker stats -o json").Output()
			return strings.Contains(string(out), `"subscriptions": {
    "total": 1`)
		})
	}
	w.behind = append(w.behind, b)
	w.behindRead()
}

// spawn begins command, which ends with the test.
func (w *walk) spawn(t *testing.T, command string) *terminal {
	t.Helper()
	o := &terminal{}
	cmd := w.shell(t, "exec "+command)
	cmd.Stdout, cmd.Stderr = o, o
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s\n%s", command, o)
		}
	})
	return o
}

func (w *walk) shellQuiet(t *testing.T, command string) { _ = w.shell(t, command).Run() }

// aimed is command with the broker's address, if it is one for the usual port.
func (w *walk) aimed(command string) string {
	if w.broker == "" {
		return command
	}
	return usual.ReplaceAllString(command, "edgebroker $1 --address "+w.broker+" ")
}

var (
	usual   = regexp.MustCompile(`^edgebroker (pub|sub) `)
	install = regexp.MustCompile(`^go install `)
)

// serve runs a broker, by a config in which PORT stands for a free port and DIR for
// the folder, and returns when it is ready.
func (w *walk) serve(t *testing.T, config string) {
	t.Helper()
	w.broker = brokertest.Ports(t, 1)[0]
	_, port, err := net.SplitHostPort(w.broker)
	if err != nil {
		t.Fatal(err)
	}
	config = strings.NewReplacer("PORT", port, "DIR", w.dir).Replace(config)
	if err := os.WriteFile(filepath.Join(w.dir, "edgebroker.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := w.spawn(t, "edgebroker serve --config edgebroker.yml")
	brokertest.WaitFor(t, "a broker", func() bool { return strings.Contains(log.String(), `msg="ready; `) })
}

// console does the steps of all blocks but those that skip names by their first
// command, and checks that there are as many as want.
func (w *walk) console(t *testing.T, skip map[string]string, want int) {
	t.Helper()
	n, skipped := 0, 0
	for _, b := range fences(documents(t)[w.doc]) {
		if b.language != "console" {
			continue
		}
		steps := consoleSteps(b)
		if _, ok := skip[steps[0].command]; ok {
			skipped++
			continue
		}
		shows := slices.ContainsFunc(steps, func(s step) bool { return len(s.want) > 0 })
		for _, s := range steps {
			switch {
			case install.MatchString(s.command):
				continue
			case shows:
				w.do(t, s)
			default:
				w.works(t, s)
			}
			n++
		}
	}
	if n != want || skipped != len(skip) {
		t.Errorf("%d commands of %s, want %d; %d blocks left out, want %d", n, w.doc, want, skipped, len(skip))
	}
}

// works does a step of a block in which no output is shown, and says yes if asked.
func (w *walk) works(t *testing.T, s step) {
	t.Helper()
	cmd := w.shell(t, w.aimed(s.command))
	cmd.Stdin = strings.NewReader("yes\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s:%d: %s: %v\n%s", w.doc, s.line, s.command, err, out)
	}
}

// notRun are the blocks of commands with their output that no test runs, by document
// and first command, and why not.
var notRun = map[string]map[string]string{
	"docs/ANSWERS.md": {
		"edgebroker who 'plant/+/temp'": "shows two clients, one of which came three hours ago",
		"edgebroker topics --top 3":     "shows a hundred and ninety thousand messages",
	},
	"docs/API.md": {"curl -N -u ann -H 'Accept: text/event-stream' 'http://127.0.0.1:8080/v1/events?type=connection'": "curl is not everywhere; the tests of rest speak it"},
	"docs/BENCH.md": {
		"edgebroker bench --address 127.0.0.1:1883 --qos 0,1":          "takes the whole machine for half a minute",
		"edgebroker bench --rate 25%,50% --duration 10s":               "the same",
		"edgebroker bench --scenario connect --clients 2000 --stay 1s": "the same",
	},
	"docs/EVENTS.md":     {"edgebroker events --since 2h --client pump-7": "shows no output; TestScript runs these in history.txtar"},
	"docs/FLEET.md":      {"edgebroker fleet": "shows three gateways, of which one is away"},
	"docs/MONITORING.md": {"edgebroker check --clients 10:,1:": "shows 198 clients; TestHandbook runs the same command"},
	"docs/RELOAD.md":     {"edgebroker reload --dry-run": "shows clients whose users and rules change; TestScript does that in reload.txtar"},
	"docs/TRACE.md":      {"edgebroker trace --client pump-7 --payload": "shows a client of another make"},
}

// runBy are the documents whose other blocks are run.
var runBy = map[string]string{"README.md": "TestREADME", "docs/GETTING-STARTED.md": "TestGettingStarted", "docs/HANDBOOK.md": "TestHandbook", "docs/ANSWERS.md": "TestAnswers"}

// Each block of commands with their output is run, or it is said here why not.
func TestDocumentsConsole(t *testing.T) {
	seen := 0
	for name, doc := range documents(t) {
		for _, b := range fences(doc) {
			if b.language != "console" {
				continue
			}
			steps := consoleSteps(b)
			if len(steps) == 0 {
				t.Errorf("%s:%d: no command in a block of the kind console", name, b.line)
				continue
			}
			_, left := notRun[name][steps[0].command]
			if left {
				seen++
			}
			if !left && runBy[name] == "" {
				t.Errorf("%s:%d: no test runs `%s`: have one do so, or say in notRun why not", name, b.line, steps[0].command)
			}
		}
	}
	all := 0
	for _, blocks := range notRun {
		all += len(blocks)
	}
	if seen != all {
		t.Errorf("%d of the %d blocks of notRun are there", seen, all)
	}
}

// TestREADME does what the README shows with a broker that runs.
func TestREADME(t *testing.T) {
	w := newWalk(t, "README.md")
	w.serve(t, "listeners: [{name: local, address: \"127.0.0.1:PORT\"}]\n")
	w.console(t, nil, 7)
}

// TestHandbook does what the handbook shows, with a broker that has a certificate, a
// store, and an uplink to where nobody listens.
func TestHandbook(t *testing.T) {
	w := newWalk(t, "docs/HANDBOOK.md")
	if out, err := w.shell(t, "edgebroker init --dir broker --host 127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bad := "listeners:\n  - name: lan\n    adress: 127.0.0.1:1883\n    type: tsl\nlimits: {max_connections: ten}\nmemory: 1\n"
	if err := os.WriteFile(filepath.Join(w.dir, "bad.yml"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	w.serve(t, fmt.Sprintf(`
listeners:
  - {name: local, address: "127.0.0.1:PORT"}
  - {name: lan, type: tls, address: "127.0.0.1:0", certificate: DIR/broker/pki/server.crt, key: DIR/broker/pki/server.key}
storage: {directory: DIR/data}
bridges: [{name: cloud, address: "mqtt://%s", topics: [{filter: "#", direction: out}]}]
`, brokertest.Ports(t, 1)[0]))
	w.spawn(t, w.aimed("edgebroker sub plant/#"))
	w.shellQuiet(t, "edgebroker bridges pause cloud") // or check would speak of it
	w.console(t, nil, 4)
}

// TestAnswers does what docs/ANSWERS.md shows.
func TestAnswers(t *testing.T) {
	w := newWalk(t, "docs/ANSWERS.md")
	w.serve(t, "listeners: [{name: local, address: \"127.0.0.1:PORT\"}]\n")
	w.spawn(t, w.aimed("edgebroker sub --id panel-2 plant/#"))
	brokertest.WaitFor(t, "panel-2", func() bool { return w.shell(t, "edgebroker clients show panel-2").Run() == nil })
	for _, topic := range []string{"plant/7/state", "old/1"} {
		w.shellQuiet(t, w.aimed("edgebroker pub --retain "+topic+" 1"))
	}
	w.console(t, notRun[w.doc], 10)
}
