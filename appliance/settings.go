package appliance

import (
	"net/url"
	"reflect"
	"strings"

	"github.com/synthetism/edgebroker/statsd"
)

// Settings are the keys of the configuration in force that have a value, in the
// order of the example file, with nothing secret in them: of an URL neither the
// user nor the query is told.
func (b *Broker) Settings() []statsd.Setting {
	preset := make(map[string]string)
	settings("", reflect.ValueOf(DefaultConfig()), func(key, value string) { preset[key] = value })
	out := []statsd.Setting{}
	settings("", reflect.ValueOf(b.conf()), func(key, value string) {
		out = append(out, statsd.Setting{Key: key, Value: withoutSecret(value), Preset: preset[key] == value})
	})
	return out
}

// settings calls tell for every key below key that has a value.
func settings(key string, v reflect.Value, tell func(key, value string)) {
	switch {
	case isStruct(v):
		for i := range v.NumField() {
			settings(joinPath(key, v.Type().Field(i).Tag.Get("yaml")), v.Field(i), tell)
		}
	case v.Type() == reflect.TypeFor[[]ListenerConfig]():
		for _, l := range v.Interface().([]ListenerConfig) {
			settings(key+"["+l.Name+"]", reflect.ValueOf(l), tell)
		}
	case v.Type() == reflect.TypeFor[[]SinkConfig]():
		for _, s := range v.Interface().([]SinkConfig) {
			settings(key+"["+s.Name+"]", reflect.ValueOf(s), tell)
		}
	default:
		if text := configText(v); text != "" {
			tell(key, text)
		}
	}
}

// withoutSecret leaves out what is secret in a value that is an URL.
func withoutSecret(value string) string {
	if !strings.Contains(value, "://") {
		return value
	}
	u, err := url.Parse(value)
	if err != nil {
		return "[redacted]"
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	if u.RawQuery != "" {
		u.RawQuery = "redacted"
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

func (k backend) Settings() []statsd.Setting { return k.b.Settings() }
