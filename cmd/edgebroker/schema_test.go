package main

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/doctor"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/schema"
	"github.com/synthetism/edgebroker/moving"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/trace"
)

var update = flag.Bool("update", false, "write docs/api/cli.json anew")

const (
	sourceRoot  = "../.."
	cliDocument = sourceRoot + "/docs/api/cli.json"
	apiDocument = sourceRoot + "/docs/api/openapi.json"
)

const cliIntroduction = "JSON Schemas (2020-12) of what the commands of edgebroker print with -o json and -o jsonl: commands has them by command and format, " +
	"bundle those of the JSON files in what edgebroker debug bundle writes, and $defs the types that belong to no answer of the control API; the others are in openapi.json. " +
	"With -o jsonl each document is one line. Fields are added, and never renamed or removed, as long as version is 1: ignore what you do not know. " +
	"Durations are in seconds and sizes in bytes. See docs/API.md."

// printed is what a command prints in a format: one document, or one in each line.
type printed struct {
	types []reflect.Type // one of these
	list  bool           // an array of them
	lines bool
}

// output is what a command prints, by format.
type output map[string]printed

func typesOf(of []any) []reflect.Type {
	var list []reflect.Type
	for _, v := range of {
		list = append(list, reflect.TypeOf(v))
	}
	return list
}

// document is the output of a command that prints one of a type; list of one
// that prints a list, of one of some types each; stream of one that prints line
// after line, in any format.
func document(of any) output {
	one := printed{types: typesOf([]any{of})}
	return output{"json": one, "jsonl": one}
}

func list(of ...any) output {
	types := typesOf(of)
	return output{"json": {types: types, list: true}, "jsonl": {types: types, lines: true}}
}

func stream(of any) output {
	lines := printed{types: typesOf([]any{of}), lines: true}
	return output{"json": lines, "jsonl": lines}
}

// outputs is what the commands print as JSON, by their words and, where a flag
// makes another document of it, that.
func outputs() map[string]output {
	devices := list(device{})
	return map[string]output{
		"acl check":                      list(aclFinding{}),
		"acl test":                       document(aclVerdict{}),
		"bench":                          document(bench.Result{}),
		"bench --interval=10ms":          {"json": document(bench.Result{})["json"], "jsonl": list(bench.Result{}, bench.Progress{})["jsonl"]},
		"bench --repeat=2":               list(bench.Result{}), // and where flags list several values
		"bridges dead-letters":           {"json": document(statsd.DeadLetters{})["json"], "jsonl": list(statsd.DeadLetter{})["jsonl"]},
		"bridges dead-letters --discard": document(statsd.DeadLettersDone{}),
		"bridges dead-letters --replay":  document(statsd.DeadLettersDone{}),
		"bridges list":                   list(statsd.Bridge{}),
		"bridges show":                   document(statsd.Bridge{}),
		"bridges test":                   document(statsd.BridgeTest{}),
		"clients list":                   list(statsd.Client{}),
		"clients show":                   document(statsd.Client{}),
		"debug bundle":                   document(bundled{}),
		"device list":                    devices,
		"devices":                        devices,
		"doctor":                         list(doctor.Finding{}),
		"drops":                          list(statsd.Loss{}),
		"events":                         stream(events.Event{}),
		"fleet":                          document(statsd.Fleet{}),
		"import mosquitto":               list(moving.Outcome{}),
		"health":                         document(statsd.Health{}),
		"log level":                      document(statsd.LogLevel{}),
		"reload":                         document(statsd.Reloaded{}),
		"retained clear":                 document(statsd.Cleared{}),
		"retained list":                  list(statsd.Retained{}),
		"retained show":                  list(statsd.Retained{}),
		"stats":                          document(statsd.Snapshot{}),
		"stats --balance":                document(statsd.Balance{}),
		"store dump":                     list(dumpedSession{}, dumpedMessage{}),
		"store info":                     document(storeInfo{}),
		"store verify":                   list(storeDamage{}),
		"sub":                            stream(messageJSON{}),
		"topics":                         document(statsd.Topics{}),
		"trace":                          stream(trace.Entry{}),
		"users list":                     list(listedUser{}),
		"version":                        document(buildInfo{}),
		"who":                            list(statsd.TopicPublishers{}),
	}
}

// bundleFiles is what the JSON files of a bundle hold.
func bundleFiles() map[string]printed {
	return map[string]printed{
		"balance.json":   document(statsd.Balance{})["json"],
		"clients.json":   list(statsd.Client{})["json"],
		"config.json":    list(statsd.Setting{})["json"],
		"doctor.json":    list(doctor.Finding{})["json"],
		"drops.json":     list(statsd.Loss{})["json"],
		"events.jsonl":   stream(events.Event{})["jsonl"],
		"health.json":    document(statsd.Health{})["json"],
		"log-level.json": document(statsd.LogLevel{})["json"],
		"stats.json":     document(statsd.Snapshot{})["json"],
		"store.json":     document(storeInfo{})["json"],
		"version.json":   document(bundledVersions{})["json"],
	}
}

