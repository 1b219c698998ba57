package main

import "testing"

func TestQuoted(t *testing.T) {
	for topic, want := range map[string]string{
		"plant/7_a.b-c": "plant/7_a.b-c",
		"plant/+/temp":  "'plant/+/temp'",
		"o'clock":       `'o'\''clock'`,
	} {
		if got := quoted(topic); got != want {
			t.Errorf("%q is quoted as %s, want %s", topic, got, want)
		}
	}
}
