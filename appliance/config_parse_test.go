package appliance

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseConfig(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		name string
		src  string
		want func(c *Config)
	}{
		{"empty", "", func(*Config) {}},
		{"comments only", "# nothing\n\n# here\n", func(*Config) {}},
		{"document marks only", "---\n...\n", func(*Config) {}},
		{"null", "null\n", func(*Config) {}},
		{"section without keys", "limits:\n  # max_connections: 5\nlog:\n", func(*Config) {}},
		{"byte order mark, directive, windows lines", "\ufeff%YAML 1.2\r\n---\r\nlog:\r\n  level: debug\r\n", func(c *Config) { c.Log.Level = slog.LevelDebug }},
		{"flow style", `{log: {level: error, format: "json"}}`, func(c *Config) { c.Log = LogConfig{slog.LevelError, LogJSON} }},
		{"list replaces default, type defaults to tcp", "listeners:\n- {name: lan, address: '[::1]:1884'}\n", func(c *Config) {
			c.Listeners = []ListenerConfig{{Name: "lan", Type: "tcp", Address: "[::1]:1884"}}
		}},
		{"open listener and unix listener", "listeners:\n- name: lan\n  address: :1883\n  allow_anonymous: true\n- name: plc\n  type: unix\n  address: /run/mqtt.sock\n  mode: 0666\n", func(c *Config) {
			c.Listeners = []ListenerConfig{
				{Name: "lan", Type: "tcp", Address: ":1883", AllowAnonymous: &yes},
				{Name: "plc", Type: "unix", Address: "/run/mqtt.sock", Mode: 0o666},
			}
		}},
		{"listener for browsers", "listeners:\n- name: web\n  type: ws\n  address: 127.0.0.1:9001\n  allowed_origins: [https://a.example, 'http://[::1]:8080', capacitor://localhost, \"null\", '*']\n", func(c *Config) {
			c.Listeners = []ListenerConfig{{Name: "web", Type: "ws", Address: "127.0.0.1:9001",
				AllowedOrigins: []string{"https://a.example", "http://[::1]:8080", "capacitor://localhost", "null", "*"}}}
		}},
		{"listener behind proxies, with its own policy", "access: {passwords: /u, tokens: {key_file: /k}, rules: [/r]}\nlisteners:\n- name: far\n  address: 127.0.0.1:1883\n  proxy_protocol: [127.0.0.1, '::1', 10.0.0.0/8]\n" +
			"  mqtt_versions: [3.1, 3.1.1, 5]\n  sources: [tokens, passwords]\n  max_connections: 100\n  max_connections_per_address: 3\n  connect_rate: 2\n  connect_timeout: 1m\n  max_packet_size: 4KiB\n" +
			"- {name: plc, type: unix, address: /run/mqtt.sock, proxy_protocol: [unix], mqtt_versions: ['5'], sources: [], max_connections: 0, connect_timeout: 0s, max_packet_size: 0B}\n", func(c *Config) {
			c.Access.Passwords, c.Access.Tokens.KeyFile, c.Access.Rules = "/u", "/k", []string{"/r"}
			c.Listeners = []ListenerConfig{
				{Name: "far", Type: "tcp", Address: "127.0.0.1:1883", ProxyProtocol: []string{"127.0.0.1", "::1", "10.0.0.0/8"},
					MQTTVersions: []MQTTVersion{"3.1", "3.1.1", "5"}, Sources: []AccessSource{AccessTokens, AccessPasswords},
					MaxConnections: 100, MaxPerAddress: 3, ConnectRate: 2, ConnectTimeout: time.Minute, MaxPacketSize: 4 * KiB},
				{Name: "plc", Type: "unix", Address: "/run/mqtt.sock", ProxyProtocol: []string{"unix"}, MQTTVersions: []MQTTVersion{"5"}},
			}
		}},
		{"any free port twice", "listeners:\n- {name: a, address: '127.0.0.1:0'}\n- {name: b, address: '127.0.0.1:0'}\n", func(c *Config) {
			c.Listeners = []ListenerConfig{{Name: "a", Type: "tcp", Address: "127.0.0.1:0"}, {Name: "b", Type: "tcp", Address: "127.0.0.1:0"}}
		}},
		{"one port on two hosts", "listeners:\n- {name: a, address: '127.0.0.1:1883'}\n- {name: b, address: '[::1]:1883'}\n- {name: c, address: '127.0.0.2:1883'}\n", func(c *Config) {
			c.Listeners = []ListenerConfig{{Name: "a", Type: "tcp", Address: "127.0.0.1:1883"}, {Name: "b", Type: "tcp", Address: "[::1]:1883"}, {Name: "c", Type: "tcp", Address: "127.0.0.2:1883"}}
		}},
		{"units", "limits: {connect_timeout: 1m30s, max_packet_size: 1.5 MB, max_connections: 0}\nsessions: {max_expiry: 1d12h}\n", func(c *Config) {
			c.Limits.ConnectTimeout, c.Limits.MaxPacketSize, c.Limits.MaxConnections = 90*time.Second, 1_500_000, 0
			c.Sessions.MaxExpiry = 36 * time.Hour
		}},
		{"modes as for chmod", "control: {mode: 600, socket: /run/eb.sock}", func(c *Config) { c.Control = ControlConfig{"/run/eb.sock", 0o600} }},
		{"quoted mode", "control: {mode: \"0600\"}", func(c *Config) { c.Control.Mode = 0o600 }},
		{"go's octal mode", "control: {mode: 0o600}", func(c *Config) { c.Control.Mode = 0o600 }},
		{"anchors", "limits:\n  max_packet_size: &size 2MiB\n  max_outbound_bytes: *size\n", func(c *Config) {
			c.Limits.MaxPacketSize, c.Limits.MaxOutboundBytes = 2*MiB, 2*MiB
		}},
		{"anchor defined twice: the last above counts", "sessions: {max_queued_bytes: &s 2MiB, total_queued_bytes: &s 4MiB}\nretained: {max_bytes: *s}\n", func(c *Config) {
			c.Sessions.MaxQueuedBytes, c.Sessions.TotalQueuedBytes, c.Retained.MaxBytes = 2*MiB, 4*MiB, 4*MiB
		}},
		{"block text", "control:\n  socket: |\n    /run/eb.sock\n", func(c *Config) { c.Control.Socket = "/run/eb.sock" }},
		{"explicit keys", "? log\n: ? level\n  : warn\n", func(c *Config) { c.Log.Level = slog.LevelWarn }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := DefaultConfig()
			tt.want(&want)
			got, err := ParseConfig("eb.yml", []byte(tt.src))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// Each case is a file and, after the line "--", the exact report on it.
func TestParseConfigProblems(t *testing.T) {
	folder := filepath.Join("testdata", "badconfig")
	cases, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			src, want, ok := strings.Cut(string(data), "\n--\n")
			if !ok {
				t.Fatal(`no line "--"`)
			}
			cfg, err := ParseConfig("eb.yml", []byte(src+"\n"))
			if err == nil {
				t.Fatalf("accepted: %+v", cfg)
			}
			var ce *ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("a %T, want a *ConfigError", err)
			}
			if got := err.Error() + "\n"; got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// Reports on input that a text file cannot hold well.
func TestParseConfigOddInput(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"not utf-8", "log:\n  lev\xffel: info\n", "eb.yml:2:6: the text is not UTF-8 from here on; save the file as UTF-8"},
		{"too large", strings.Repeat("# ten byte\n", 30000), "eb.yml: the file is larger than 256KiB; is it a config file?"},
		{"deep flow", "a: " + strings.Repeat("[", 50000), "eb.yml:1:104: nested more than 100 levels deep; is this a config file?"},
		{"deep on one line", strings.Repeat("- ", 50000), "eb.yml:1:201: nested more than 100 levels deep; is this a config file?"},
		{"too many listeners", "listeners: [" + strings.Repeat("{},", 300) + "]", "eb.yml:1:12: listeners: the list has 300 entries; 256 is the most"},
		{"long words are cut", "log: {level: " + strings.Repeat("x", 500) + "}", `eb.yml:1:14: log.level: "` + strings.Repeat("x", 60) + `..." is not a log level; use debug, info, warn or error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig("eb.yml", []byte(tt.src))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestConfigErrorProblems(t *testing.T) {
	_, err := ParseConfig("eb.yml", []byte("log:\n  level: loud\nlimits:\n  max_inflight: 0\n"))
	var ce *ConfigError
	if !errors.As(err, &ce) {
		t.Fatalf("got %v, want a *ConfigError", err)
	}
	want := []Problem{
		{"eb.yml", 2, 10, "log.level", `"loud" is not a log level; use debug, info, warn or error`},
		{"eb.yml", 4, 17, "limits.max_inflight", "0 is less than 1; raise it"},
	}
	if !reflect.DeepEqual(ce.Problems, want) {
		t.Errorf("got  %+v\nwant %+v", ce.Problems, want)
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	t.Run("missing file", func(t *testing.T) {
		path := filepath.Join(dir, "none.yml")
		_, err := LoadConfig(path)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%v does not wrap fs.ErrNotExist", err)
		}
		if want := "read config: open " + path + `: no such file or directory; "edgebroker config example" prints one to start from`; err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	t.Run("folder", func(t *testing.T) {
		if _, err := LoadConfig(dir); err == nil || !strings.HasPrefix(err.Error(), "read config: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("good and bad file", func(t *testing.T) {
		path := filepath.Join(dir, "eb.yml")
		if err := os.WriteFile(path, []byte("events: {queue: 7}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := LoadConfig(path)
		if err != nil || cfg.Events.Queue != 7 {
			t.Fatalf("got queue %d, %v", cfg.Events.Queue, err)
		}
		if err := os.WriteFile(path, []byte("events: {queue: 0}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(path); err == nil || err.Error() != path+":1:17: events.queue: 0 is less than 1; raise it" {
			t.Errorf("got %v", err)
		}
	})
}

// What parses is valid, and means the same when it is read again; what does
// not is reported with a position inside the file.
func FuzzParseConfig(f *testing.F) {
	f.Add(ExampleConfig())
	cases, _ := filepath.Glob(filepath.Join("testdata", "badconfig", "*.txt"))
	for _, path := range cases {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte("a: &x [*x]\nlog: {<<: *x, level: !!str info}\n? [a]\n: |\n  b\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		cfg, err := ParseConfig("f", src)
		if err == nil {
			if err := cfg.Validate(); err != nil {
				t.Fatalf("parsed, but not valid: %v", err)
			}
			return
		}
		var ce *ConfigError
		if !errors.As(err, &ce) || len(ce.Problems) == 0 {
			t.Fatalf("not a *ConfigError with problems: %v", err)
		}
		lines := strings.Count(strings.ReplaceAll(string(src), "\r", "\n"), "\n") + 1
		for _, p := range ce.Problems {
			if p.Line > lines || p.Line > 0 && p.Col < 1 || p.Message == "" || strings.Contains(p.Message, "\n") {
				t.Fatalf("bad problem in a file of %d lines: %+v", lines, p)
			}
		}
	})
}
