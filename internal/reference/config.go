package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/configkeys"
)

// addConfig lists the keys in the order of the example config, which has them all.
func addConfig(_ string, b *bytes.Buffer) error {
	head, keys := configkeys.Parse(string(appliance.ExampleConfig()))
	types := map[string]reflect.Type{}
	addTypes(types, "", reflect.TypeFor[appliance.Config]())
	rows, err := keyRows(keys, types)
	if err != nil {
		return err
	}
	_, head, _ = strings.Cut(head, "\n\n") // the first paragraph speaks of the file that it stands in,
	_, head, _ = strings.Cut(head, "\n\n") // the second of the commands below
	b.WriteString("\n## Configuration\n\nA file of YAML. What it leaves out has its default; a key that is unknown, or there twice, is an error.\n" +
		"`edgebroker config example` prints all of this as a file, `edgebroker config check FILE` says all that is wrong with one.\n\n" + paragraphs(head) +
		"\n`[]` stands for each entry of a list. \"Needed\" is what an entry must have.\n")
	for i, k := range rows {
		if !strings.ContainsAny(k.path, ".[") {
			fmt.Fprintf(b, "\n### `%s`\n\n", k.path)
			if k.preset != "" {
				fmt.Fprintf(b, "%s; default: %s\n\n", k.kind, k.preset)
			}
			b.WriteString(paragraphs(k.raw))
			if i+1 < len(rows) && strings.HasPrefix(rows[i+1].path, k.path) {
				b.WriteString("\n| key | type | default | |\n|---|---|---|---|\n")
			}
			continue
		}
		row(b, code(k.path), k.kind, k.preset, prose(k.text))
	}
	return nil
}

// keyRow is what is said of one key.
type keyRow struct {
	path, kind string
	preset     string // its default, as Markdown; empty for those that have keys of their own
	text       string // what it means
	raw        string // the same with its lines
}

// keyRows is a row for each key. Keys and types must be the same, but for names
// below a map, which are examples.
func keyRows(keys []configkeys.Key, types map[string]reflect.Type) ([]keyRow, error) {
	var rows []keyRow
	var errs []error
	said := map[string]bool{}
	for _, k := range keys {
		if n := len(rows) - 1; n >= 0 && strings.HasPrefix(k.Path, rows[n].path+".") && types[rows[n].path].Kind() == reflect.Map {
			rows[n].text += " Example: `" + strings.TrimPrefix(k.Path, rows[n].path+".") + ": " + k.Value + "`."
			continue
		}
		t := types[k.Path]
		if t == nil || said[k.Path] {
			errs = append(errs, fmt.Errorf("%s is no key of the configuration, or there twice", k.Path))
			continue
		}
		said[k.Path] = true
		r := keyRow{path: k.Path, kind: kindOf(t), text: k.Text, raw: k.Text}
		if k.Text == "" {
			errs = append(errs, fmt.Errorf("%s has no comment", k.Path))
		}
		if t.Kind() != reflect.Struct && (k.Value != "" || !k.Preset) {
			var err error
			if r.preset, r.text, err = presetOf(k); err != nil {
				errs = append(errs, err)
			}
			r.raw = strings.TrimSpace(saidDefault.ReplaceAllString(k.Text, " "))
		}
		rows = append(rows, r)
	}
	for path := range types {
		if !said[path] {
			errs = append(errs, fmt.Errorf("%s is missing in the example config", path))
		}
	}
	return rows, errors.Join(errs...)
}

var (
	saidDefault = regexp.MustCompile(`(?s)\s*Default:\s+(.*?)\.(?:\s+|$)`)
	saidNeeded  = regexp.MustCompile(`\s*\bNeeded\.`)
	literal     = regexp.MustCompile(`^("[^"]*"|[\w.:/-]*[0-9_][\w.:/-]*|true|false)$`)
)

// presetOf is the default of k, and the rest of what is said of it.
func presetOf(k configkeys.Key) (preset, text string, err error) {
	text = k.Text
	m := saidDefault.FindStringSubmatchIndex(text)
	switch {
	case m != nil:
		preset = strings.Join(strings.Fields(text[m[2]:m[3]]), " ")
		text = strings.TrimSpace(text[:m[0]] + " " + text[m[1]:])
	case saidNeeded.MatchString(text):
		preset, text = "needed", strings.TrimSpace(saidNeeded.ReplaceAllString(text, ""))
	}
	if k.Preset {
		return code(k.Value), text, nil
	}
	if preset == "" {
		return "", "", fmt.Errorf("%s: its comment in the example config says neither Default nor Needed", k.Path)
	}
	if k.Value != "" && preset != k.Value && !strings.HasPrefix(preset, k.Value+",") {
		text += " Example: `" + k.Value + "`."
	}
	if literal.MatchString(preset) || preset == k.Value {
		return code(preset), text, nil
	}
	return prose(preset), text, nil
}

// addTypes is the types of all keys below path.
func addTypes(types map[string]reflect.Type, path string, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		key := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
		types[key] = f.Type
		switch {
		case f.Type.Kind() == reflect.Struct:
			addTypes(types, key, f.Type)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			addTypes(types, key+"[]", f.Type.Elem())
		}
	}
}

// kindOf is what stands for a value of type t in the file.
func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[appliance.ByteSize]():
		return "size"
	case reflect.TypeFor[appliance.MemoryBudget]():
		return "size, `auto` or `off`"
	case reflect.TypeFor[fs.FileMode]():
		return "mode"
	case reflect.TypeFor[appliance.SecretRef]():
		return "place of a secret"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		return "keys"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list of keys"
		}
		return "list"
	case reflect.Map:
		return "names with values"
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		if t.PkgPath() == "" {
			return "text"
		}
		return "word"
	}
	if t.PkgPath() != "" { // a number that is written as a word, such as a level of the log
		return "word"
	}
	return "number"
}
