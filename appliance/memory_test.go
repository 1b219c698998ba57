package appliance_test

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/memory"
	"github.com/synthetism/edgebroker/wire"
)

const mib = 1 << 20

// group64 is a machine on which the process is in a group of 64 MiB.
var group64 = fstest.MapFS{
	"proc/meminfo":                {Data: []byte("MemTotal: 1048576 kB\n")},
	"proc/self/cgroup":            {Data: []byte("0::/gw\n")},
	"proc/self/mountinfo":         {Data: []byte("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")},
	"sys/fs/cgroup/gw/memory.max": {Data: []byte("67108864\n")},
}

func TestMemoryBudgetText(t *testing.T) {
	for text, want := range map[string]appliance.MemoryBudget{"auto": appliance.MemoryAuto, "off": appliance.MemoryOff, "64MiB": 64 * mib} {
		var m appliance.MemoryBudget
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "on", "64", "0B", "-1MiB", "Auto"} {
		m := appliance.MemoryBudget(5)
		if err := m.UnmarshalText([]byte(text)); err == nil || m != 5 {
			t.Errorf("%q was taken for %v", text, m)
		}
	}
}

// All bounds together fit into a budget, however small, and none is above its
// default.
func TestBoundsFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := appliance.MemoryBudget(rapid.Int64Range(24*mib, 4<<30).Draw(t, "budget"))
		cfg := appliance.DefaultConfig()
		if rapid.Bool().Draw(t, "passwords") {
			cfg.Access.Passwords = "/p"
		}
		if rapid.Bool().Draw(t, "stored") {
			cfg.Storage.Directory = "/d"
		}
		if rapid.Bool().Draw(t, "tls") {
			cfg.Listeners[0].Type = appliance.ListenTLS
		}
		if rapid.Bool().Draw(t, "retained") {
			cfg.Retained.MaxBytes = appliance.ByteSize(budget) / appliance.ByteSize(rapid.Int64Range(3, 100).Draw(t, "of"))
		}
		got, sum := cfg.Fit(budget)
		if most := appliance.ByteSize(budget) * 80 / 100; sum > most {
			t.Fatalf("bounds allow %v of %v", sum, budget)
		}
		if got.Retained.MaxBytes != cfg.Retained.MaxBytes && cfg.Retained.MaxBytes != appliance.DefaultConfig().Retained.MaxBytes {
			t.Fatalf("a bound that was set to %v is %v", cfg.Retained.MaxBytes, got.Retained.MaxBytes)
		}
		def := appliance.DefaultConfig()
		if got.Limits.MaxConnections > def.Limits.MaxConnections || got.Limits.MaxOutboundBytes > def.Limits.MaxOutboundBytes || got.Sessions.TotalQueuedBytes > def.Sessions.TotalQueuedBytes ||
			got.Sessions.MaxQueuedBytes > def.Sessions.MaxQueuedBytes || got.Sessions.MaxSessions > def.Sessions.MaxSessions || got.Limits.MaxUnauthenticated > def.Limits.MaxUnauthenticated {
			t.Fatalf("bounds above their defaults: %+v %+v", got.Limits, got.Sessions)
		}
		got.Listeners, got.Access = def.Listeners, def.Access // what they need is not the point
		if err := got.Validate(); err != nil {
			t.Fatalf("the bounds do not fit each other: %v", err)
		}
	})
}

// No budget changes nothing, and so does a machine with plenty.
func TestBoundsOfPlenty(t *testing.T) {
	for _, budget := range []appliance.MemoryBudget{0, appliance.MemoryOff, 8 << 30} {
		if got, _ := appliance.DefaultConfig().Fit(budget); !reflect.DeepEqual(got, appliance.DefaultConfig()) {
			t.Errorf("%v: %+v", budget, got)
		}
	}
}

// The example says what auto comes to.
func TestExampleSaysWhatAutoIs(t *testing.T) {
	small, _ := appliance.DefaultConfig().Fit(64 * mib * 80 / 100)
	large, _ := appliance.DefaultConfig().Fit(256 * mib * 80 / 100)
	round := func(b appliance.ByteSize) string {
		for _, u := range []appliance.ByteSize{appliance.MiB, appliance.KiB} {
			if b >= 10*u || b == u {
				return (b / u * u).String()
			}
		}
		return b.String()
	}
	for key, of := range map[string]func(c appliance.Config) string{
		"limits.max_connections":      func(c appliance.Config) string { return fmt.Sprint(c.Limits.MaxConnections) },
		"limits.max_outbound_bytes":   func(c appliance.Config) string { return round(c.Limits.MaxOutboundBytes) },
		"sessions.total_queued_bytes": func(c appliance.Config) string { return round(c.Sessions.TotalQueuedBytes) },
		"sessions.max_queued_bytes":   func(c appliance.Config) string { return round(c.Sessions.MaxQueuedBytes) },
		"retained.max_bytes":          func(c appliance.Config) string { return round(c.Retained.MaxBytes) },
	} {
		line := regexp.MustCompile(`(?m)^# +` + regexp.QuoteMeta(key) + ` +` + of(small) + ` +` + of(large) + `\b`)
		if !line.Match(appliance.ExampleConfig()) {
			t.Errorf("the example does not say that %s is %s and %s", key, of(small), of(large))
		}
	}
}

