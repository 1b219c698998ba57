package appliance

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDefaultConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	DefaultConfig().Listeners[0].Address = "changed"
	if DefaultConfig().Listeners[0].Address == "changed" {
		t.Error("two calls share their listeners")
	}
}

func TestConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(c *Config)
		want []string
	}{
		{"type left out", func(c *Config) { c.Listeners[0].Type = "" }, nil},
		{"two problems, no positions", func(c *Config) {
			c.Listeners = append(c.Listeners, c.Listeners[0])
		}, []string{
			`listeners[1].name: name "local" is taken by listeners[0]; pick another`,
			"listeners[1].address: port 1883 is taken by listeners[0]; pick another",
		}},
		{"open to all by default", func(c *Config) { c.Listeners[0].Address = "[::]:1883" }, []string{
			"listeners[0].address: [::]:1883 can be reached from other machines, and there is no way to sign in; name a file of users in access.passwords, listen on 127.0.0.1, or let everybody in with allow_anonymous: true",
		}},
		{"modes beyond permissions", func(c *Config) {
			c.Listeners[0] = ListenerConfig{Name: "u", Type: ListenUnix, Address: "/x", Mode: 0o1777}
			c.Control.Mode = 0
		}, []string{
			"listeners[0].mode: 01777 is more than permission bits; use one up to 0777",
			"control.mode: no file mode; set one, such as 0660",
		}},
		{"zero byte in a path", func(c *Config) { c.Control.Socket = "/a\x00b" }, []string{"control.socket: the path holds a zero byte; remove it"}},
		{"no listeners", func(c *Config) { c.Listeners = nil }, []string{
			"listeners: the list is empty, so no client could connect; add a listener, or remove the key for the default one",
		}},
		{"too many listeners", func(c *Config) { c.Listeners = make([]ListenerConfig, 257) }, []string{"listeners: the list has 257 entries; 256 is the most"}},
		{"durations are worded as in a file", func(c *Config) { c.Limits.ConnectTimeout, c.Sessions.MaxExpiry = 36*time.Hour, -time.Second }, []string{
			"limits.connect_timeout: 36h is more than 1h; lower it",
			"sessions.max_expiry: -1s is less than 1s; raise it",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			tt.set(&c)
			err := c.Validate()
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var ce *ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("got %v, want a *ConfigError", err)
			}
			if want := strings.Join(tt.want, "\n"); err.Error() != want {
				t.Errorf("got:\n%v\nwant:\n%s", err, want)
			}
		})
	}
	t.Run("the zero value is not valid", func(t *testing.T) {
		var ce *ConfigError
		if err := (Config{}).Validate(); !errors.As(err, &ce) || len(ce.Problems) < 15 {
			t.Errorf("got %v", err)
		}
	})
}

func TestListenerConfig(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		l                ListenerConfig
		local, anonymous bool
	}{
		{ListenerConfig{Address: "127.0.0.1:1883"}, true, true},
		{ListenerConfig{Address: "127.8.8.8:1883"}, true, true},
		{ListenerConfig{Address: "[::1]:1883"}, true, true},
		{ListenerConfig{Address: "[::ffff:127.0.0.1]:1883"}, true, true},
		{ListenerConfig{Address: "LocalHost:1883"}, true, true},
		{ListenerConfig{Address: "127.0.0.1:1883", AllowAnonymous: &no}, true, false},
		{ListenerConfig{Address: ":1883"}, false, false},
		{ListenerConfig{Address: "0.0.0.0:1883"}, false, false},
		{ListenerConfig{Address: "[fe80::1%eth0]:1883"}, false, false},
		{ListenerConfig{Address: "localhost.example.org:1883"}, false, false},
		{ListenerConfig{Address: "127.0.0.1.example.org:1883"}, false, false},
		{ListenerConfig{Address: "127.0.0.1"}, false, false},
		{ListenerConfig{Address: ":1883", AllowAnonymous: &yes}, false, true},
		{ListenerConfig{Type: ListenWebSocket, Address: "127.0.0.1:9001"}, true, true},
		{ListenerConfig{Type: ListenWebSocket, Address: ":9001"}, false, false},
		{ListenerConfig{Type: ListenUnix, Address: "/run/mqtt.sock"}, true, true},
		{ListenerConfig{Type: ListenUnix, Address: "/run/mqtt.sock", AllowAnonymous: &no}, true, false},
	} {
		c := DefaultConfig()
		if tt.l.Local() != tt.local || c.Anonymous(tt.l) != tt.anonymous {
			t.Errorf("%+v: local %v, anonymous %v; want %v, %v", tt.l, tt.l.Local(), c.Anonymous(tt.l), tt.local, tt.anonymous)
		}
		said := tt.l.AllowAnonymous != nil && *tt.l.AllowAnonymous
		for _, name := range []*string{&c.Access.Passwords, &c.Access.Tokens.KeyFile, &c.Access.HTTP.URL} {
			*name = "/x"
			if c.Anonymous(tt.l) != said {
				t.Errorf("%+v: anonymous %v where clients sign in", tt.l, c.Anonymous(tt.l))
			}
			*name = ""
		}
	}
}

func TestTaken(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want string
	}{
		{"127.0.0.1:1883", "127.0.0.1:1883", "port 1883"},
		{"127.0.0.1:1883", "localhost:01883", "port 1883"},
		{"127.0.0.1:1883", "127.0.0.1:1884", ""},
		{"127.0.0.1:1883", "127.0.0.2:1883", ""},
		{"127.0.0.1:1883", "[::1]:1883", ""},
		{":1883", "127.0.0.1:1883", "port 1883"},
		{"[::]:1883", "127.0.0.1:1883", "port 1883"},
		{"[::]:1883", "0.0.0.0:1883", "port 1883"},
		{"0.0.0.0:1883", "gateway.local:1883", "port 1883"},
		{"0.0.0.0:1883", "[::1]:1883", ""},
		{"[::1]:1883", "[0:0:0:0:0:0:0:1]:1883", "port 1883"},
		{"Gateway.local:1883", "gateway.LOCAL:1883", "port 1883"},
		{"127.0.0.1:0", "127.0.0.1:0", ""},
		{"127.0.0.1", "127.0.0.1", ""},
	} {
		a, b := ListenerConfig{Address: tt.a}, ListenerConfig{Address: tt.b}
		if got := taken(a, b); got != tt.want {
			t.Errorf("%s after %s: got %q, want %q", tt.a, tt.b, got, tt.want)
		}
		if got := taken(b, a); got != tt.want {
			t.Errorf("%s after %s: got %q, want %q", tt.b, tt.a, got, tt.want)
		}
	}
}
