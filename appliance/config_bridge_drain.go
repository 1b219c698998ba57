package appliance

import "time"

// drainFindings looks at how the messages of a rule wait.
func (t BridgeTopic) drainFindings(at string) (out []finding) {
	if t.TTL == 0 {
		return nil
	}
	if t.Direction == BridgeIn {
		return []finding{{path: at + ".ttl", what: "this is about what goes out, and nothing does with", other: at + ".direction", mend: "remove it"}}
	}
	return within[time.Duration]{at + ".ttl", t.TTL, time.Second, 3650 * day, false}.findings()
}
