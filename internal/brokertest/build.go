package brokertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build makes the program of this tree as it is shipped, and returns its path.
// It is there until the test ends.
func Build(t testing.TB) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "edgebroker")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/synthetism/edgebroker/cmd/edgebroker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build edgebroker: %v\n%s", err, out)
	}
	return program
}
