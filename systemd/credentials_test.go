package systemd

import "testing"

func TestCredentialsDirectory(t *testing.T) {
	for value, want := range map[string]string{
		"":                                    "",
		"/run/credentials/edgebroker.service": "/run/credentials/edgebroker.service",
		"credentials":                         "",
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", value)
		if got := CredentialsDirectory(); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}
