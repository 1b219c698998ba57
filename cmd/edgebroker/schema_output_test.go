package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/schematest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// shop runs commands and holds what they print against docs/api/cli.json.
type shop struct {
	t     *testing.T
	d     *schematest.Document
	quiet bool            // there is nothing to tell yet
	full  map[string]bool // "command format" that has printed something
	empty map[string]bool // and that has, while there was nothing to tell: of lists, an empty one
}

// anyFormat stands for json and jsonl in the words of a command.
const anyFormat = "FORMAT"

// ask runs the command of an entry in each format, with args behind -o FORMAT,
// and expects one of codes; none: 0. What is printed must be what the entry says.
func (s *shop) ask(entry string, codes []int, args ...string) {
	s.t.Helper()
	for name, what := range outputs()[entry] {
		words := strings.Fields(entry)
		words = append(words, "-o", name)
		for _, a := range args {
			words = append(words, strings.ReplaceAll(a, anyFormat, name))
		}
		r := edgebroker(s.t, words...)
		if len(codes) == 0 {
			codes = []int{exitOK}
		}
		if !slices.Contains(codes, r.code) {
			s.t.Errorf("%q: exit code %d, stderr %s", words, r.code, r.stderr)
		}
		s.hold(entry, name, what, r.stdout)
	}
}

// hold checks what a command has printed.
func (s *shop) hold(entry, name string, what printed, text string) {
	s.t.Helper()
	count := s.check(entry+" -o "+name, what, text, "commands", entry, name)
	if count > 0 {
		s.full[entry+" "+name] = true
	}
	if count == 0 && what.list && text != "[]\n" {
		s.t.Errorf("%s -o %s prints %q of an empty list", entry, name, text)
	}
	if s.quiet && (count == 0 || !outputs()[entry]["json"].list) {
		s.empty[entry+" "+name] = true
	}
	if what.lines || name == "jsonl" {
		return
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(text), "", "  "); err != nil || indented.String() != text {
		s.t.Errorf("%s -o %s is not indented as others: %s", entry, name, text)
	}
}

// check says how many documents there were, or items in a list.
func (s *shop) check(title string, what printed, text string, path ...string) (count int) {
	s.t.Helper()
	if what.lines || strings.HasSuffix(title, "jsonl") {
		for line := range strings.Lines(text) {
			count++
			s.d.Check(s.t, title, line, path...)
		}
		if !what.lines && count != 1 {
			s.t.Errorf("%s: %d lines for one document", title, count)
		}
		return count
	}
	s.d.Check(s.t, title, text, path...)
	if !what.list {
		return 1
	}
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		s.t.Error(err)
	}
	return len(items)
}

// TestCommandJSON runs every command that offers JSON, on a broker on which
// nothing has happened and on one on which everything has, and holds what it
// prints against docs/api/cli.json, with nothing in it that the document does not
// know, and nothing in the document that is never printed.
func TestCommandJSON(t *testing.T) {
	s := &shop{t: t, d: schematest.Load(t, cliDocument, apiDocument), full: map[string]bool{}, empty: map[string]bool{}}
	dir := t.TempDir()
	s.quiet = true
	s.emptyFolders(dir)
	s.emptyBroker(dir)
	s.quiet = false
	home := s.folders(dir)
	b := startBusy(t, home)
	s.busyBroker(b, home)
	data := b.stop()
	s.store(data, dir)
	s.neverHappens()
	for entry, formats := range outputs() {
		for name := range formats {
			if !s.full[entry+" "+name] {
				t.Errorf("%s -o %s was never seen with something in it", entry, name)
			}
		}
	}
	// Some need an uplink, a client or a message, bench brings messages along, and the
	// doctor always finds something, if only that all is well; so does import.
	never := []string{"bench", "bench --interval=10ms", "bench --repeat=2", "bridges dead-letters", "bridges dead-letters --discard", "bridges dead-letters --replay", "bridges show", "bridges test", "clients show", "doctor", "import mosquitto", "sub", "trace"}
	for _, entry := range slices.Sorted(maps.Keys(outputs())) {
		for name := range outputs()[entry] {
			if !s.empty[entry+" "+name] && !slices.Contains(never, entry) {
				t.Errorf("%s -o %s was never seen with nothing in it", entry, name)
			}
		}
	}
	s.d.Uncovered(t, "BuildInfo.commit BuildInfo.built", "$defs") // of a binary that was built in a repository
}

