package appliance

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
)

func TestConfigApplyEnv(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want func(c *Config)
		err  string
	}{
		{name: "nothing set", want: func(*Config) {}},
		{name: "all set", env: map[string]string{EnvListen: "[::1]:1999", EnvSocket: "/x/c.sock", EnvLogLevel: "debug", EnvData: "/x/data"}, want: func(c *Config) {
			c.Listeners[0].Address, c.Control.Socket, c.Log.Level = "[::1]:1999", "/x/c.sock", slog.LevelDebug
			c.Storage.Directory = "/x/data"
		}},
		{name: "path", env: map[string]string{EnvListen: "/x/mqtt.sock"}, want: func(c *Config) {
			c.Listeners[0].Type, c.Listeners[0].Address = ListenUnix, "/x/mqtt.sock"
		}},
		{name: "open address", env: map[string]string{EnvListen: "0.0.0.0:1883"},
			err: "EDGEBROKER_LISTEN: listeners[0].address: 0.0.0.0:1883 can be reached from other machines, and there is no way to sign in; name a file of users in access.passwords, listen on 127.0.0.1, or let everybody in with allow_anonymous: true"},
		{name: "all wrong", env: map[string]string{EnvListen: "1883", EnvSocket: "c.sock", EnvLogLevel: "infos", EnvData: "data"},
			err: "EDGEBROKER_LOG_LEVEL: log.level: \"infos\" is not a log level; did you mean info?\n" +
				"EDGEBROKER_LISTEN: listeners[0].address: \"1883\" is not host:port; write it like 127.0.0.1:1883 or \"[::1]:1883\"\n" +
				"EDGEBROKER_SOCKET: control.socket: \"c.sock\" is not an absolute path; write the path of the socket from / on\n" +
				"EDGEBROKER_DATA: storage.directory: \"data\" is not an absolute path; write the path of the folder from / on"},
		{name: "address of another listener", env: map[string]string{EnvListen: "127.0.0.1:2"},
			err: "EDGEBROKER_LISTEN: listeners[1].address: port 2 is taken by listeners[0]; pick another"},
		{name: "both on one socket", env: map[string]string{EnvListen: "/x/s", EnvSocket: "/x/s"},
			err: "EDGEBROKER_SOCKET: control.socket: socket \"/x/s\" is taken by listeners[0]; pick another"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fresh := func() Config {
				c := DefaultConfig()
				c.Listeners = append(c.Listeners, ListenerConfig{Name: "two", Type: ListenTCP, Address: "127.0.0.1:2"})
				return c
			}
			got, want := fresh(), fresh()
			shared := got.Listeners
			err := got.ApplyEnv(func(name string) string { return tt.env[name] })
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				tt.want(&want)
			} else {
				var ce *ConfigError
				if !errors.As(err, &ce) || err.Error() != tt.err {
					t.Errorf("got:\n%v\nwant:\n%s", err, tt.err)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if !reflect.DeepEqual(shared, fresh().Listeners) {
				t.Error("changed the listeners of a copy")
			}
		})
	}
	t.Run("unix listener moved to tcp", func(t *testing.T) {
		c := DefaultConfig()
		c.Listeners[0] = ListenerConfig{Name: "u", Type: ListenUnix, Address: "/x/s", Mode: 0o600}
		if err := c.ApplyEnv(func(name string) string { return map[string]string{EnvListen: "127.0.0.1:0"}[name] }); err != nil {
			t.Fatal(err)
		}
		if want := (ListenerConfig{Name: "u", Type: ListenTCP, Address: "127.0.0.1:0"}); !reflect.DeepEqual(c.Listeners[0], want) {
			t.Errorf("got %+v, want %+v", c.Listeners[0], want)
		}
	})
	t.Run("listener for browsers moved", func(t *testing.T) {
		ws := ListenerConfig{Name: "w", Type: ListenWebSocket, Address: "127.0.0.1:9001", AllowedOrigins: []string{"*"}}
		for address, want := range map[string]ListenerConfig{
			"127.0.0.1:0": {Name: "w", Type: ListenWebSocket, Address: "127.0.0.1:0", AllowedOrigins: []string{"*"}},
			"/x/s":        {Name: "w", Type: ListenUnix, Address: "/x/s"},
		} {
			c := DefaultConfig()
			c.Listeners = []ListenerConfig{ws}
			if err := c.ApplyEnv(func(name string) string { return map[string]string{EnvListen: address}[name] }); err != nil || !reflect.DeepEqual(c.Listeners[0], want) {
				t.Errorf("got %+v, %v; want %+v", c.Listeners[0], err, want)
			}
		}
	})
	t.Run("problems of the rest are not the environment's", func(t *testing.T) {
		c := DefaultConfig()
		c.Events.Queue = 0
		if err := c.ApplyEnv(func(name string) string { return map[string]string{EnvLogLevel: "warn"}[name] }); err != nil {
			t.Error(err)
		}
	})
	t.Run("no listeners", func(t *testing.T) {
		c := DefaultConfig()
		c.Listeners = nil
		if err := c.ApplyEnv(func(name string) string { return map[string]string{EnvListen: "127.0.0.1:0"}[name] }); err != nil || len(c.Listeners) != 1 {
			t.Errorf("got %+v, %v", c.Listeners, err)
		}
	})
}

func TestConfigApplyFlags(t *testing.T) {
	c := DefaultConfig()
	flags := map[string]string{FlagListen: ":1883", FlagSocket: "/ok.sock"}
	err := c.ApplyFlags(func(name string) string { return flags[name] })
	want := "--listen: listeners[0].address: :1883 can be reached from other machines, and there is no way to sign in; name a file of users in access.passwords, listen on 127.0.0.1, or let everybody in with allow_anonymous: true"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if c.Control.Socket != "" {
		t.Error("half applied")
	}
}