func TestMemoryFindings(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(c *appliance.Config)
		want string // part of the finding; empty: there is none
	}{
		"auto looks at nothing": {func(c *appliance.Config) { c.Sessions.TotalQueuedBytes = 1 << 40 }, ""},
		"it fits":               {func(c *appliance.Config) { c.Memory = 256 * mib; c.Sessions.TotalQueuedBytes = 100 * mib }, ""},
		"too small": {func(c *appliance.Config) { c.Memory = 5 * mib },
			"memory: 5MiB is less than 24MiB; raise it, or write off"},
		"queues": {func(c *appliance.Config) { c.Memory = 64 * mib; c.Sessions.TotalQueuedBytes = 60 * mib },
			"sessions.total_queued_bytes: 60MiB do not fit into the 37MiB that are left for clients and messages of the 64MiB of memory; lower this or raise that"},
		"retained": {func(c *appliance.Config) { c.Memory = 64 * mib; c.Retained.MaxBytes = 1 << 30 }, "retained.max_bytes: 1GiB do not fit"},
		"packets": {func(c *appliance.Config) {
			c.Memory, c.Limits.MaxPacketSize, c.Sessions.MaxQueuedBytes = 64*mib, 60*mib, 63*mib
		}, "limits.max_packet_size: 60MiB do not fit"},
		"connections": {func(c *appliance.Config) { c.Memory = 64 * mib; c.Limits.MaxConnections = 5000 },
			"limits.max_connections: 5000 connections of about 18KiB do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			c := appliance.DefaultConfig()
			tc.set(&c)
			err := c.Validate()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestBrokerBudget(t *testing.T) {
	t.Run("of the control group", func(t *testing.T) {
		cfg := config(t)
		cfg.Limits.MaxPacketSize = 30 * mib // more than fits
		cfg.Sessions.MaxQueuedBytes = 31 * mib
		var log brokertest.Log
		b := start(t, cfg, appliance.WithMachine(group64), appliance.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		brokertest.WaitFor(t, "the first look", func() bool { return b.Stats().Budget.Used > 0 })
		got := b.Stats().Budget
		if got.Bytes != 67108864*80/100 || got.Source != "/sys/fs/cgroup/gw/memory.max" || got.Level != "calm" || got.Used == 0 && got.Most == 0 {
			t.Errorf("got %+v", got)
		}
		if b.Fitted().Limits.MaxConnections >= 1000 {
			t.Errorf("%d connections are allowed", b.Fitted().Limits.MaxConnections)
		}
		s, _ := askControl(t, cfg)
		if s.Budget.Bytes != got.Bytes {
			t.Errorf("the control socket says %+v", s.Budget)
		}
		stop(t, b)
		if text := log.String(); !strings.Contains(text, "memory budget") || !strings.Contains(text, "max_connections=") || !strings.Contains(text, "limits.max_packet_size: 30MiB do not fit") {
			t.Errorf("the log says %s", text)
		}
	})
	for source, want := range map[string]int64{"off": 0, "config": 64 * mib, "unknown": 0} {
		t.Run(source, func(t *testing.T) {
			cfg := config(t)
			opts := []appliance.Option{appliance.WithMachine(group64)}
			switch source {
			case "off":
				cfg.Memory = appliance.MemoryOff
			case "config":
				cfg.Memory = 64 * mib
			default:
				opts[0] = appliance.WithMachine(fstest.MapFS{})
			}
			if got := start(t, cfg, opts...).Stats().Budget; got.Bytes != want || got.Source != source {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A broker in somebody's program leaves the program's garbage collector alone,
// unless it is told otherwise.
func TestProcessMemory(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "")
	start(t, config(t), appliance.WithMachine(group64))
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit of the process is %d", got)
	}
	start(t, config(t), appliance.WithMachine(group64), appliance.WithProcessMemory())
	if got := debug.SetMemoryLimit(-1); got != 67108864*80/100 {
		t.Errorf("the limit of the process is %d", got)
	}
}

// Each level is told to the world, and makes the parts do what it asks for.
func TestPressure(t *testing.T) {
	var log brokertest.Log
	b := start(t, config(t), appliance.WithMachine(group64), appliance.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	got := make(chan string, 10)
	b.On(string(events.System), func(e events.Event) {
		if what := e.Data.(events.SystemData).What; strings.HasPrefix(what, "memory_") {
			got <- what
		}
	})
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, "c"))
	retain := func(topic string, want uint64) {
		t.Helper()
		c.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte(topic), Payload: []byte("x")})
		if n := b.Stats().Retained.Messages; uint64(n) != want {
			t.Errorf("%d messages are retained, want %d", n, want)
		}
	}
	retain("a", 1)
	b.Press(memory.Calm, memory.Severe)
	retain("b", 1)
	if shed := b.Stats().Budget.Shed; shed["retained"] != 1 {
		t.Errorf("shed %v", shed)
	}
	b.Press(memory.Severe, memory.Guarded)
	retain("c", 2)
	for range 9 { // the ninth stranger is sent away
		nc, err := net.Dial("tcp", b.Addr("tcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	brokertest.WaitFor(t, "a stranger to be sent away", func() bool { return b.Stats().Budget.Shed["connections"] > 0 })
	b.Press(memory.Guarded, memory.Calm)
	for _, want := range []string{"memory_severe", "memory_guarded", "memory_calm"} {
		if what := <-got; what != want {
			t.Errorf("%s was reported, want %s", what, want)
		}
	}
	if text := log.String(); !strings.Contains(text, "pressure=severe") || strings.Count(text, " level=") != strings.Count(text, "\n") {
		t.Errorf("the log does not tell the pressure, or has lines of two levels: %s", text)
	}
}