// emptyFolders asks about files in which nothing is.
func (s *shop) emptyFolders(dir string) {
	write(s.t, filepath.Join(dir, "nobody"), "# nobody\n")
	write(s.t, filepath.Join(dir, "fine"), "allow user=ann publish plant/a\n")
	s.ask("version", nil)
	s.ask("users list", nil, "--file", filepath.Join(dir, "nobody"))
	s.ask("acl check", nil, "--rules", filepath.Join(dir, "fine"))
	s.ask("acl test", []int{exitError}, "--rules", filepath.Join(dir, "nobody"), "--topic", "plant/#", "--action", "subscribe")
	s.ask("device list", nil, "--dir", dir)
	s.ask("devices", nil, "--dir", dir)
	for command, want := range map[string]string{"users list --file " + dir + "/nobody": "there are no users; ", "device list --dir " + dir: "there are no devices; ", "devices --dir " + dir: "there are no devices; "} {
		if r := edgebroker(s.t, strings.Fields(command)...); !strings.HasPrefix(r.stdout, want) || r.code != exitOK {
			s.t.Errorf("%s: exit code %d, %q", command, r.code, r.stdout)
		}
	}
}

// emptyBroker asks one on which nothing has happened.
func (s *shop) emptyBroker(dir string) {
	b := startBroker(s.t, nil)
	for _, entry := range []string{"bridges list", "clients list", "drops", "fleet", "health", "log level", "reload", "retained list", "stats", "stats --balance", "store info", "topics"} {
		s.ask(entry, nil)
	}
	s.ask("who", nil, "#")
	s.ask("retained show", nil, "#")
	s.ask("retained clear", nil, "#")
	s.ask("events", nil, "--since", "1h")
	s.ask("doctor", []int{exitOK, exitDegraded})
	s.ask("debug bundle", nil, filepath.Join(dir, "empty-"+anyFormat+".tar.gz"))
	s.bundle(filepath.Join(dir, "empty-json.tar.gz"))
	data := b.stop()
	s.ask("store dump", nil, "--data", data)
	s.ask("store verify", nil, "--data", data)
	if r := edgebroker(s.t, "store", "dump", "--data", data); r.stdout != "nothing is stored: no session, no message\n" {
		s.t.Errorf("store dump of an empty store: %q, %q", r.stdout, r.stderr)
	}
}

// folders makes a home with devices, users and rules, asks about it, and returns
// it.
func (s *shop) folders(dir string) (home string) {
	home = filepath.Join(dir, "home")
	write(s.t, filepath.Join(dir, "secret"), "correct horse battery\n")
	for _, words := range [][]string{
		{"init", "--dir", home, "--data", filepath.Join(home, "data"), "--host", "127.0.0.1"},
		{"device", "add", "--dir", home, "--cert", "--group", "panels", "panel-2"},
		{"device", "add", "--dir", home, "pump-1"},
		{"users", "add", "--file", filepath.Join(home, "users"), "--password-file", filepath.Join(dir, "secret"), "--group", "ops", "ann"},
	} {
		if r := edgebroker(s.t, words...); r.code != exitOK {
			s.t.Fatalf("%q: %s", words, r.stderr)
		}
	}
	s.ask("users list", nil, "--file", filepath.Join(home, "users"))
	s.ask("device list", nil, "--dir", home)
	s.ask("devices", nil, "--dir", home)
	s.ask("doctor", []int{exitOK, exitDegraded}, "--config", filepath.Join(home, "edgebroker.yml"))
	write(s.t, filepath.Join(dir, "bad.yml"), "listeners: [{addres: here}]\n")
	s.ask("doctor", []int{exitUsage}, "--config", filepath.Join(dir, "bad.yml"))
	write(s.t, filepath.Join(dir, "odd"), "deny client=c cert=x publish plant/x\nallow any all #\nallow any publish never\n")
	write(s.t, filepath.Join(dir, "none"), "# no rules\n")
	write(s.t, filepath.Join(dir, "mosquitto.conf"), "listener 1883\nmount_point x/\n")
	s.ask("import mosquitto", []int{exitError}, "--out", dir, filepath.Join(dir, "mosquitto.conf"))
	s.ask("acl check", []int{exitError}, "--rules", filepath.Join(dir, "odd"), "--rules", filepath.Join(dir, "none"))
	s.ask("acl test", nil, "--rules", filepath.Join(dir, "odd"), "--user", "ann", "--client", "c", "--group", "ops", "--cert", "y", "--listener", "lan", "--topic", "plant/x", "--action", "publish")
	s.ask("acl test", []int{exitError}, "--rules", filepath.Join(dir, "none"), "--topic", "plant/#", "--action", "subscribe")
	return home
}

