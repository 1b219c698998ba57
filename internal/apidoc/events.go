package main

import (
	"path"
	"reflect"
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/schema"
)

// object is a JSON object whose members keep their order.
type object = schema.Object

// newSet is the schemas of the document, none yet.
func newSet(c schema.Comments) *schema.Set {
	return &schema.Set{Comments: c, Prefix: "#/components/schemas/", Name: nameOf, Elsewhere: func(t reflect.Type) (string, bool) {
		return "#/components/schemas/Event", t == reflect.TypeFor[events.Event]() // which addEvents makes
	}}
}

// nameOf is a type's name among schemas.
func nameOf(t reflect.Type) string {
	if path.Base(t.PkgPath()) == "events" {
		return "Event" + schema.Name(t)
	}
	return schema.Name(t)
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
func addEvents(s *schema.Set) {
	head := func(typ, data object) object {
		text := object{{"type", "string"}}
		return schema.ObjectOf("", object{
			{"id", text.With("description", s.Comments["events.Event.ID"])},
			{"type", typ},
			{"source", text.With("description", s.Comments["events.Event.Source"])},
			{"timestamp", object{{"type", "string"}, {"format", "date-time"}, {"description", s.Comments["events.Event.Time"] + ", in UTC with nine digits of a second, so that timestamps sort as text"}}},
			{"data", data},
		}, []string{"id", "type", "source", "timestamp", "data"})
	}
	var names []string
	var list []object
	for _, e := range eventTypes() {
		s.Ref(e.data)
		special(s, e.data)
		name := "Event" + strings.ToUpper(string(e.name[:1])) + string(e.name[1:])
		s.Put(name, head(object{{"const", string(e.name)}}, s.RefTo(nameOf(e.data))))
		list = append(list, s.RefTo(name))
		names = append(names, string(e.name))
	}
	s.Put("EventCustom", head(object{{"type", "string"}, {"not", object{{"enum", names}}}, {"description", "a type of which the broker knows nothing"}}, object{}))
	list = append(list, s.RefTo("EventCustom"))
	s.Put("Event", object{{"description", s.Comments["events.Event"]}, {"oneOf", list}})
}

// special mends the schema of data whose JSON is not what its fields say.
func special(s *schema.Set, t reflect.Type) {
	name := nameOf(t)
	switch t {
	case reflect.TypeFor[events.DisconnectionData]():
		for i, m := range s.Get(name) {
			switch m[0] {
			case "properties":
				s.Get(name)[i][1] = m[1].(object).With("duration", object{{"type", "number"}, {"description", "seconds that it was connected"}})
			case "required":
				s.Get(name)[i][1] = append(m[1].([]string), "duration")
			}
		}
	case reflect.TypeFor[events.MessageData]():
		text, flag := object{{"type", "string"}}, object{{"type", "boolean"}}
		s.Put(name, schema.ObjectOf(s.Comments["events.MessageData"], object{
			{"clientId", text.With("description", s.Comments["events.MessageData.ClientID"])},
			{"topic", text.With("description", s.Comments["events.MessageData.Topic"])},
			{"payload", text.With("description", "if it is valid UTF-8; neither is there when an event is recorded")},
			{"payloadBase64", text.With("contentEncoding", "base64").With("description", "else")},
			{"qos", object{{"type", "integer"}, {"minimum", 0}, {"maximum", 2}}},
			{"retain", flag},
			{"dup", flag},
			{"size", object{{"type", "integer"}, {"minimum", 0}, {"description", s.Comments["events.MessageData.Size"]}}},
		}, []string{"clientId", "topic", "qos", "retain", "size"}))
	}
}
