package appliance

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// SinkConfig is one place where events go. What is 0 or empty is as
// docs/EVENTS.md says.
type SinkConfig struct {
	Name string   `yaml:"name"`
	Type SinkType `yaml:"type"`

	Types    []string `yaml:"types"`  // of events; "*" is all
	Client   string   `yaml:"client"` // pattern in which * stands for any characters
	Topic    string   `yaml:"topic"`  // filter; keeps messages and drops
	Sample   int      `yaml:"sample"` // every how many-th event of these
	Queue    int      `yaml:"queue"`  // events that may wait for the sink; 0: EventsConfig.Queue
	Payloads bool     `yaml:"payloads"`

	Path     string   `yaml:"path"`      // of a file
	MaxBytes ByteSize `yaml:"max_bytes"` // of one file, or of what waits for a webhook
	Keep     int      `yaml:"keep"`      // files that were full

	QoS int `yaml:"qos"` // of MQTT messages

	URL         string        `yaml:"url"` // of a webhook
	Secret      SecretRef     `yaml:"secret"`
	CA          string        `yaml:"ca"` // PEM file of the authorities to trust; empty: the system's
	BatchEvents int           `yaml:"batch_events"`
	BatchTime   time.Duration `yaml:"batch_time"`
}

// SinkType is where events go.
type SinkType string

// The kinds of sink.
const (
	SinkFile    SinkType = "file"
	SinkMQTT    SinkType = "mqtt"
	SinkWebhook SinkType = "webhook"
	SinkJournal SinkType = "journal" // of systemd
)

// What counts where a SinkConfig says nothing.
const (
	sinkBytes       = 16 * MiB
	sinkKeep        = 4
	sinkBatchEvents = 100
	sinkBatchTime   = time.Second
	maxSinks        = 16
)

func sinkItem(i int) string { return fmt.Sprintf("events.sinks[%d]", i) }

func (c EventsConfig) findings() []finding {
	if n := len(c.Sinks); n > maxSinks {
		return []finding{{path: "events.sinks", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxSinks)}}
	}
	var out []finding
	for i, s := range c.Sinks {
		item := sinkItem(i)
		out = append(out, entryNameFindings(i, func(j int) string { return c.Sinks[j].Name }, sinkItem, "a sink", "audit")...)
		for j := range i {
			if s.Path != "" && c.Sinks[j].Path == s.Path {
				out = append(out, finding{path: item + ".path", what: "the file is that of", other: sinkItem(j), mend: "pick another"})
			}
		}
		out = append(out, s.findings(item)...)
	}
	return out
}

func (s SinkConfig) findings(item string) []finding {
	out := oneOf(item+".type", s.Type, SinkFile, SinkMQTT, SinkWebhook, SinkJournal)
	if len(out) > 0 {
		return out
	}
	for i, t := range s.Types {
		if known := events.Type(t); known != events.Any && !known.BuiltIn() && validType(t) != nil {
			out = append(out, finding{path: fmt.Sprintf("%s.types[%d]", item, i), what: quoteShort(t) + " is no type of event", mend: "docs/EVENTS.md lists them"})
		}
	}
	if s.Topic != "" && wire.ValidFilter(s.Topic) != nil {
		out = append(out, finding{path: item + ".topic", what: quoteShort(s.Topic) + " is not a filter", mend: "write one, such as plant/#"})
	}
	for _, w := range []within[int]{{item + ".sample", s.Sample, 0, 1 << 30, false}, {item + ".queue", s.Queue, 0, 1 << 20, false},
		{item + ".keep", s.Keep, 0, 1000, false}, {item + ".batch_events", s.BatchEvents, 0, 10000, false}} {
		out = append(out, w.findings()...)
	}
	if s.MaxBytes != 0 {
		out = append(out, within[ByteSize]{item + ".max_bytes", s.MaxBytes, 1 * MiB, 16 * GiB, false}.findings()...)
	}
	if s.BatchTime != 0 {
		out = append(out, within[time.Duration]{item + ".batch_time", s.BatchTime, 10 * time.Millisecond, time.Hour, false}.findings()...)
	}
	if s.QoS != 0 && s.QoS != 1 {
		out = append(out, finding{path: item + ".qos", what: fmt.Sprintf("events have QoS 0 or 1, not %d", s.QoS), mend: "use one of them"})
	}
	for _, k := range []struct {
		key string
		set bool
		in  []SinkType
	}{
		{"path", s.Path != "", []SinkType{SinkFile}}, {"keep", s.Keep != 0, []SinkType{SinkFile}},
		{"max_bytes", s.MaxBytes != 0, []SinkType{SinkFile, SinkWebhook}}, {"qos", s.QoS != 0, []SinkType{SinkMQTT}},
		{"url", s.URL != "", []SinkType{SinkWebhook}}, {"secret", s.Secret != "", []SinkType{SinkWebhook}}, {"ca", s.CA != "", []SinkType{SinkWebhook}},
		{"batch_events", s.BatchEvents != 0, []SinkType{SinkWebhook}}, {"batch_time", s.BatchTime != 0, []SinkType{SinkWebhook}},
	} {
		if k.set && !slices.Contains(k.in, s.Type) {
			out = append(out, finding{path: item + "." + k.key, what: "it means nothing for " + string(s.Type), mend: "remove it"})
		}
	}
	switch s.Type {
	case SinkFile:
		if s.Path == "" {
			return append(out, finding{path: item + ".path", what: "no file", mend: "set one, such as /var/log/edgebroker/events.jsonl"})
		}
		return append(out, fileFindings(item+".path", s.Path)...)
	case SinkWebhook:
		return append(out, s.webhookFindings(item)...)
	}
	return out
}

func (s SinkConfig) webhookFindings(item string) []finding {
	out := append(secretRefFindings(item+".secret", s.Secret), credentialPathFindings(item+".ca", s.CA)...)
	// What is written there is not shown: there may be a password in it.
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		out = append(out, finding{path: item + ".url", what: "that is no URL of a server", mend: "write it like https://events.example.org/hook"})
	case u.User != nil:
		out = append(out, finding{path: item + ".url", what: "there is a password in the URL, where it would show", mend: "sign with a secret instead"})
	case s.CA != "" && u.Scheme != "https":
		out = append(out, finding{path: item + ".ca", what: "certificates are of no use without TLS in", other: item + ".url", mend: "write https:// there"})
	}
	return out
}

// validType says what is wrong with the name of a custom type.
func validType(t string) error {
	if t == "" || len(t) > 256 || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7F }) || !strings.Contains(t, ".") {
		return fmt.Errorf("%s is no type of event", quoteShort(t))
	}
	return nil
}