// busyBroker asks one on which everything has happened.
func (s *shop) busyBroker(b *runningBroker, home string) {
	for _, entry := range []string{"bridges list", "clients list", "drops", "fleet", "health", "log level", "retained list", "stats", "stats --balance", "topics"} {
		s.ask(entry, nil)
	}
	s.ask("log level", nil, "warn")
	s.ask("store info", nil, "--endurance", "30TB")
	s.ask("who", nil, "#")
	s.ask("retained show", nil, "#")
	s.ask("clients show", nil, "pump-7")
	s.ask("bridges show", nil, "up")
	s.ask("bridges test", nil, "up")
	s.ask("events", nil, "--since", "1h")
	s.ask("drops", nil, "--since", "1h")
	s.ask("doctor", []int{exitOK, exitDegraded}, "--config", filepath.Join(home, "edgebroker.yml"))
	s.ask("reload", nil, "--dry-run")
	s.ask("debug bundle", nil, filepath.Join(home, "busy-"+anyFormat+".tar.gz"))
	s.bundle(filepath.Join(home, "busy-json.tar.gz"))
	s.ask("debug bundle", []int{exitUnreachable}, "--socket", filepath.Join(home, "none.sock"), filepath.Join(home, "none-"+anyFormat+".tar.gz"))
	s.bundle(filepath.Join(home, "none-json.tar.gz"))
	s.ask("bench", nil, "--address", b.addr, "--clients", "1", "--count", "20", "--qos", "1", "--pid", strconv.Itoa(os.Getpid()))
	s.ask("bench", nil, "--address", b.addr, "--clients", "1", "--count", "20", "--rate", "1000")
	s.ask("bench", nil, "--address", b.addr, "--clients", "1", "--count", "20", "--version", "5", "--topics", "2", "--wildcard", "1", "--subscriptions", "3", "--stalled", "1",
		"--user-properties", "1", "--aliases", "--retain", "--qos", "1", "--window", "2")
	s.ask("bench --interval=10ms", nil, "--address", b.addr, "--clients", "1", "--qos", "1", "--window", "2", "--duration", "100ms", "--warmup", "1ms")
	s.ask("bench --repeat=2", nil, "--address", b.addr, "--clients", "1", "--qos", "1", "--window", "2", "--duration", "20ms", "--warmup", "1ms", "--rate", "10%")
	s.ask("bench", nil, "--address", b.addr, "--client", "paho", "--clients", "1", "--count", "3", "--qos", "1", "--window", "1")
	s.ask("bench", nil, "--address", b.addr, "--scenario", "connect", "--clients", "2", "--stay", "1ms")
	s.ask("bench", []int{exitError}, "--address", b.addr, "--scenario", "connect", "--clients", "1", "--username", "nobody", "--password", "x")
	s.ask("bench", nil, "--address", b.addr, "--scenario", "idle", "--clients", "1", "--duration", "1ms", "--warmup", "1ms")
	s.ask("sub", nil, "--address", b.addr, "--retained-only", "--count", "2", "rich/+")
	s.trace(b)
	for _, entry := range []string{"bridges dead-letters", "bridges dead-letters --replay", "bridges dead-letters --discard"} {
		s.ask(entry, nil, "up")
	}
	s.ask("retained clear", nil, "--yes", "clear/#")
}

