package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/schema"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/web"
)

const documentPath = "docs/api/openapi.json"

const introduction = "What the commands of edgebroker ask a running broker, any program can ask: on the control socket, where whoever may open it may do everything, " +
	"and at the HTTP(S) address of the configuration's section http, by HTTP Basic or with a session. " +
	"Fields are added to answers, and never renamed or removed, as long as paths begin with /v1: ignore what you do not know. See docs/API.md."

// document is the OpenAPI document, with the comments of the source below root.
func document(root string) ([]byte, error) {
	c, err := schema.ReadComments(root, "statsd", "events", "web", "trace")
	if err != nil {
		return nil, err
	}
	s := newSet(c)
	paths, err := paths(s)
	if err != nil {
		return nil, err
	}
	addEvents(s)
	failure := s.Ref(reflect.TypeFor[statsd.Failure]())
	components, err := s.Schemas()
	if err != nil {
		return nil, err
	}
	return object{
		{"openapi", "3.1.0"},
		{"info", object{{"title", "edgebroker control API"}, {"version", "1"}, {"description", introduction}, {"license", object{{"name", "MIT"}, {"identifier", "MIT"}}}}},
		{"servers", []object{{{"url", "https://gateway.example:8443"}, {"description", "the HTTP(S) address"}}, {{"url", "http://edgebroker"}, {"description", "the control socket: curl --unix-socket PATH"}}}},
		{"security", []object{{{"basic", []string{}}}, {{"session", []string{}}}}},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", object{
				{"basic", object{{"type", "http"}, {"scheme", "basic"}}},
				{"session", object{{"type", "apiKey"}, {"in", "cookie"}, {"name", "edgebroker_session"}}},
			}},
			{"responses", object{{"Failure", object{{"description", "what is wrong, and how to mend it"}, {"content", jsonContent(failure)}}}}},
			{"schemas", components},
		}},
	}.Text()
}

func jsonContent(of object) object {
	return object{{"application/json", object{{"schema", of}}}}
}

// paths describes every route. The error names those that the table of
// operations has not, and those that are in it alone.
func paths(s *schema.Set) (object, error) {
	known, byPath := operations(), map[string]object{}
	var errs []error
	for _, r := range append(statsd.Routes(), web.Routes()...) {
		name := r.Method + " " + r.Pattern
		op, ok := known[name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s is not described; add it to operations", name))
			continue
		}
		delete(known, name)
		byPath[r.Pattern] = byPath[r.Pattern].With(strings.ToLower(r.Method), describe(s, r, op))
	}
	for name := range known {
		errs = append(errs, fmt.Errorf("%s is described, and is no route", name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var paths object
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		paths = paths.With(path, byPath[path])
	}
	return paths, nil
}

// who says for whom a route is.
func who(a statsd.Access) string {
	return map[statsd.Access]string{
		statsd.Open:  "For everybody, without a login.",
		statsd.Read:  "For viewers and administrators.",
		statsd.Admin: "For administrators.",
		statsd.Write: "For administrators.",
		statsd.Local: "On the control socket only.",
	}[a]
}

func describe(s *schema.Set, r statsd.Route, op operation) object {
	out := object{{"summary", op.summary}, {"description", who(r.Access)}, {"x-access", string(r.Access)}}
	if r.Access == statsd.Open || r.Access == statsd.Local {
		out = out.With("security", []object{})
	}
	var params []object
	for _, p := range op.params {
		o := object{{"name", p.name}, {"in", p.in}, {"description", p.text}, {"schema", p.schema}}
		if p.in == "path" || strings.HasSuffix(p.text, "; needed.") {
			o = o.With("required", true)
		}
		params = append(params, o)
	}
	if params != nil {
		out = out.With("parameters", params)
	}
	if op.body != nil {
		out = out.With("requestBody", object{{"required", true}, {"content", jsonContent(s.Ref(op.body))}})
	}
	return out.With("responses", responses(s, r, op))
}

// responses are those of a route, by status.
func responses(s *schema.Set, r statsd.Route, op operation) object {
	out := object{}
	binary := object{{"schema", object{{"type", "string"}, {"description", "not JSON"}}}}
	switch {
	case op.answer == nil && op.media == "":
		out = out.With("204", object{{"description", "done"}})
	case op.media != "":
		out = out.With("200", object{{"description", "the answer"}, {"content", object{{op.media, binary}}}})
	case r.Stream:
		item := s.Of(op.answer)
		text := "server-sent events (Accept: text/event-stream): event is \"stats\", id is none, data is the JSON"
		if op.answer == reflect.TypeFor[events.Event]() {
			text = "server-sent events (Accept: text/event-stream): event is the event's type, id its identifier, data the JSON"
		}
		out = out.With("200", object{{"description", "a stream: each line is JSON, or blank as a sign of life"}, {"content", object{
			{"application/jsonl", object{{"schema", item}}},
			{statsd.EventStream, object{{"schema", object{{"type", "string"}, {"description", text}}}}},
		}}})
	default:
		out = out.With("200", object{{"description", "the answer"}, {"content", jsonContent(s.Of(op.answer))}})
		if op.answer == reflect.TypeFor[statsd.Health]() {
			out = out.With("503", object{{"description", "not so"}, {"content", jsonContent(s.Of(op.answer))}})
		}
	}
	fails := slices.Clone(op.fails)
	switch {
	case r.Pattern == "/login":
		fails = append(fails, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	case r.Access != statsd.Open && r.Access != statsd.Local:
		fails = append(fails, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	}
	slices.Sort(fails)
	for _, status := range fails {
		out = out.With(strconv.Itoa(status), object{{"$ref", "#/components/responses/Failure"}})
	}
	return out
}
