package appliance

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// SysConfig is about what the broker publishes of itself below $SYS. See
// docs/MONITORING.md.
type SysConfig struct {
	Interval      time.Duration `yaml:"interval"`      // between values of $SYS/broker; 0: none
	Clients       bool          `yaml:"clients"`       // tell who connects and disconnects
	Subscriptions bool          `yaml:"subscriptions"` // and who subscribes to what
	Node          string        `yaml:"node"`          // names the broker there; empty: see NodeName
	Metrics       bool          `yaml:"metrics"`       // values of $SYS/broker for Prometheus, too, named as exporters for mosquitto do
}

// NodeName is Node or, when that is empty, "edgebroker@" and the host's name.
func (c SysConfig) NodeName() string {
	if c.Node != "" {
		return c.Node
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return "edgebroker@" + topicLevel(host)
}

// StatsdConfig is about the StatsD server that the broker reports to.
type StatsdConfig struct {
	Address  string            `yaml:"address"` // udp://HOST:PORT or unixgram:/PATH; empty: none
	Interval time.Duration     `yaml:"interval"`
	Prefix   string            `yaml:"prefix"` // of every name; may be empty
	Tags     statsd.TagStyle   `yaml:"tags"`
	Labels   map[string]string `yaml:"labels"` // that every line has
}

func defaultStatsd() StatsdConfig {
	return StatsdConfig{Interval: 10 * time.Second, Prefix: "edgebroker", Tags: statsd.TagsNone}
}

// Bounds on what is sent again and again.
const (
	minReportInterval = time.Second
	maxReportInterval = time.Hour
	maxNodeName       = 256
	maxStatsdPrefix   = 128 // bytes
	maxStatsdLabels   = 512 // bytes of all keys and values, so that every line fits into a datagram
)

func (c SysConfig) findings() []finding {
	var out []finding
	if c.Interval != 0 && c.Interval < minReportInterval {
		out = append(out, finding{path: "sys.interval", what: valueText(c.Interval) + " is less than " + valueText(minReportInterval), mend: "raise it, or set 0s for none"})
	}
	if c.Interval > maxReportInterval {
		out = append(out, finding{path: "sys.interval", what: valueText(c.Interval) + " is more than " + valueText(maxReportInterval), mend: "lower it"})
	}
	if c.Subscriptions && !c.Clients {
		out = append(out, finding{path: "sys.subscriptions", what: "it counts only together with clients", mend: "set sys.clients to true, too"})
	}
	if c.Metrics && c.Interval == 0 {
		out = append(out, finding{path: "sys.metrics", what: "there are no values to show with 0s in", other: "sys.interval", mend: "set that to 10s"})
	}
	switch {
	case c.Node == "":
	case len(c.Node) > maxNodeName:
		out = append(out, finding{path: "sys.node", what: fmt.Sprintf("the name has %d bytes, %d is the most", len(c.Node), maxNodeName), mend: "use a shorter one"})
	case strings.Contains(c.Node, "/") || strings.ContainsFunc(c.Node, unicode.IsControl) || wire.ValidTopicString(c.Node) != nil:
		out = append(out, finding{path: "sys.node", what: quoteShort(c.Node) + " cannot be a level of a topic", mend: "use a name without / + # and control characters, such as edgebroker@line1"})
	}
	return out
}

var (
	statsdPrefix = regexp.MustCompile(`^(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)?$`)
	statsdLabel  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (c StatsdConfig) findings() []finding {
	var out []finding
	if c.Address != "" {
		if _, _, err := statsd.ParsePushAddress(c.Address); err != nil {
			out = append(out, finding{path: "statsd.address", what: fmt.Sprintf("%s: %v", quoteShort(c.Address), err), mend: "write udp://HOST:PORT, such as udp://127.0.0.1:8125, or unixgram:/PATH"})
		}
	}
	out = append(out, within[time.Duration]{"statsd.interval", c.Interval, minReportInterval, maxReportInterval, false}.findings()...)
	switch {
	case len(c.Prefix) > maxStatsdPrefix:
		out = append(out, finding{path: "statsd.prefix", what: fmt.Sprintf("the prefix has %d bytes, %d is the most", len(c.Prefix), maxStatsdPrefix), mend: "use a shorter one"})
	case !statsdPrefix.MatchString(c.Prefix):
		out = append(out, finding{path: "statsd.prefix", what: quoteShort(c.Prefix) + " cannot begin names", mend: "use letters, digits, _ and -, with single dots between them"})
	}
	out = append(out, oneOf("statsd.tags", c.Tags, statsd.TagsNone, statsd.TagsDogStatsD, statsd.TagsInflux, statsd.TagsGraphite)...)
	if len(c.Labels) > 0 && c.Tags == statsd.TagsNone {
		out = append(out, finding{path: "statsd.labels", what: "labels are never sent with \"none\" in", other: "statsd.tags",
			mend: "set that to what the server understands (dogstatsd, influx or graphite), or put the value into statsd.prefix"})
	}
	return append(out, c.labelFindings()...)
}

func (c StatsdConfig) labelFindings() []finding {
	var out []finding
	total, taken := 0, statsd.MetricLabels()
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		path, value := "statsd.labels["+key+"]", c.Labels[key]
		total += len(key) + len(value)
		switch {
		case !statsdLabel.MatchString(key):
			out = append(out, finding{path: path, what: quoteShort(key) + " cannot name a label", mend: "use letters, digits and _, with a letter first"})
		case slices.Contains(taken, key):
			out = append(out, finding{path: path, what: "some metrics have a label of that name", mend: "use another name"})
		case value == "":
			out = append(out, finding{path: path, what: "no value", mend: "write one, or remove the label"})
		}
	}
	if total > maxStatsdLabels {
		out = append(out, finding{path: "statsd.labels", what: fmt.Sprintf("the labels have %d bytes, %d is the most", total, maxStatsdLabels), mend: "use fewer or shorter ones"})
	}
	return out
}