// trace traces a client while it connects.
func (s *shop) trace(b *runningBroker) {
	for name, what := range outputs()["trace"] {
		out := &brokertest.Log{}
		ctx, cancel := context.WithTimeout(s.t.Context(), brokertest.Patience)
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, []string{program, "trace", "-o", name, "--client", "traced-" + name, "--payload", "--count", "4"}, strings.NewReader(""), out, io.Discard)
		}()
		brokertest.WaitFor(s.t, "the trace", func() bool { return strings.Contains(out.String(), "\n") })
		c := brokertest.Dial(s.t, b.addr, brokertest.Clean(wire.V5, "traced-"+name))
		c.Publish("traced", "payload", 1, false)
		c.Disconnect()
		if got := <-code; got != exitOK {
			s.t.Errorf("trace -o %s: exit code %d", name, got)
		}
		cancel()
		s.hold("trace", name, what, out.String())
	}
}

// bundle looks into what debug bundle has written.
func (s *shop) bundle(path string) {
	parts := unbundle(s.t, path)
	n := 0
	for name, what := range bundleFiles() {
		if text, ok := parts["edgebroker/"+name]; ok {
			n++
			s.check(name, what, text, "bundle", name)
		}
	}
	if silent := strings.Contains(path, "none-"); silent != (n != len(bundleFiles())) {
		s.t.Errorf("%s has %d files of JSON", path, n)
	}
}

// store asks about a store that no broker has open, and about a damaged copy.
func (s *shop) store(data, dir string) {
	s.ask("store info", nil, "--data", data)
	s.ask("store dump", nil, "--data", data)
	s.ask("store dump", nil, "--data", data, "--payloads")
	s.ask("store verify", nil, "--data", data)
	damaged := filepath.Join(dir, "damaged")
	if err := os.CopyFS(damaged, os.DirFS(data)); err != nil {
		s.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(damaged, "*.seg"))
	if err != nil {
		s.t.Fatal(err)
	}
	hits := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, marker := range []string{"retained-marker", "queued-marker"} {
			hits += bytes.Count(text, []byte(marker))
			text = bytes.ReplaceAll(text, []byte(marker), bytes.ToUpper([]byte(marker)))
		}
		write(s.t, path, string(text))
	}
	if hits < 2 {
		s.t.Fatalf("%d messages to damage", hits)
	}
	s.ask("store verify", []int{exitError}, "--data", damaged)
	s.ask("store dump", nil, "--data", damaged)
}

// neverHappens is what no broker does within a test's time, said by the same code.
func (s *shop) neverHappens() {
	info := liveInfo(&statsd.Snapshot{Storage: statsd.Storage{State: statsd.StorageFull, Reason: "no room", Age: 1e6, LifetimeBytes: 1e9, Budget: &statsd.WriteBudget{DailyBytes: 1 << 30}}})
	info.estimate(30e12)
	s.said("store info", func(w io.Writer) error { return writeJSON(w, info, true) })
	again := paho.PublishFromPacketPublish(&packets.Publish{Topic: "a", QoS: 1, Duplicate: true, Payload: []byte{0xff}, Properties: &packets.Properties{}})
	for _, name := range []string{"json", "jsonl"} {
		s.said("sub", func(w io.Writer) error { return writeMessage(w, name, again, time.Now()) })
	}
}

// said checks what print prints as the JSON of a command.
func (s *shop) said(entry string, print func(io.Writer) error) {
	var out bytes.Buffer
	if err := print(&out); err != nil {
		s.t.Fatal(err)
	}
	s.check(entry, outputs()[entry]["json"], out.String(), "commands", entry, "json")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
