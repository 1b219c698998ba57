package appliance

import (
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// BridgeVersion is the version of MQTT that the far side speaks.
type BridgeVersion string

// The versions.
const (
	BridgeV5   BridgeVersion = "5"
	BridgeV311 BridgeVersion = "3.1.1"
)

var bridgeVersions = map[BridgeVersion]wire.Version{"": wire.V5, BridgeV5: wire.V5, BridgeV311: wire.V311}

func (c BridgeConfig) versionFindings(item string) []finding {
	if c.Version == "" {
		return nil
	}
	path := item + ".version"
	if c.nats() {
		return []finding{{path: path, what: "this is of no use where the uplink leads to NATS", mend: "remove it"}}
	}
	out := oneOf(path, c.Version, BridgeV5, BridgeV311)
	for i, t := range c.Topics {
		if c.Version == BridgeV311 && t.Direction == BridgeBoth {
			out = append(out, finding{path: fmt.Sprintf("%s.topics[%d].direction", item, i), what: "a far side of 3.1.1 sends back what it gets, and cannot be told not to",
				mend: "write a rule for out and one for in, with topics that differ"})
		}
	}
	if c.Version == BridgeV311 && c.Username == "" && (c.Password != "" || len(c.PasswordCommand) > 0) {
		out = append(out, finding{path: path, what: "in 3.1.1 there is no password without", other: item + ".username", mend: "set that too"})
	}
	return out
}
