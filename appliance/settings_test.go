package appliance

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/statsd"
)

// Entries of lists are told apart by their names, uplinks too, and nothing secret
// is told of them.
func TestSettings(t *testing.T) {
	c := DefaultConfig()
	c.Bridges = []BridgeConfig{{Name: "cloud", Address: "mqtts://broker.example.com:8883", Username: "s3cret", Password: "file:/etc/p",
		Topics: []BridgeTopic{{Filter: "plant/#", Direction: BridgeOut}}},
		{Name: "sas", Address: "mqtts://broker.example.com:8883", PasswordCommand: []string{"/bin/token", "--key", "s3cret"},
			Topics: []BridgeTopic{{Filter: "#"}}}}
	c.Events.Sinks = []SinkConfig{{Name: "hook", Type: SinkWebhook, URL: "https://events.example.org/hook?key=s3cret"}}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(t.Context())
	got := make(map[string]statsd.Setting)
	for _, s := range b.Settings() {
		got[s.Key] = s
		if strings.Contains(s.Value, "s3cret") {
			t.Errorf("%s tells %s", s.Key, s.Value)
		}
	}
	for key, want := range map[string]string{
		"listeners[local].address":      "127.0.0.1:1883",
		"bridges[cloud].address":        "mqtts://broker.example.com:8883",
		"bridges[cloud].username":       "redacted",
		"bridges[cloud].password":       "file:/etc/p",
		"bridges[cloud].topics":         "[{filter: plant/#, direction: out}]",
		"bridges[sas].password_command": "[/bin/token, redacted]",
		"events.sinks[hook].url":        "https://events.example.org/hook?redacted",
	} {
		if got[key].Value != want {
			t.Errorf("%s is %q, want %q", key, got[key].Value, want)
		}
	}
	if !got["limits.max_connections"].Preset || got["bridges[cloud].address"].Preset {
		t.Error("what is preset is not told from what is not")
	}
	if c.Bridges[1].PasswordCommand[2] != "s3cret" {
		t.Error("the configuration itself has changed")
	}
}
