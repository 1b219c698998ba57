package main

import (
	"path/filepath"
	"strings"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/configkeys"
	"github.com/synthetism/edgebroker/internal/manpage"
)

const packagedConfigName = "edgebroker.yml"

func configPage() manpage.Page {
	head, keys := configkeys.Parse(string(appliance.ExampleConfig()))
	_, head, _ = strings.Cut(head, "\n\n") // the first paragraph speaks of the file that it stands in
	options := []manpage.Block{}
	for _, k := range keys {
		term := k.Path
		if k.Value != "" {
			term += ": " + k.Value
		}
		if !strings.ContainsAny(k.Path, ".[") {
			options = append(options, manpage.Heading(term), manpage.Text(k.Text))
			continue
		}
		options = append(options, manpage.Item{Term: term, Text: k.Text})
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
