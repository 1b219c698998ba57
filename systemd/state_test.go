package systemd

import "testing"

func TestStateDirectory(t *testing.T) {
	for value, want := range map[string]string{
		"":                            "",
		"/var/lib/edgebroker":         "/var/lib/edgebroker",
		"/var/lib/edgebroker:/var/x":  "/var/lib/edgebroker",
		"edgebroker":                  "",
		":/var/lib/edgebroker":        "",
		"/var/lib/private/edgebroker": "/var/lib/private/edgebroker",
	} {
		t.Setenv("STATE_DIRECTORY", value)
		if got := StateDirectory(); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	if got := setting(t, "StateDirectory"); len(got) != 1 || got[0] != "edgebroker" {
		t.Errorf("the unit's StateDirectory = %q, want edgebroker", got)
	}
}
