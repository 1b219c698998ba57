package appliance

import (
	"fmt"
	"regexp"
	"slices"
)

// bucketName is what JetStream takes for the name of a key-value bucket.
var bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,200}$`)

// retained reports whether retained messages pass by t as such.
func (t BridgeTopic) retained() bool { return t.Retain == nil || *t.Retain }

// keepsRetained reports whether the bucket is to have what is retained and goes
// out by t.
func (c BridgeConfig) keepsRetained(t BridgeTopic) bool {
	return c.nats() && c.NATS.Retained != "" && t.retained() && t.Direction != BridgeIn
}

// retainedFindings looks at the bucket for retained messages, of which item is
// the section.
func (c BridgeConfig) retainedFindings(item string) (out []finding) {
	n := c.NATS
	if n.Retained == "" {
		return nil
	}
	at := item + ".retained"
	if !bucketName.MatchString(n.Retained) {
		out = append(out, finding{path: at, what: quoteShort(n.Retained) + " is no name of a bucket", mend: "use letters, digits, _ and -"})
	}
	if n.Stream == bucketStream+n.Retained {
		out = append(out, finding{path: at, what: "this bucket is also the stream of messages, by", other: item + ".stream", mend: "use another for one of them"})
	}
	if n.Events != "" {
		out = append(out, finding{path: at, what: "components that speak events would not get retained messages, with", other: item + ".events", mend: "remove this, or use another uplink"})
	}
	if !slices.ContainsFunc(c.Topics, BridgeTopic.retained) {
		out = append(out, finding{path: at, what: fmt.Sprintf("no entry of topics passes retained messages, so that bucket %s stays empty", quoteShort(n.Retained)), mend: "remove it, or the retain: false of one of them"})
	}
	return out
}

// bucketStream begins the names of the streams of buckets.
const bucketStream = "KV_"
