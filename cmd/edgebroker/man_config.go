package main

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/manpage"
)

const packagedConfigName = "edgebroker.yml"

// configKey is one key of the example config and what stands above it.
type configKey struct {
	path  string // listeners[].type
	value string // as written there; empty if it has keys of its own
	text  string // its comment
}

// keyLine is a line of the example with a key, which may be commented out.
var keyLine = regexp.MustCompile(`^( *)(# )?(- )?([A-Za-z_.]+):( \S.*)?$`)

// configKeys takes the example config apart. head is the comment at its
// beginning. A key that is commented out has a value without spaces, or none;
// everything else behind # is a comment.
func configKeys(example string) (head string, keys []configKey) {
	type level struct {
		column int
		name   string
	}
	var levels []level
	var comment []string
	for line := range strings.Lines(example) {
		line = strings.TrimRight(line, " \n")
		m := keyLine.FindStringSubmatch(line)
		text, isComment := strings.CutPrefix(strings.TrimLeft(line, " "), "#")
		switch {
		case m != nil && m[4] != "Default" && (m[2] == "" || !strings.Contains(strings.TrimSpace(m[5]), " ")):
			column := len(m[1])
			for len(levels) > 0 && levels[len(levels)-1].column >= column {
				levels = levels[:len(levels)-1]
			}
			if m[3] != "" {
				levels = append(levels, level{column, "[]"})
				column += len(m[3])
			}
			levels = append(levels, level{column, m[4]})
			path := ""
			for _, l := range levels {
				if path != "" && l.name != "[]" {
					path += "."
				}
				path += l.name
			}
			keys = append(keys, configKey{path, strings.TrimSpace(m[5]), strings.Join(comment, "\n")})
			comment = nil
		case isComment:
			comment = append(comment, strings.TrimPrefix(text, " "))
		case line == "" && len(keys) == 0:
			head, comment = strings.Join(comment, "\n"), nil
		}
	}
	return head, keys
}

func configPage() manpage.Page {
	head, keys := configKeys(string(appliance.ExampleConfig()))
	_, head, _ = strings.Cut(head, "\n\n") // the first paragraph speaks of the file that it stands in
	options := []manpage.Block{}
	for _, k := range keys {
		term := k.path
		if k.value != "" {
			term += ": " + k.value
		}
		if !strings.ContainsAny(k.path, ".[") {
			options = append(options, manpage.Heading(term), manpage.Text(k.text))
			continue
		}
		options = append(options, manpage.Item{Term: term, Text: k.text})
	}
	h := home{filepath.Dir(packagedConfig)}
	return manpage.Page{Name: packagedConfigName, Section: 5, Sections: []manpage.Section{
		section("NAME", manpage.Text(packagedConfigName+" - configuration of the MQTT broker edgebroker")),
		section("SYNOPSIS", manpage.Code(packagedConfig)),
		section("DESCRIPTION", manpage.Text("A file of YAML. What it leaves out has its default; a key that is unknown, or there twice, is an error.\n\n"+head)),
		section("OPTIONS", append([]manpage.Block{manpage.Text(
			"Each key with its default, or with an example where the default depends on others or is none. [] stands for each entry of a list.")}, options...)...),
		section("EXAMPLES", manpage.Text("What `edgebroker init` writes:"), manpage.Code(h.configText(""))),
		section("EXIT STATUS", manpage.Text("`edgebroker serve` ends with 2 when it cannot use the file, and names all that is wrong with it.")),
		section("FILES", fileItems([]string{"config", "dir", "data"})...),
		seeAlso([]string{ref(program, 1), ref(pageOf("serve"), 1), ref(pageOf("config", "check"), 1), ref(pageOf("reload"), 1), ref(pageOf("init"), 1)}),
	}}
}
