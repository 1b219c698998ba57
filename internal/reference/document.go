package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
)

const documentPath = "docs/REFERENCE.md"

const introduction = `# Reference

Every key of the configuration, every metric, event, reason and exit code. This page is made of the code by
` + "`go run ./internal/reference`" + `, so change it there.

- [Configuration](#configuration)
- [Metrics](#metrics), [histograms](#histograms)
- [Events](#events): [what the broker says of itself](#what-the-broker-says-of-itself)
- [Why a message was not delivered](#why-a-message-was-not-delivered), [why a connection ended](#why-a-connection-ended),
  [why a socket was refused](#why-a-socket-was-refused)
- [Exit codes](#exit-codes)

The commands and their flags: ` + "`edgebroker help`, `edgebroker help COMMAND`, or `man edgebroker`" + `. The control API:
docs/API.md. Topics below ` + "`$SYS`" + `: docs/MONITORING.md#sys.
`

// document is docs/REFERENCE.md, of the source below root.
func document(root string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(linked(introduction))
	for _, part := range []func(root string, b *bytes.Buffer) error{addConfig, addMetrics, addEvents, addReasons, addExits} {
		if err := part(root, &b); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func addMetrics(_ string, b *bytes.Buffer) error {
	b.WriteString(linked("\n## Metrics\n\nAs Prometheus and StatsD have them (`c` is a counter, `g` a gauge); OpenTelemetry has the names of Prometheus without `_total`.\n" +
		"Values of labels are words of fixed sets, or names that the configuration gives. docs/MONITORING.md says how to get them.\n\n" +
		"| Prometheus | StatsD (`tags: none`) | | labels | meaning |\n|---|---|---|---|---|\n"))
	for _, m := range statsd.DescribeMetrics() {
		kind := "g"
		if m.Counter {
			kind = "c"
		}
		if m.Help == "" {
			return fmt.Errorf("metric %s has no description", m.Name)
		}
		row(b, code(m.Name), code(m.StatsD), kind, strings.Join(m.Labels, ", "), prose(m.Help))
	}
	b.WriteString(linked("\n### Histograms\n\nFor Prometheus and OpenTelemetry. docs/MONITORING.md#histograms says what exactly they measure.\n\n" +
		"| Prometheus | buckets up to | each times | meaning |\n|---|---|---|---|\n"))
	for _, h := range statsd.DescribeHistograms() {
		if h.Help == "" {
			return fmt.Errorf("histogram %s has no description", h.Name)
		}
		row(b, code(h.Name), fmt.Sprintf("%v ... %v", h.First, h.Last), strconv.Itoa(int(math.Round(h.Step))), prose(h.Help))
	}
	return nil
}

func addReasons(root string, b *bytes.Buffer) error {
	drops, err := readWords(root, "relay/counters.go", "Drop")
	if err != nil {
		return err
	}
	ends, err := readWords(root, "listen/words.go", "End")
	if err != nil {
		return err
	}
	refusals, err := readWords(root, "listen/words.go", "Refused")
	if err != nil {
		return err
	}
	for i := range drops { // their words are in an array beside
		drops[i].value = relay.DropReason(i).String()
	}
	for _, t := range []struct {
		title, intro, head string
		words              []word
	}{
		{"Why a message was not delivered", "In `edgebroker drops`, in events of type `drop`, and as the label `reason` of `edgebroker_messages_dropped_total`.",
			"the message was not delivered because", drops},
		{"Why a connection ended", "In events of type `disconnection`, and as the label `reason` of `edgebroker_disconnections_total`.", "", ends},
		{"Why a socket was refused", "In events of type `refusal` with `what` `connect`, and in `refused` of `edgebroker stats`. " +
			"Who is refused after CONNECT has a name of a reason code of MQTT 5 there, such as `not authorized` or `bad user name or password`.", "", refusals},
	} {
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n| reason | %s |\n|---|---|\n", t.title, t.intro, t.head)
		for _, w := range t.words {
			row(b, code(w.value), prose(w.text))
		}
	}
	return nil
}

// row writes a row of a table.
func row(b *bytes.Buffer, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// code is s in the type of code, which may stand in a table.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// readFile is a file below root.
func readFile(root, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
}
