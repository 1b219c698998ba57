package main

import (
	"os"
	"path/filepath"
	"testing"
)

// init knows the config of the packages by its text, and makes the rest.
func TestPackagedConfigIsThatOfInit(t *testing.T) {
	text, err := os.ReadFile("../../packaging/edgebroker.yml")
	if err != nil {
		t.Fatal(err)
	}
	if want := (home{filepath.Dir(packagedConfig)}).configText(""); string(text) != want {
		t.Errorf("packaging/edgebroker.yml is\n%s\nwant\n%s", text, want)
	}
}
