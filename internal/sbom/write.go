package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The parts of CycloneDX 1.5 that are used here; the names are the format's.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	}
	component struct {
		Ref      string           `json:"bom-ref"`
		Type     string           `json:"type"`
		Name     string           `json:"name"`
		Version  string           `json:"version"`
		Purl     string           `json:"purl"`
		Scope    string           `json:"scope,omitempty"`
		Hashes   []hash           `json:"hashes,omitempty"`
		Licences []licenceElement `json:"licenses"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licenceElement struct {
		Expression string `json:"expression"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// cycloneDX is the document about parts, of which the first is this project in
// that version. It depends on nothing but its arguments.
func cycloneDX(parts []part, version string, made time.Time) ([]byte, error) {
	b := bom{Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Timestamp = made.Format(time.RFC3339)
	var refs []string
	for i, p := range parts {
		if i == 0 {
			p.Version = version
		}
		c := component{Type: "library", Name: p.Path, Version: p.Version, Scope: "required", Purl: purl(p),
			Licences: []licenceElement{{p.licence()}}}
		c.Ref = c.Purl
		if sum, ok := strings.CutPrefix(p.Sum, "h1:"); ok { // SHA-256 over the module's list of files and their hashes
			raw, err := base64.StdEncoding.DecodeString(sum)
			if err != nil {
				return nil, fmt.Errorf("sum of %s: %w", p.Path, err)
			}
			c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
		}
		if i == 0 {
			c.Type, c.Scope = "application", ""
			b.Metadata.Component = c
			continue
		}
		refs = append(refs, c.Ref)
		b.Components = append(b.Components, c)
	}
	b.Dependencies = []dependency{{b.Metadata.Component.Ref, refs}}
	content, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(content)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8: of the content
	b.Serial = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
	out, err := json.MarshalIndent(b, "", "  ")
	return append(out, '\n'), err
}

func purl(p part) string {
	elements := strings.Split(p.Path, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return "pkg:golang/" + strings.Join(elements, "/") + "@" + url.QueryEscape(p.Version)
}

// copyright is the file that Debian wants with each package, in its
// machine-readable form: who has the rights to what, and each text once; but for
// those that hold the Apache License, which Debian has in a place for all. They
// are in beside, for a file of the name that besideName says.
func copyright(parts []part) (file, beside string) {
	var head, texts, others strings.Builder
	head.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n" +
		"Upstream-Name: edgebroker\nSource: https://github.com/synthetism/edgebroker\n" +
		"Comment: The binary is linked statically, so that it holds all the modules below.\n")
	names, taken := map[string]string{}, map[string]bool{} // by text
	for i, p := range parts {
		var all []string
		for _, l := range p.Licences {
			text := strings.Join(strings.Fields(string(l.Text)), " ")
			if names[text] == "" {
				names[text] = unused(shortName(l), taken)
				if strings.Contains(l.ID, "Apache-2.0") {
					fmt.Fprintf(&texts, "\nLicense: %s\n The text is in %s beside this file. On Debian that of Apache-2.0\n is /usr/share/common-licenses/Apache-2.0, too.\n", names[text], besideName)
					fmt.Fprintf(&others, "%s\n\n%s\n\n", names[text], l.Text)
				} else {
					fmt.Fprintf(&texts, "\nLicense: %s\n%s", names[text], indented(l.Text))
				}
			}
			all = append(all, names[text])
		}
		files := "*"
		if i > 0 {
			files = "linked/" + p.Path + "/*"
		}
		fmt.Fprintf(&head, "\nFiles: %s\nCopyright: %s\nLicense: %s\n", files, strings.Join(holders(p), "\n           "), strings.Join(all, " and "))
		if p.Version != "" {
			fmt.Fprintf(&head, "Comment: version %s, under %s\n", p.Version, p.licence())
		}
	}
	return head.String() + texts.String(), others.String()
}

// besideName is the file for texts that are not in the copyright file.
const besideName = "licences.txt"

// shortName is what a text is called, without spaces.
func shortName(l licence) string {
	if l.ID == "" {
		name, _, _ := strings.Cut(strings.ToLower(l.Name), ".")
		return name
	}
	return strings.NewReplacer(" AND ", "-and-", " OR ", "-or-", "(", "", ")", "").Replace(l.ID)
}

// unused is name, or name with a number if another text has it, and takes it.
func unused(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%s~%d", name, n)
	}
	taken[free] = true
	return free
}

// indented is text as the continuation of a field.
func indented(text []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, " \t\r\n\f"); strings.TrimSpace(line) == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
	return b.String()
}

// holders is the lines of the licences that say who has a copyright.
func holders(p part) (list []string) {
	for _, l := range p.Licences {
		for line := range strings.Lines(string(l.Text)) {
			line = strings.TrimRight(strings.TrimLeft(line, " \t*>#\""), " \t\r\n")
			lower := strings.ToLower(line)
			if strings.HasPrefix(lower, "copyright ") && strings.ContainsAny(line, "0123456789") && !strings.Contains(lower, "[yyyy]") {
				list = append(list, line)
			}
		}
	}
	if len(list) == 0 {
		list = []string{"see the licence below"}
	}
	return list
}
