package appliance

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/SIZING.md shows what the broker makes of a budget.
func TestSizingDocument(t *testing.T) {
	plain := DefaultConfig()
	plain.Access.Passwords = "/etc/edgebroker/users"
	plain.Storage.Directory = "/var/lib/edgebroker"
	secure := plain
	secure.Listeners = []ListenerConfig{{Name: "lan", Type: ListenTLS, Address: ":8883"}}

	var want strings.Builder
	want.WriteString("\n| budget | connections, plain | connections, TLS | queues in memory | retained |\n|---|---|---|---|---|\n")
	for _, size := range []ByteSize{32 * MiB, 64 * MiB, 128 * MiB, 256 * MiB, 512 * MiB, 768 * MiB, GiB} {
		p, s := plain.fit(MemoryBudget(size)), secure.fit(MemoryBudget(size))
		fmt.Fprintf(&want, "| %s | %d | %d | %.0f MiB | %.0f MiB |\n", size, p.Limits.MaxConnections, s.Limits.MaxConnections,
			float64(p.Sessions.TotalQueuedBytes)/float64(MiB), float64(p.Retained.MaxBytes)/float64(MiB))
	}
	want.WriteString("\n")

	const path, begin, end = "../docs/SIZING.md", "<!-- budgets: TestSizingDocument says what must stand here -->\n", "<!-- end -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), begin)
	got, _, ok := strings.Cut(rest, end)
	if !ok || got != want.String() {
		t.Errorf("%s has %q, want\n%s", path, got, want.String())
	}
}