// cliSchemas is the document that describes all of it.
func cliSchemas() ([]byte, error) {
	c, err := schema.ReadComments(sourceRoot, "cmd/edgebroker", "bench", "doctor", "moving")
	if err != nil {
		return nil, err
	}
	s := &schema.Set{Comments: c, Prefix: "#/$defs/", Elsewhere: func(t reflect.Type) (string, bool) {
		of := path.Base(t.PkgPath())
		return path.Base(apiDocument) + "#/components/schemas/" + schema.Name(t), t.Kind() == reflect.Struct && (of == "statsd" || of == "events" || of == "trace")
	}}
	var commands, files schema.Object
	all := outputs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var formats schema.Object
		for _, format := range slices.Sorted(maps.Keys(all[name])) {
			formats = formats.With(format, all[name][format].schema(s))
		}
		commands = commands.With(name, formats)
	}
	parts := bundleFiles()
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		files = files.With(name, parts[name].schema(s))
	}
	defs, err := s.Schemas()
	if err != nil {
		return nil, err
	}
	return schema.Object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "edgebroker: JSON of the commands"}, {"description", cliIntroduction}, {"version", "1"},
		{"commands", commands}, {"bundle", files}, {"$defs", defs},
	}.Text()
}

// schema is that of the document, or of each line.
func (p printed) schema(s *schema.Set) schema.Object {
	one := schema.Object{}
	if len(p.types) == 1 {
		one = s.Of(p.types[0])
	} else {
		var kinds []schema.Object
		for _, t := range p.types {
			kinds = append(kinds, s.Of(t))
		}
		one = one.With("oneOf", kinds)
	}
	switch {
	case p.list:
		return schema.Object{{"type", "array"}, {"items", one}}
	case p.lines:
		return one.With("description", "of each line")
	}
	return one
}

// TestCommandSchemasAreUpToDate compares the committed document with the types as
// they are.
func TestCommandSchemasAreUpToDate(t *testing.T) {
	want, err := cliSchemas()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(cliDocument, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(cliDocument)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run go test ./cmd/edgebroker -run TestCommandSchemasAreUpToDate -update and commit it", cliDocument)
	}
}

// jsonFormats are those of the formats that a command offers that are JSON, nil
// if it has no -o.
func jsonFormats(t *testing.T, c *cli.Command) (formats []string) {
	t.Helper()
	for _, f := range c.Flags {
		if !slices.Contains(f.Names(), "output") && !slices.Contains(f.Names(), "o") {
			continue
		}
		usage, ok := strings.CutPrefix(f.(*cli.StringFlag).Usage, "`FORMAT`: ")
		if !ok {
			t.Errorf("%s: %q does not list the formats as others do", c.Name, f.(*cli.StringFlag).Usage)
		}
		for name := range strings.SplitSeq(usage, ", ") {
			if strings.Contains(name, "json") {
				formats = append(formats, name)
			} else if !slices.Contains([]string{"table", "text", "raw", "prom", "hdr"}, name) {
				t.Errorf("%s: is %s JSON? This test does not know it", c.Name, name)
			}
		}
	}
	return formats
}

// Every command that offers JSON offers it as a document and in lines, and is
// described; and nothing else is.
func TestEveryCommandWithJSONHasASchema(t *testing.T) {
	described := outputs()
	n := 0
	eachCommand(newApp(&env{}).Commands, nil, func(words []string, c *cli.Command) {
		name := strings.Join(words, " ")
		formats := jsonFormats(t, c)
		if formats == nil {
			if described[name] != nil {
				t.Errorf("%s is described, and offers no JSON", name)
			}
			return
		}
		n++
		if !slices.Equal(formats, []string{"json", "jsonl"}) {
			t.Errorf("%s offers %v; all others json and jsonl", name, formats)
		}
		variants := 0
		for entry, out := range described {
			if command, _, _ := strings.Cut(entry, " --"); command != name {
				continue
			}
			variants++
			if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, formats) {
				t.Errorf("%s offers %v, and is described in %v", entry, formats, got)
			}
			delete(described, entry)
		}
		if variants == 0 {
			t.Errorf("%s offers JSON of which docs/api/cli.json knows nothing; add it to outputs", name)
		}
	})
	for entry := range described {
		t.Errorf("%s is described, and is no command that offers JSON", entry)
	}
	if n < 25 {
		t.Errorf("only %d commands offer JSON: the test does not test", n)
	}
}

// Every JSON file of a bundle is described, and nothing else is.
func TestEveryFileOfABundleHasASchema(t *testing.T) {
	var want []string
	for _, p := range (&control{}).parts(nil) {
		if strings.HasPrefix(path.Ext(p.name), ".json") {
			want = append(want, p.name)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(bundleFiles())); !slices.Equal(got, want) {
		t.Errorf("described are %v\na bundle has %v", got, want)
	}
}
