package appliance

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDefaultSocket(t *testing.T) {
	empty, made := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(made, "edgebroker"), 0o700); err != nil {
		t.Fatal(err)
	}
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "edgebroker"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, run string
		uid       int
		xdg       string
		want      string
	}{
		{"folder exists", made, 1000, "/xdg", made + "/edgebroker/control.sock"},
		{"root can make it", empty, 0, "/xdg", empty + "/edgebroker/control.sock"},
		{"root without /run", empty + "/none", 0, "/xdg", "/xdg/edgebroker/control.sock"},
		{"user", empty, 1000, "/xdg", "/xdg/edgebroker/control.sock"},
		{"a file in the way", occupied, 1000, "/xdg", "/xdg/edgebroker/control.sock"},
		{"user without session", empty, 1000, "", "/tmp/edgebroker-1000/control.sock"},
		{"relative XDG_RUNTIME_DIR is ignored, as its specification asks", empty, 1000, "xdg", "/tmp/edgebroker-1000/control.sock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := defaultSocket(tt.run, tt.uid, tt.xdg, "/tmp"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("of the control config", func(t *testing.T) {
		if got := (ControlConfig{}).Path(); got != DefaultSocket() {
			t.Errorf("got %s, want %s", got, DefaultSocket())
		}
		if got := (ControlConfig{Socket: "/x"}).Path(); got != "/x" {
			t.Errorf("got %s, want /x", got)
		}
	})
}
