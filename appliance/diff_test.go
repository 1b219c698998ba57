package appliance

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/statsd"
)

func TestDiff(t *testing.T) {
	yes := true
	tls := ListenerConfig{Name: "tls", Type: ListenTLS, Address: ":8883", Certificate: "/c.pem", PrivateKey: "/k.pem"}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"nothing":  {func(*Config) {}, nil},
		"a number": {func(c *Config) { c.Limits.PublishRate = 10 }, []string{"limits.publish_rate: 0 -> 10"}},
		"a size":   {func(c *Config) { c.Limits.MaxPacketSize = 64 * KiB }, []string{"limits.max_packet_size: 1MiB -> 64KiB"}},
		"a time":   {func(c *Config) { c.Limits.ConnectTimeout = time.Minute }, []string{"limits.connect_timeout: 5s -> 1m"}},
		"a level":  {func(c *Config) { c.Log.Level = slog.LevelDebug }, []string{"log.level: info -> debug"}},
		"a mode":   {func(c *Config) { c.Control.Mode = 0o600 }, []string{"control.mode: 0660 -> 0600"}},
		"a list": {func(c *Config) { c.Access.Rules = []string{"/a", "/b,c"} },
			[]string{`access.rules:  -> [/a, "/b,c"]`}},
		"an empty list for none": {func(c *Config) { c.Access.Rules = []string{} }, nil},
		"a list of what has keys": {func(c *Config) { c.Sessions.Classes = []SessionClass{{Clients: "p*", MaxQueuedMessages: 5}} },
			[]string{"sessions.classes:  -> [{clients: p*, max_queued_messages: 5}]"}},
		"a map": {func(c *Config) { c.Statsd.Labels = map[string]string{"site": "x", "line": "1,2"} },
			[]string{`statsd.labels:  -> {line: "1,2", site: x}`}},
		"what hides":        {func(c *Config) { c.Access.Passwords = "/a\x1b[2J" }, []string{`access.passwords:  -> "/a\x1b[2J"`}},
		"a kind of text":    {func(c *Config) { c.Access.Certificates = auth.CommonName }, []string{"access.certificates:  -> cn"}},
		"a pointer":         {func(c *Config) { c.Listeners[0].AllowAnonymous = &yes }, []string{"listeners[local].allow_anonymous:  -> true"}},
		"a listener more":   {func(c *Config) { c.Listeners = append(c.Listeners, tls) }, []string{"listeners[tls]:  -> tls :8883"}},
		"another listener":  {func(c *Config) { c.Listeners = []ListenerConfig{tls} }, []string{"listeners[tls]:  -> tls :8883", "listeners[local]: tcp 127.0.0.1:1883 -> "}},
		"a listener before": {func(c *Config) { c.Listeners = []ListenerConfig{tls, c.Listeners[0]} }, []string{"listeners[tls]:  -> tls :8883"}},
		"an address":        {func(c *Config) { c.Listeners[0].Address = ":1883" }, []string{"listeners[local].address: 127.0.0.1:1883 -> :1883"}},
	} {
		c := DefaultConfig()
		tt.change(&c)
		var got []string
		for _, ch := range DefaultConfig().diff(c) {
			got = append(got, fmt.Sprintf("%s: %s -> %s", ch.Key, ch.From, ch.To))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		back := c.diff(DefaultConfig())
		if len(back) != len(tt.want) {
			t.Errorf("%s: the way back is %+v", name, back)
		}
	}
}

// Every single key that there is makes a difference of its own, whose key is a
// key of the example file.
func TestDiffSeesEveryKey(t *testing.T) {
	example := string(ExampleConfig())
	var keys []string
	each(reflect.ValueOf(new(Config)).Elem(), func(change func(reflect.Value)) {
		c := Config{Listeners: []ListenerConfig{{Name: "l"}}, Bridges: []BridgeConfig{{Name: "l"}}, Events: EventsConfig{Sinks: []SinkConfig{{Name: "l"}}}}
		next := Config{Listeners: []ListenerConfig{{Name: "l"}}, Bridges: []BridgeConfig{{Name: "l"}}, Events: EventsConfig{Sinks: []SinkConfig{{Name: "l"}}}}
		change(reflect.ValueOf(&next).Elem())
		got := c.diff(next)
		if len(got) != 1 {
			t.Errorf("%+v", got)
			return
		}
		keys = append(keys, got[0].Key)
		if key := got[0].Key[strings.LastIndex(got[0].Key, ".")+1:]; !strings.Contains(example, key+":") && key != "listeners[l]" && key != "bridges[l]" && key != "sinks[l]" {
			t.Errorf("the example file has no key %s", key)
		}
	})
	if len(keys) < 50 {
		t.Errorf("only %d keys", len(keys))
	}
	for _, key := range slices.Concat(fixed, nextConnection) {
		if !slices.ContainsFunc(keys, func(k string) bool { return k == key || strings.HasPrefix(k, key+".") }) {
			t.Errorf("there is no key %s", key)
		}
	}
}

// each calls f, for every value that v has, with a way to change that alone.
func each(v reflect.Value, f func(change func(reflect.Value))) {
	for i := range v.NumField() {
		field := v.Field(i)
		at := func(change func(reflect.Value)) { f(func(v reflect.Value) { change(v.Field(i)) }) }
		switch {
		case field.Type() == reflect.TypeFor[[]ListenerConfig](), field.Type() == reflect.TypeFor[[]BridgeConfig](), field.Type() == reflect.TypeFor[[]SinkConfig]():
			each(reflect.New(field.Type().Elem()).Elem(), func(change func(reflect.Value)) {
				f(func(v reflect.Value) {
					l := v.Field(i).Index(0)
					if change(l); l.FieldByName("Name").String() != "l" { // of which there would be two, one gone
						v.Field(i).SetZero()
					}
				})
			})
		case isStruct(field):
			each(field, at)
		default:
			at(func(v reflect.Value) {
				switch v.Kind() {
				case reflect.Int, reflect.Int64:
					v.SetInt(1)
				case reflect.Uint32:
					v.SetUint(1)
				case reflect.Bool:
					v.SetBool(true)
				case reflect.String:
					v.SetString("x")
				case reflect.Slice:
					v.Set(reflect.MakeSlice(v.Type(), 1, 1))
				case reflect.Map:
					v.Set(reflect.MakeMap(v.Type()))
					v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("y").Convert(v.Type().Elem()))
				case reflect.Pointer:
					v.Set(reflect.New(v.Type().Elem()))
				default:
					panic(v.Type())
				}
			})
		}
	}
}

// What cannot change in a running broker is named, and what counts later says so.
func TestExplain(t *testing.T) {
	b := &Broker{}
	if err := b.explain([]statsd.Change{{Key: "storage.directory"}, {Key: "otlp.headers"}, {Key: "log.level"}, {Key: "limits.publish_rate"}}); err == nil ||
		err.Error() != "storage.directory, otlp.headers, log.level cannot change while the broker runs; put that back as it was, or restart the broker" {
		t.Error(err)
	}
	b.level = new(slog.LevelVar)
	changes := []statsd.Change{{Key: "log.level"}, {Key: "limits.max_inflight"}}
	if err := b.explain(changes); err != nil || changes[0].Effect != "" || changes[1].Effect == "" {
		t.Error(changes, err)
	}
}
