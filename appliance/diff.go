package appliance

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// diff lists the keys in which next is not as c, in the order of the example
// file. Listeners and uplinks are told apart by their names, other lists are compared
// as a whole. What is not set is "".
func (c Config) diff(next Config) []statsd.Change {
	var d differ
	d.values("", reflect.ValueOf(c), reflect.ValueOf(next))
	return d.changes
}

type differ struct{ changes []statsd.Change }

func (d *differ) values(key string, from, to reflect.Value) {
	switch {
	case isStruct(from):
		for i := range from.NumField() {
			d.values(joinPath(key, from.Type().Field(i).Tag.Get("yaml")), from.Field(i), to.Field(i))
		}
	case from.Type() == reflect.TypeFor[[]ListenerConfig]():
		named(d, key, from.Interface().([]ListenerConfig), to.Interface().([]ListenerConfig))
	case from.Type() == reflect.TypeFor[[]BridgeConfig]():
		named(d, key, from.Interface().([]BridgeConfig), to.Interface().([]BridgeConfig))
	case from.Type() == reflect.TypeFor[[]SinkConfig]():
		named(d, key, from.Interface().([]SinkConfig), to.Interface().([]SinkConfig))
	case !reflect.DeepEqual(from.Interface(), to.Interface()):
		if f, t := configText(from), configText(to); f != t {
			d.changes = append(d.changes, statsd.Change{Key: key, From: f, To: t})
		}
	}
}

// entry is one of a list whose entries have names of their own.
type entry interface {
	label() string
	brief() string // where it is
}

// named compares two such lists.
func named[E entry](d *differ, key string, from, to []E) {
	item := func(e E) string { return key + "[" + e.label() + "]" }
	left := make(map[string]E)
	for _, e := range from {
		left[e.label()] = e
	}
	for _, e := range to {
		if old, ok := left[e.label()]; ok {
			delete(left, e.label())
			d.values(item(e), reflect.ValueOf(old), reflect.ValueOf(e))
		} else {
			d.changes = append(d.changes, statsd.Change{Key: item(e), To: e.brief()})
		}
	}
	for _, e := range from {
		if _, gone := left[e.label()]; gone {
			d.changes = append(d.changes, statsd.Change{Key: item(e), From: e.brief()})
		}
	}
}

func (l ListenerConfig) label() string { return l.Name }
func (l ListenerConfig) brief() string { return cmp.Or(l.Type, ListenTCP) + " " + l.Address }
func (c BridgeConfig) label() string   { return c.Name }
func (c SinkConfig) label() string     { return c.Name }
func (c SinkConfig) brief() string     { return string(c.Type) }
func (c BridgeConfig) brief() string   { return c.Address }

// isStruct tells whether v has keys of its own in the file.
func isStruct(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return false
	}
	_, is := v.Interface().(fmt.Stringer)
	return !is
}

// configText is v as one would write it into the file, on one line.
func configText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case fs.FileMode:
		if x == 0 {
			return ""
		}
		return fmt.Sprintf("%04o", x)
	case time.Duration:
		return valueText(x)
	case slog.Level:
		return strings.ToLower(x.String())
	case fmt.Stringer:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return configText(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 {
			return ""
		}
		items := make([]string, v.Len())
		for i := range items {
			items[i] = configText(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		if v.Len() == 0 {
			return ""
		}
		var items []string
		for _, key := range v.MapKeys() {
			items = append(items, configText(key)+": "+configText(v.MapIndex(key)))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				fields = append(fields, v.Type().Field(i).Tag.Get("yaml")+": "+configText(f))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case reflect.String:
		s := v.String()
		if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || strings.ContainsAny(s, "[]{},") {
			return strconv.Quote(s)
		}
		return s
	}
	return fmt.Sprint(v.Interface())
}
