package appliance

import (
	"slices"
	"strings"
)

// The environment variables that [Config.ApplyEnv] reads.
const (
	EnvListen   = "EDGEBROKER_LISTEN"    // address of the first listener; a path makes it a unix socket
	EnvSocket   = "EDGEBROKER_SOCKET"    // path of the control socket
	EnvLogLevel = "EDGEBROKER_LOG_LEVEL" // debug, info, warn or error
	EnvData     = "EDGEBROKER_DATA"      // storage.directory
)

// The flags that [Config.ApplyFlags] reads; each does what the variable of
// the same name does.
const (
	FlagListen   = "--listen"
	FlagSocket   = "--socket"
	FlagLogLevel = "--log-level"
	FlagData     = "--data"
)

// ApplyEnv sets in c what the environment overrides. getenv is os.Getenv or
// the like; an empty value overrides nothing. The error is a *[ConfigError]
// whose problems name the variable at fault, and c is then unchanged. It says
// nothing of what is wrong with the rest of c.
func (c *Config) ApplyEnv(getenv func(name string) string) error {
	return c.override(EnvListen, EnvSocket, EnvLogLevel, EnvData, getenv)
}

// ApplyFlags is ApplyEnv for command line flags: get returns the value of a
// flag, such as [FlagListen], or an empty string.
func (c *Config) ApplyFlags(get func(name string) string) error {
	return c.override(FlagListen, FlagSocket, FlagLogLevel, FlagData, get)
}

func (c *Config) override(listen, socket, level, data string, get func(string) string) error {
	next := *c
	next.Listeners = slices.Clone(c.Listeners)
	var problems []Problem
	if v := get(listen); v != "" {
		if len(next.Listeners) == 0 {
			next.Listeners = DefaultConfig().Listeners
		}
		next.Listeners[0].setAddress(v)
	}
	if v := get(socket); v != "" {
		next.Control.Socket = v
	}
	if v := get(data); v != "" {
		next.Storage.Directory = v
	}
	if v := get(level); v != "" {
		var err error
		if next.Log.Level, err = parseLevel(v); err != nil {
			problems = append(problems, Problem{File: level, Path: "log.level", Message: err.Error()})
		}
	}
	had := c.findings()
	for _, f := range next.findings() {
		if slices.Contains(had, f) {
			continue
		}
		source := listen
		switch {
		case f.path == "control.socket" && next.Control.Socket != c.Control.Socket:
			source = socket
		case f.path == "storage.directory":
			source = data
		}
		problems = append(problems, Problem{File: source, Path: f.path, Message: f.message(nil)})
	}
	if err := configError(problems); err != nil {
		return err
	}
	*c = next
	return nil
}

// setAddress moves the listener to a path or to host:port, and sets the type
// that goes with it, unless it is one already. What is reachable from elsewhere stays as guarded as it
// was: AllowAnonymous is left alone.
func (l *ListenerConfig) setAddress(address string) {
	l.Address = address
	if strings.Contains(address, "/") {
		if l.Type != ListenUnix {
			l.ProxyProtocol = nil
		}
		l.Type, l.AllowedOrigins = ListenUnix, nil
		return
	}
	l.Mode = 0
	if l.Type == ListenUnix {
		l.Type, l.ProxyProtocol = ListenTCP, nil
	}
}
