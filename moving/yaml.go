package moving

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/appliance"
)

// doc is a part of a config file: keys with values, in the order in which they
// were set first.
type doc struct {
	keys   []string
	values map[string]any
	notes  map[string]string
}

// set sets the value of a key, of several levels separated by dots. It is a
// string, number, truth, duration, size, list of strings or list of docs.
func (d *doc) set(path string, v any) {
	key, rest, deeper := strings.Cut(path, ".")
	if d.values == nil {
		d.values, d.notes = map[string]any{}, map[string]string{}
	}
	old, found := d.values[key]
	if !found {
		d.keys = append(d.keys, key)
	}
	if !deeper {
		d.values[key] = v
		return
	}
	child, ok := old.(*doc)
	if !ok {
		child = &doc{}
		d.values[key] = child
	}
	child.set(rest, v)
}

// get is the value of a key, nil if it is not set.
func (d *doc) get(path string) any {
	key, rest, deeper := strings.Cut(path, ".")
	v := d.values[key]
	if child, ok := v.(*doc); ok && deeper {
		return child.get(rest)
	}
	return v
}

// unset takes back a key of d's own.
func (d *doc) unset(key string) {
	delete(d.values, key)
	d.keys = slices.DeleteFunc(d.keys, func(k string) bool { return k == key })
}

// note puts a comment before a key of d's own.
func (d *doc) note(key, text string) { d.notes[key] = text }

func (d *doc) write(b *strings.Builder, indent string) {
	for i, key := range d.keys {
		if indent == "" && i > 0 {
			b.WriteString("\n")
		}
		if n := d.notes[key]; n != "" {
			fmt.Fprintf(b, "%s# %s\n", indent, n)
		}
		switch v := d.values[key].(type) {
		case *doc:
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			v.write(b, indent+"  ")
		case []*doc:
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			for _, item := range v {
				var text strings.Builder
				item.write(&text, indent+"    ")
				b.WriteString(indent + "  - " + strings.TrimPrefix(text.String(), indent+"    "))
			}
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, key, scalar(v))
		}
	}
}

// scalar is a value on one line.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case []string:
		list := make([]string, len(v))
		for i, s := range v {
			list[i] = quoted(s)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case time.Duration:
		return span(v)
	case literal:
		return string(v)
	case appliance.ByteSize:
		return v.String()
	}
	return fmt.Sprint(v)
}

// quoted is s in double quotes, of which YAML's are a superset of Go's but for
// one escape; or plain, where nothing could be mistaken in it.
func quoted(s string) string {
	plain := s != "" && s[0] != '-' && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == ""
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		plain = false
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan":
		plain = false
	}
	if plain && !strings.ContainsAny(s[:1], "0123456789") {
		return s
	}
	return strconv.Quote(s)
}

// span is a duration with the largest unit that it is a whole number of.
func span(v time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if v >= u.d && v%u.d == 0 {
			return fmt.Sprintf("%d%s", v/u.d, u.name)
		}
	}
	return fmt.Sprintf("%dms", v.Milliseconds())
}
