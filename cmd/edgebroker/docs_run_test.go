package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// The folder and the ports that docs/GETTING-STARTED.md speaks of.
const walkFolder = "/srv/mqtt"

var walkPorts = []string{"8883", "1883", "8080", "2883"}

// TestGettingStarted does what docs/GETTING-STARTED.md tells a newcomer to do, and
// compares what is printed with what the document shows, but for numbers, times,
// passwords and random names. A line "..." there stands for any lines.
func TestGettingStarted(t *testing.T) {
	w := newWalk(t, "docs/GETTING-STARTED.md")
	var ports []string
	for i, at := range brokertest.Ports(t, len(walkPorts)) {
		ports = append(ports, ":"+walkPorts[i], at[strings.LastIndexByte(at, ':'):])
	}
	w.ports = strings.NewReplacer(ports...)
	n := 0
	for _, b := range fences(documents(t)[w.doc]) {
		switch b.language {
		case "console":
			for _, s := range consoleSteps(b) {
				n++
				w.do(t, s)
			}
		case "text":
			n++
			w.shows(t, b)
		}
	}
	if n < 20 {
		t.Errorf("only %d steps: the test does not test", n)
	}
}

// step is a command, and the output that the document shows.
type step struct {
	line    int
	command string
	want    []string
}

// consoleSteps takes a block apart: commands begin with "$ ", and go on behind a
// backslash and to the end of a here-document.
func consoleSteps(b fence) (steps []step) {
	lines := strings.Split(strings.TrimSuffix(b.text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		command, ok := strings.CutPrefix(lines[i], "$ ")
		if !ok {
			if n := len(steps); n > 0 {
				steps[n-1].want = append(steps[n-1].want, lines[i])
			}
			continue
		}
		at := b.line + i
		for strings.HasSuffix(command, `\`) && i+1 < len(lines) {
			i++
			command = strings.TrimSuffix(command, `\`) + strings.TrimSpace(lines[i])
		}
		if strings.Contains(command, "<<'END'") {
			for more := true; more && i+1 < len(lines); {
				i++
				command += "\n" + lines[i]
				more = lines[i] != "END"
			}
		}
		steps = append(steps, step{line: at, command: command})
	}
	return steps
}

// walk is how far a reader of a document has come.
type walk struct {
	doc     string // its path
	dir     string
	ports   *strings.Replacer
	learned map[string]string // passwords: what the document has, what was printed
	reader  *terminal         // the last that goes on
	read    int               // bytes of it that have been looked at
	behind  []*background     // commands that go on in the same terminal
	broker  string            // address of the one for which commands that name none are; empty: the usual one
}

// newWalk begins to read the document at path.
func newWalk(t *testing.T, path string) *walk {
	t.Helper()
	if raceEnabled {
		t.Skip("the binary that it runs takes ten times as long with the race detector; the step documents of scripts/check.sh runs it without")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh")
	}
	return &walk{doc: path, dir: t.TempDir(), ports: strings.NewReplacer(), learned: map[string]string{}}
}

// terminal is the output of a command that goes on.
type terminal struct {
	mu  sync.Mutex
	out strings.Builder
}

func (o *terminal) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.Write(b)
}

func (o *terminal) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.String()
}

var (
	goesOn   = regexp.MustCompile(`^edgebroker (serve|sub) `)
	looks    = regexp.MustCompile(`^edgebroker (clients list|bridges list|events --since|drops|health|check|stats)\b`)
	named    = regexp.MustCompile(` --id (\S+)`)
	password = regexp.MustCompile(`\b[a-z0-9]{4}(?:-[a-z0-9]{4}){4,}\b`)
)

func (w *walk) shell(t *testing.T, command string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "EDGEBROKER_SOCKET="+filepath.Join(w.dir, "control.sock"), "GORACE=atexit_sleep_ms=0", "TZ=UTC", "PWD="+w.dir)
	return cmd
}

func (w *walk) do(t *testing.T, s step) {
	t.Helper()
	command := w.aimed(w.ports.Replace(s.command))
	for told, printed := range w.learned {
		command = strings.ReplaceAll(command, told, printed)
	}
	if before, ok := strings.CutSuffix(command, " &"); ok {
		w.startBehind(t, before)
		return
	}
	if goesOn.MatchString(command) {
		w.start(t, s, command)
		return
	}
	var out, why string
	t.Cleanup(func() {
		if t.Failed() && why != "" {
			t.Logf("%s:%d: %s\n%s\nprinted:\n%s", w.doc, s.line, s.command, why, out)
		}
	})
	try := func() bool {
		text, _ := w.shell(t, command).CombinedOutput() // whether it should fail, the document shows
		out = string(text)
		why = w.compare(s.want, out)
		return why == ""
	}
	switch {
	case looks.MatchString(command):
		brokertest.WaitFor(t, fmt.Sprintf("what line %d shows: %s", s.line, s.command), try)
	case try():
	case len(w.behind) > 0: // which may print what the document shows
		own := out
		brokertest.WaitFor(t, fmt.Sprintf("what line %d shows: %s", s.line, s.command), func() bool {
			out = own + w.behindOutput()
			why = w.compare(s.want, out)
			return why == ""
		})
		w.behindRead()
	default:
		t.FailNow()
	}
	if strings.HasPrefix(command, "edgebroker init ") {
		w.movePorts(t)
	}
}

// movePorts puts free ports into the config.
func (w *walk) movePorts(t *testing.T) {
	path := filepath.Join(w.dir, "broker", "edgebroker.yml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(w.ports.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs what goes on in a terminal of its own, and returns when it has printed
// what the document shows or, if that is nothing, when it is a client that has
// subscribed.
func (w *walk) start(t *testing.T, s step, command string) {
	t.Helper()
	o := w.spawn(t, command)
	brokertest.WaitFor(t, s.command, func() bool {
		if id := named.FindStringSubmatch(command); id != nil {
			out, _ := w.shell(t, "edgebroker clients show -o json "+id[1]).Output()
			return strings.Contains(string(out), `"subscriptions": 1`)
		}
		return w.compare(s.want, o.String()) == ""
	})
	if strings.HasPrefix(command, "edgebroker sub ") {
		w.reader, w.read = o, 0
	}
}

// shows waits for what the last subscriber prints.
func (w *walk) shows(t *testing.T, b fence) {
	t.Helper()
	if w.reader == nil {
		t.Fatalf("%s:%d: nobody is there to show this", w.doc, b.line)
	}
	want := w.read + len(b.text)
	brokertest.WaitFor(t, "the output at line "+fmt.Sprint(b.line), func() bool {
		out := w.reader.String()
		return len(out) >= want && out[w.read:want] == b.text
	})
	w.read = want
}

// compare says how out differs from what the document shows, and remembers the
// passwords in it.
func (w *walk) compare(want []string, out string) string {
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if out == "" {
		got = nil
	}
	at, any := 0, false
	for _, line := range want {
		if line == "..." {
			any = true
			continue
		}
		found := at
		for any && found < len(got) && w.shape(got[found]) != w.shape(line) {
			found++
		}
		if found >= len(got) || w.shape(got[found]) != w.shape(line) {
			return fmt.Sprintf("line %q of the document was not printed", line)
		}
		if told := password.FindString(line); told != "" {
			w.learned[told] = password.FindString(got[found])
		}
		at, any = found+1, false
	}
	if at < len(got) && !any {
		return fmt.Sprintf("line %q is not in the document", got[at])
	}
	return ""
}

var shapes = []struct {
	re *regexp.Regexp
	to string
}{
	{password, "PASSWORD"},
	{regexp.MustCompile(`\bedgebroker-(pub|sub)-[a-z0-9]{8}\b`), "edgebroker-$1-ID"},
	{regexp.MustCompile(`\b(version)=\S+`), "$1=V"},
	{regexp.MustCompile(`[0-9]+`), "0"},
	{regexp.MustCompile(`0(?:[.,]0)* ?(?:ns|µs|us|ms|s|m|h|B|[KMG]i?B)\b`), "0u"},
	{regexp.MustCompile(`(?:0u)+`), "0u"},
	{regexp.MustCompile(`\b0\.0\b`), "0"},
	{regexp.MustCompile(`\s+`), " "},
}

// shape is a line without what differs from one time to the next.
func (w *walk) shape(line string) string {
	line = strings.ReplaceAll(line, w.dir, walkFolder)
	for _, s := range shapes {
		line = s.re.ReplaceAllString(line, s.to)
	}
	return strings.TrimRight(line, " ")
}
