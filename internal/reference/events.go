package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// member is a name in a JSON object, and its value.
type member struct {
	name  string
	value json.RawMessage
}

// members is a JSON object in its order.
type members []member

func (m *members) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		*m = append(*m, member{name.(string), v})
	}
	return nil
}

// described is what is read of a schema in the document of the control API.
type described struct {
	Description string
	Type        string
	Const       string
	Ref         string `json:"$ref"`
	Required    []string
	Properties  members
	OneOf       []struct {
		Ref string `json:"$ref"`
	}
}

func (d described) property(name string) (p described, err error) {
	for _, m := range d.Properties {
		if m.name == name {
			return p, json.Unmarshal(m.value, &p)
		}
	}
	return p, fmt.Errorf("a schema has no %s", name)
}

// belongs begins the comment of each type of data.
var belongs = regexp.MustCompile(`^\w+ belongs to \w+[:.] `)

// addEvents lists the types of events with their fields, of the document that
// describes the control API: internal/apidoc has made it of the code.
func addEvents(root string, b *bytes.Buffer) error {
	const file = "docs/api/openapi.json"
	text, err := readFile(root, file)
	if err != nil {
		return err
	}
	var doc struct {
		Components struct{ Schemas map[string]described }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	schema := func(ref string) described {
		return doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	b.WriteString(linked("\n## Events\n\n`{\"id\", \"type\", \"source\", \"timestamp\", \"data\"}`: `source` is the client that caused it, or `edgebroker`; `data` has the fields below. " +
		"docs/EVENTS.md\nsays who keeps and gets them. Any other type is one that a program has published.\n"))
	n := 0
	for _, alternative := range schema("#/components/schemas/Event").OneOf {
		event := schema(alternative.Ref)
		typ, err := event.property("type")
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, alternative.Ref, err)
		}
		if typ.Const == "" {
			continue // one of which the broker knows nothing
		}
		ref, err := event.property("data")
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, alternative.Ref, err)
		}
		data := schema(ref.Ref)
		if data.Description == "" || len(data.Properties) == 0 {
			return fmt.Errorf("%s: %s says nothing of its data", file, alternative.Ref)
		}
		n++
		meaning := belongs.ReplaceAllString(data.Description, "")
		fmt.Fprintf(b, "\n**`%s`**: %s\n\n| field | type | |\n|---|---|---|\n", typ.Const, prose(meaning))
		for _, m := range data.Properties {
			var p described
			if err := json.Unmarshal(m.value, &p); err != nil {
				return fmt.Errorf("%s: %s.%s: %w", file, ref.Ref, m.name, err)
			}
			row(b, code(m.name), p.Type, prose(p.Description))
		}
	}
	if n == 0 {
		return fmt.Errorf("%s describes no events", file)
	}
	words, err := readWords(root, "events/system.go", "System")
	if err != nil {
		return err
	}
	b.WriteString("\n### What the broker says of itself\n\n`what` of events of type `system`:\n\n| what | |\n|---|---|\n")
	for _, w := range words {
		row(b, code(w.value), prose(w.text))
	}
	return nil
}
