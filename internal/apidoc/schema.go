package main

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// schemas collects the schemas of types that documents refer to.
type schemas struct {
	comments comments
	all      map[string]object // by name
	problems []string
}

// ref is what stands for the schema of t in a document.
func (s *schemas) ref(t reflect.Type) object {
	name := nameOf(t)
	if _, known := s.all[name]; !known {
		s.all[name] = nil // a type may hold itself
		s.all[name] = s.structure(t)
	}
	return refTo(name)
}

func refTo(name string) object { return object{{"$ref", "#/components/schemas/" + name}} }

var generic = regexp.MustCompile(`\[.*\.(\w+)\]$`)

// nameOf is a type's name among schemas; Found[statsd.Retained] is FoundRetained.
func nameOf(t reflect.Type) string {
	name := generic.ReplaceAllString(t.Name(), "$1")
	if path.Base(t.PkgPath()) == "events" && t != reflect.TypeFor[events.Event]() && t.Kind() == reflect.Struct {
		return "Event" + name
	}
	return name
}

// sourceName is a type's name in comments.
func sourceName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return path.Base(t.PkgPath()) + "." + name
}

// of is the schema of a value of type t.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case reflect.TypeFor[events.Event]():
		return refTo("Event")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.ref(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{{"type", []string{"string", "null"}}, {"contentEncoding", "base64"}}
		}
		return object{{"type", "array"}, {"items", s.of(t.Elem())}}
	case reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", s.of(t.Elem())}}
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Float64:
		return object{{"type", "number"}}
	case reflect.Int, reflect.Int64, reflect.Int32:
		return object{{"type", "integer"}}
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return object{{"type", "integer"}, {"minimum", 0}}
	}
	s.problems = append(s.problems, fmt.Sprintf("type %v has no form in JSON that is known here", t))
	return nil
}

// structure is the schema of a struct.
func (s *schemas) structure(t reflect.Type) object {
	var properties object
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if !tagged || f.Anonymous {
			s.problems = append(s.problems, fmt.Sprintf("%s.%s has no name in JSON", t, f.Name))
			continue
		}
		if name == "-" {
			continue
		}
		schema := s.of(f.Type)
		if text := s.comments[sourceName(t)+"."+f.Name]; text != "" {
			schema = schema.with("description", text)
		}
		properties = properties.with(name, schema)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	return objectOf(s.comments[sourceName(t)], properties, required)
}

// objectOf is the schema of an object that has these properties. Others are not
// forbidden: clients of one version must not fail on the next.
func objectOf(text string, properties object, required []string) object {
	out := object{{"type", "object"}}
	if text != "" {
		out = out.with("description", text)
	}
	if properties == nil {
		properties = object{}
	}
	out = out.with("properties", properties)
	if len(required) > 0 {
		out = out.with("required", required)
	}
	return out
}

// eventTypes are the built-in types of events, each with its data.
func eventTypes() []struct {
	name events.Type
	data reflect.Type
} {
	return []struct {
		name events.Type
		data reflect.Type
	}{
		{events.Connection, reflect.TypeFor[events.ConnectionData]()},
		{events.Disconnection, reflect.TypeFor[events.DisconnectionData]()},
		{events.Message, reflect.TypeFor[events.MessageData]()},
		{events.Subscription, reflect.TypeFor[events.SubscriptionData]()},
		{events.Unsubscription, reflect.TypeFor[events.UnsubscriptionData]()},
		{events.Drop, reflect.TypeFor[events.DropData]()},
		{events.Refusal, reflect.TypeFor[events.RefusalData]()},
		{events.Slow, reflect.TypeFor[events.SlowData]()},
		{events.Bridge, reflect.TypeFor[events.BridgeData]()},
		{events.System, reflect.TypeFor[events.SystemData]()},
	}
}

// addEvents adds Event, which is one of the events of each type, or a custom one.
func (s *schemas) addEvents() {
	head := func(typ, data object) object {
		text := object{{"type", "string"}}
		return objectOf("", object{
			{"id", text.with("description", s.comments["events.Event.ID"])},
			{"type", typ},
			{"source", text.with("description", s.comments["events.Event.Source"])},
			{"timestamp", object{{"type", "string"}, {"format", "date-time"}, {"description", s.comments["events.Event.Time"] + ", in UTC with nine digits of a second, so that timestamps sort as text"}}},
			{"data", data},
		}, []string{"id", "type", "source", "timestamp", "data"})
	}
	var names []string
	var list []object
	for _, e := range eventTypes() {
		s.ref(e.data)
		s.special(e.data)
		name := "Event" + strings.ToUpper(string(e.name[:1])) + string(e.name[1:])
		s.all[name] = head(object{{"const", string(e.name)}}, refTo(nameOf(e.data)))
		list = append(list, refTo(name))
		names = append(names, string(e.name))
	}
	s.all["EventCustom"] = head(object{{"type", "string"}, {"not", object{{"enum", names}}}, {"description", "a type of which the broker knows nothing"}}, object{})
	list = append(list, refTo("EventCustom"))
	s.all["Event"] = object{{"description", s.comments["events.Event"]}, {"oneOf", list}}
}

// special mends the schema of data whose JSON is not what its fields say.
func (s *schemas) special(t reflect.Type) {
	name := nameOf(t)
	switch t {
	case reflect.TypeFor[events.DisconnectionData]():
		schema := s.all[name]
		i := slices.IndexFunc(schema, func(m member) bool { return m.name == "properties" })
		schema[i].value = schema[i].value.(object).with("duration", object{{"type", "number"}, {"description", "seconds that it was connected"}})
		j := slices.IndexFunc(schema, func(m member) bool { return m.name == "required" })
		schema[j].value = append(schema[j].value.([]string), "duration")
	case reflect.TypeFor[events.MessageData]():
		s.problems = slices.DeleteFunc(s.problems, func(p string) bool { return strings.Contains(p, "events.MessageData.") })
		text, flag := object{{"type", "string"}}, object{{"type", "boolean"}}
		s.all[name] = objectOf(s.comments["events.MessageData"], object{
			{"clientId", text.with("description", s.comments["events.MessageData.ClientID"])},
			{"topic", text.with("description", s.comments["events.MessageData.Topic"])},
			{"payload", text.with("description", "if it is valid UTF-8; neither is there when an event is recorded")},
			{"payloadBase64", text.with("contentEncoding", "base64").with("description", "else")},
			{"qos", object{{"type", "integer"}, {"minimum", 0}, {"maximum", 2}}},
			{"retain", flag},
			{"dup", flag},
			{"size", object{{"type", "integer"}, {"minimum", 0}, {"description", s.comments["events.MessageData.Size"]}}},
		}, []string{"clientId", "topic", "qos", "retain", "size"})
	}
}
