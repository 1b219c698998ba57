package appliance

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What stands in the docs to be pasted is right as it stands.
func TestBridgePresets(t *testing.T) {
	text, err := os.ReadFile("../docs/BRIDGES.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]BridgeConfig)
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		cfg, err := ParseConfig("docs/BRIDGES.md", []byte(block[1]))
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		for _, b := range cfg.Bridges {
			seen[b.Name] = b
		}
	}
	for name, host := range map[string]string{"plant": "mosquitto", "upstairs": "edge", "aws": ".amazonaws.com", "azure": ".eventgrid.azure.net", "hivemq": ".hivemq.cloud", "emqx": ".emqxsl.com"} {
		b, there := seen[name]
		if !there || !strings.Contains(b.host(), host) || !b.encrypted() {
			t.Errorf("%s: got %+v", name, b)
		}
		if c := b.canary(); c.Every == 0 || name != "plant" && strings.HasPrefix(c.Topic, "$") {
			t.Errorf("%s: canaries are %+v", name, c)
		}
		for _, topic := range b.Topics {
			if topic.QoS == 2 && (name == "aws" || name == "azure") {
				t.Errorf("%s has no QoS 2", name)
			}
		}
	}
}

// AWS hangs up at topics that its policy does not name: it gets no canary unless
// somebody has said where to.
func TestCanaryByDefault(t *testing.T) {
	yes, no := true, false
	for i, tt := range []struct {
		address string
		c       BridgeCanary
		topic   string // empty: none
	}{
		{"mqtts://x-ats.iot.eu-west-1.amazonaws.com:8883", BridgeCanary{}, ""},
		{"mqtts://x-ats.iot.eu-west-1.AMAZONAWS.com:8883", BridgeCanary{Topic: "c"}, "c"},
		{"mqtts://x-ats.iot.eu-west-1.amazonaws.com:8883", BridgeCanary{Enabled: &yes}, "$edgebroker/canary/gw_1"},
		{"mqtt://far.example:1883", BridgeCanary{}, "$edgebroker/canary/gw_1"},
		{"mqtt://far.example:1883", BridgeCanary{Topic: "c", Enabled: &no}, ""},
	} {
		b := BridgeConfig{Address: tt.address, ClientID: "gw+1", Canary: tt.c}
		if got := b.canary(); got.Topic != tt.topic || (got.Every != 0) != (tt.topic != "") {
			t.Errorf("%d: got %+v", i, got)
		}
	}
}
