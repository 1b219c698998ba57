package systemd

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// setting is the values that the unit gives key, in order.
func setting(t testing.TB, key string) []string {
	t.Helper()
	unit, err := os.ReadFile("edgebroker.service")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for line := range strings.Lines(string(unit)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			values = append(values, v)
		}
	}
	return values
}

// A crash of the Go runtime must not look like the usage error that the unit
// does not restart on. The test crashes a process under the unit's own
// environment and compares.
func TestUnitRestartsAfterCrash(t *testing.T) {
	const crash = "EDGEBROKER_TEST_CRASH"
	if os.Getenv(crash) != "" {
		panic("crash for TestUnitRestartsAfterCrash")
	}
	if got := setting(t, "RestartPreventExitStatus"); len(got) != 1 || got[0] != "2" {
		t.Fatalf("RestartPreventExitStatus = %q, want 2", got)
	}
	run := func(env ...string) syscall.WaitStatus {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `ulimit -c 0; exec "$0" "$@"`, exe, "-test.run=^TestUnitRestartsAfterCrash$")
		cmd.Env = append(env, crash+"=1")
		err = cmd.Run()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatalf("crashing process ended with %v", err)
		}
		return cmd.ProcessState.Sys().(syscall.WaitStatus)
	}
	if ws := run(); ws.ExitStatus() != 2 {
		t.Errorf("crash outside the unit: wait status %#x, want exit status 2; the unit's GOTRACEBACK may be needless", ws)
	}
	if ws := run(setting(t, "Environment")...); !ws.Signaled() || ws.Signal() != syscall.SIGABRT {
		t.Errorf("crash in the unit: wait status %#x, want SIGABRT: systemd would not restart the broker", ws)
	}
}
