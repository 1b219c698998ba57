package appliance

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/certs"
)

// The log names a listener in the attribute of that name as everywhere else, so
// that one search finds all that is about it.
func TestCertificateLogNamesListener(t *testing.T) {
	var log bytes.Buffer
	b, err := New(DefaultConfig(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(t.Context())
	bad := certs.Report{What: certs.Rejected, Err: errors.New("no PEM")}
	b.certificateReport("lan", bad)
	b.httpCertificateReport(bad)
	for _, want := range []string{" listener=lan error=", " listener=http error="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}
