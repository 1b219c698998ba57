package appliance

import (
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/statsd"
)

// Settings are the keys of the configuration in force that have a value, in the
// order of the example file, with nothing secret in them: of an URL neither the
// user nor the query is told, of an uplink no user name, for which some systems
// take a token, and of its password_command not the arguments.
func (b *Broker) Settings() []statsd.Setting {
	preset := make(map[string]string)
	settings("", reflect.ValueOf(DefaultConfig()), func(key, value string) { preset[key] = value })
	out := []statsd.Setting{}
	c := b.conf()
	c.Bridges = slices.Clone(c.Bridges)
	for i := range c.Bridges {
		c.Bridges[i] = c.Bridges[i].redacted()
	}
	settings("", reflect.ValueOf(c), func(key, value string) {
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
	case v.Kind() == reflect.Slice && v.Type().Elem().Implements(reflect.TypeFor[entry]()):
		for i := range v.Len() {
			settings(key+"["+v.Index(i).Interface().(entry).label()+"]", v.Index(i), tell)
		}
	default:
		if text := configText(v); text != "" {
			tell(key, text)
		}
	}
}

// redacted is c without names and arguments that may be secret.
func (c BridgeConfig) redacted() BridgeConfig {
	const instead = "redacted"
	for _, name := range []*string{&c.Username, &c.ProxyUsername} {
		if *name != "" {
			*name = instead
		}
	}
	if len(c.PasswordCommand) > 1 {
		c.PasswordCommand = []string{c.PasswordCommand[0], instead}
	}
	return c
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
