package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
)

// TestRun runs the example, and looks at what it prints.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), "127.0.0.1:0", false, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, line := range []string{
		`sensors connect at 127\.0\.0\.1:\d+`,
		`stranger: (connect|authenticate) refused: .*`,
		`sensor-1 connects, MQTT 3\.1\.1`,
		`sensor-1 measures 21\.5 degrees: window shut`,
		`sensor-1 hears: window shut`,
		`sensor-1 measures 29\.0 degrees: window open`,
		`sensor-1 hears: window open`,
		`sensor-1: publish refused: .* greenhouse/sensor-2/temperature`,
		`sensor-1 disconnects \(normal\), 3 messages from it, 3 to it`,
		`1 connections, 6 messages, 2 refused`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).Match(out.Bytes()) {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		t.Logf("it printed:\n%s", &out)
	}
}

// TestInterrupt ends the example as Ctrl-C does, when it would go on for ever.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{until: "sensor-9 may connect", then: cancel}
	if err := run(ctx, "127.0.0.1:0", true, out); err != nil {
		t.Error(err)
	}
	if text := out.text.String(); !strings.Contains(text, "sensor-9 may connect") || !strings.Contains(text, "connections, ") {
		t.Errorf("it printed:\n%s", text)
	}
}

// watched calls a function when something has been printed.
type watched struct {
	text  strings.Builder
	until string
	then  func()
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.text.Write(b)
	if strings.Contains(w.text.String(), w.until) {
		w.then()
	}
	return n, err
}
