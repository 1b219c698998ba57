package appliance

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/token"
)

func TestConfigExample(t *testing.T) {
	t.Run("equals the defaults", func(t *testing.T) {
		cfg, err := ParseConfig("edgebroker.example.yml", ExampleConfig())
		if err != nil {
			t.Fatal(err)
		}
		if want := DefaultConfig(); !reflect.DeepEqual(cfg, want) {
			t.Errorf("got  %+v\nwant %+v", cfg, want)
		}
	})

	// Keys whose default depends on others stand in comments.
	commented := regexp.MustCompile(`(?m)^( *)# ((?:- )?[a-z_]+:(?: \S+)?)$`)
	open := commented.ReplaceAllString(string(ExampleConfig()), "$1$2")
	d := &configDecoder{at: map[string]*token.Position{}, bad: map[string]bool{}}
	var cfg Config
	d.into("", d.parse([]byte(open)), reflect.ValueOf(&cfg).Elem())
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	lines := strings.Split(open, "\n")
	keys := keysOf("", reflect.TypeFor[Config]())

	t.Run("has every key, under a comment", func(t *testing.T) {
		for _, key := range keys {
			at := d.at[key]
			if at == nil {
				t.Errorf("%s is missing", key)
				continue
			}
			name := key[strings.LastIndex(key, ".")+1:]
			i := at.Line - 1
			for ; i > 0 && !strings.HasPrefix(strings.TrimLeft(lines[i], " -"), name+":"); i-- {
			}
			if i == 0 || !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") {
				t.Errorf("%s, line %d: no comment above it", key, i+1)
			}
		}
	})
	t.Run("has nothing else", func(t *testing.T) {
		for key := range d.at {
			if key != "" && !strings.HasSuffix(key, "]") && !slices.Contains(keys, key) {
				t.Errorf("%s is no key of Config", key)
			}
		}
	})
	t.Run("says the defaults of the commented keys", func(t *testing.T) {
		said, is := cfg.Listeners[0], DefaultConfig().Listeners[0]
		if cfg.Anonymous(said) != DefaultConfig().Anonymous(is) || said.Mode != is.SocketMode() {
			t.Errorf("says %v and %o, is %v and %o", cfg.Anonymous(said), said.Mode, DefaultConfig().Anonymous(is), is.SocketMode())
		}
	})
	t.Run("belongs to the caller", func(t *testing.T) {
		clear(ExampleConfig())
		if _, err := ParseConfig("", ExampleConfig()); err != nil {
			t.Error(err)
		}
	})
}

// keysOf lists the paths of all keys under a type, that of the first element
// for lists.
func keysOf(path string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		key := joinPath(path, f.Tag.Get("yaml"))
		keys = append(keys, key)
		switch f.Type.Kind() {
		case reflect.Struct:
			keys = append(keys, keysOf(key, f.Type)...)
		case reflect.Slice:
			if f.Type.Elem().Kind() == reflect.Struct {
				keys = append(keys, keysOf(key+"[0]", f.Type.Elem())...)
			}
		}
	}
	return keys
}
