package main

import (
	"reflect"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/web"
)

// operation is what the document says of a route beyond the route table.
type operation struct {
	summary string
	params  []param
	body    reflect.Type // of the request, in JSON; nil: none
	answer  reflect.Type // in JSON; nil: see media
	media   string       // of an answer that is no JSON; "": there is none
	fails   []int        // besides 401, 403, 429 and 503
}

// param is a part of the path or of the query, or a header.
type param struct {
	name, in, text string
	schema         object
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// operations says of every route, as "METHOD pattern", what it takes and answers.
func operations() map[string]operation {
	text, flag, number := object{{"type", "string"}}, object{{"type", "boolean"}}, object{{"type", "integer"}, {"minimum", 0}}
	client := param{"id", "path", "The client's identifier, as a segment of a path: / is %2F.", text}
	asked := param{"id", "query", "The client's identifier; needed.", text}
	bridge := param{"name", "path", "The uplink's name, or that of one of its lanes: UPLINK/LANE, the slash written as %2F.", text}
	filter := param{"filter", "query", "An MQTT topic filter; default: #.", text}
	top := param{"top", "query", "How many of them at most.", number}
	dry := param{"dry_run", "query", "Only say what would happen.", flag}
	at := func(name, what string) param { return param{name, "query", what, text.With("format", "date-time")} }
	return map[string]operation{
		"POST /login": {summary: "Begin a session. The answer sets the cookie edgebroker_session.", body: typeOf[web.Login](), fails: []int{400}},
		"POST /logout": {summary: "End the session.",
			fails: nil},
		"GET /v1/session": {summary: "Who asks.", answer: typeOf[web.Session]()},

		"GET /v1/version":                {summary: "Which program answers.", answer: typeOf[statsd.VersionInfo]()},
		"GET /v1/stats":                  {summary: "All counters.", answer: typeOf[statsd.Snapshot]()},
		"GET /v1/stats/stream":           {summary: "All counters, now and again and again.", answer: typeOf[statsd.Snapshot](), params: []param{{"interval", "query", "From 100ms to 1h; default: 1s.", text}}, fails: []int{400}},
		"GET /v1/clients":                {summary: "Every session.", answer: typeOf[[]statsd.Client](), params: []param{{"sort", "query", "The order.", text.With("enum", statsd.ClientOrders())}, top}, fails: []int{400}},
		"GET /v1/clients/{id}":           {summary: "One session, with what it has subscribed to.", answer: typeOf[statsd.Client](), params: []param{client}, fails: []int{404}},
		"GET /v1/client":                 {summary: "The same by the query, for every identifier, also . and .., which browsers take for folders.", answer: typeOf[statsd.Client](), params: []param{asked}, fails: []int{400, 404}},
		"POST /v1/client/kick":           {summary: "Disconnect a client, by the query.", answer: typeOf[statsd.Kicked](), params: []param{asked}, fails: []int{400, 404}},
		"POST /v1/clients/{id}/kick":     {summary: "Disconnect a client.", answer: typeOf[statsd.Kicked](), params: []param{client}, fails: []int{404}},
		"GET /v1/drops":                  {summary: "What was lost since the start, for whom and why.", answer: typeOf[[]statsd.Loss]()},
		"GET /v1/bridges":                {summary: "The uplinks.", answer: typeOf[[]statsd.Bridge]()},
		"GET /v1/fleet":                  {summary: "The gateways on the same NATS system.", answer: typeOf[statsd.Fleet](), params: []param{{"wait", "query", "For how long answers are waited for, from 10ms to 5s; default: 1s.", text}}, fails: []int{400}},
		"POST /v1/bridges/{name}/pause":  {summary: "Disconnect an uplink.", answer: typeOf[statsd.Paused](), params: []param{bridge}, fails: []int{404, 409}},
		"POST /v1/bridges/{name}/resume": {summary: "Let an uplink connect again.", answer: typeOf[statsd.Paused](), params: []param{bridge}, fails: []int{404, 409}},
		"GET /v1/bridges/{name}/dead-letters": {summary: "What the far side of an uplink has not taken.",
			answer: typeOf[statsd.DeadLetters](), params: []param{bridge}, fails: []int{404, 409}},
		"POST /v1/bridges/{name}/dead-letters/replay":  {summary: "Send all of that again.", answer: typeOf[statsd.DeadLettersDone](), params: []param{bridge}, fails: []int{404, 409}},
		"POST /v1/bridges/{name}/dead-letters/discard": {summary: "Discard all of that.", answer: typeOf[statsd.DeadLettersDone](), params: []param{bridge}, fails: []int{404, 409}},
		"POST /v1/bridges/{name}/test": {summary: "Connect as an uplink would, beside it, and say step by step what happens.", answer: typeOf[statsd.BridgeTest](),
			params: []param{bridge, {"own", "query", "Do it with the uplink's own client identifier; the uplink is paused meanwhile.", flag}}, fails: []int{404, 409}},
		"GET /v1/balance":    {summary: "Accounts for every message.", answer: typeOf[statsd.Balance]()},
		"GET /v1/publishers": {summary: "Who has published on topics last.", answer: typeOf[statsd.Found[statsd.TopicPublishers]](), params: []param{filter, top}, fails: []int{400}},
		"GET /v1/topics": {summary: "The busiest topics.", answer: typeOf[statsd.Topics](), params: []param{top,
			{"depth", "query", "Levels of topics that are taken together; 0: none.", number}, {"sort", "query", "The order.", text.With("enum", statsd.TopicOrders())}}, fails: []int{400}},
		"GET /v1/retained":        {summary: "Retained messages.", answer: typeOf[statsd.Found[statsd.Retained]](), params: []param{filter, top, {"payload", "query", "With their payloads, of 100 at most.", flag}}, fails: []int{400}},
		"POST /v1/retained/clear": {summary: "Remove retained messages.", answer: typeOf[statsd.Cleared](), params: []param{{"filter", "query", "An MQTT topic filter; needed.", text}, dry}, fails: []int{400, 500}},
		"GET /v1/config":          {summary: "The configuration in force, without what is secret.", answer: typeOf[[]statsd.Setting]()},
		"GET /v1/debug/goroutines": {summary: "The stacks of the daemon, as text.",
			media: "text/plain"},
		"GET /v1/debug/heap": {summary: "A profile of the daemon's heap, for `go tool pprof`.", media: "application/octet-stream"},
		"GET /debug/pprof/{name}": {summary: "A profile as net/http/pprof makes it.", media: "application/octet-stream", params: []param{
			{"name", "path", "profile, trace, heap, allocs, goroutine, mutex, block or threadcreate.", text},
			{"seconds", "query", "For profile and trace: how long; default: 30.", object{{"type", "number"}, {"maximum", 300}}},
			{"debug", "query", "For the others: 1 or 2 is text.", number}}, fails: []int{400, 404, 409}},
		"GET /v1/log/level":  {summary: "From which level on the broker logs.", answer: typeOf[statsd.LogLevel](), fails: []int{409}},
		"POST /v1/log/level": {summary: "Change that, until a reload or restart.", answer: typeOf[statsd.LogLevel](), params: []param{{"level", "query", "The level; needed.", text.With("enum", statsd.LogLevels())}}, fails: []int{400, 409}},
		"POST /v1/reload":    {summary: "Read the configuration and its files again. With an error nothing has changed.", answer: typeOf[statsd.Reloaded](), params: []param{dry}, fails: []int{400, 409}},
		"GET /v1/events": {summary: "Events as they happen, or recorded ones.", answer: typeOf[events.Event](), params: []param{
			{"type", "query", "Types of events, with commas between them or repeated; default: all.", text},
			{"client", "query", "Only those about this client.", text}, {"topic", "query", "Only messages and drops on topics that this MQTT filter matches.", text},
			at("since", "Begin with recorded events from then on, and end with the last."), at("until", "Recorded events up to then."),
			{"follow", "query", "With since: go on with those that happen.", flag},
			{"sample", "query", "Of these every how many-th; default: each.", object{{"type", "integer"}, {"minimum", 1}}},
			{"Last-Event-ID", "header", "Go on behind this event, as far as events are recorded.", text}}, fails: []int{400}},
		"GET /v1/trace": {summary: "The packets of chosen clients and topics as they pass. One of client, topic and address is needed.", answer: typeOf[trace.Entry](), params: []param{
			{"client", "query", "A client identifier; may be repeated.", text}, {"topic", "query", "An MQTT topic filter; may be repeated.", text},
			{"address", "query", "An IP address or prefix of clients; may be repeated.", text},
			{"type", "query", "Types of packets, with commas between them or repeated; default: all.", text},
			{"payload", "query", "Bytes of payloads to show; default: none.", number}}, fails: []int{400, 500}},
		"GET /v1/backup": {summary: "A copy of the store, as a tar archive. What goes wrong on the way is said in the trailer Edgebroker-Failed.", media: "application/x-tar", fails: []int{409, 500}},
		"GET /metrics":   {summary: "Prometheus metrics.", media: "text/plain"},
		"GET /healthz":   {summary: "Whether the broker is alive; 503 if not.", answer: typeOf[statsd.Health]()},
		"GET /readyz":    {summary: "Whether it is ready for clients; 503 if not.", answer: typeOf[statsd.Health]()},
	}
}
