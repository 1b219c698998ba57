package statsd_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"google.golang.org/protobuf/encoding/protowire"
)

// partial is an ExportMetricsServiceResponse with a partial_success.
func partial(rejected int64, message string) []byte {
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
	inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), message)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
}

// status is a google.rpc.Status.
func status(message string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), message)
}

func answerOTLP(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func response(code int, kind string, body []byte) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
}

func TestOTLPAnswers(t *testing.T) {
	const kind = "application/x-protobuf"
	unknown := protowire.AppendFixed64(protowire.AppendTag(nil, 9, protowire.Fixed64Type), 1)
	for name, tt := range map[string]struct {
		resp     *http.Response
		message  string
		rejected uint64
	}{
		"nothing":            {response(200, kind, nil), "", 0},
		"partial":            {response(200, kind, partial(7, "too old")), "too old", 7},
		"a warning":          {response(202, kind, partial(0, "slow down")), "slow down", 0},
		"with what is new":   {response(200, kind, append(unknown, partial(7, "x")...)), "x", 7},
		"in two pieces":      {response(200, kind, append(partial(7, "x"), partial(8, "y")...)), "y", 8},
		"less than none":     {response(200, kind, partial(-7, "x")), "x", 0},
		"cut off":            {response(200, kind, partial(7, "x")[:5]), "", 0},
		"JSON":               {response(200, "application/json", []byte(`{}`)), "", 0},
		"JSON as protobuf":   {response(200, kind, []byte(`{"partialSuccess":{}}`)), "", 0},
		"an error":           {response(400, kind, status("no such metric")), "no such metric", 0},
		"a page":             {response(404, "text/html", status("no such metric")), "", 0},
		"an error, cut off":  {response(400, kind, append(status("x"), 0x80)), "", 0},
		"an error, too long": {response(500, kind, status(strings.Repeat("x", 1<<20))), "", 0},
	} {
		message, rejected := statsd.JudgeOTLP(tt.resp)
		if message != tt.message || rejected != tt.rejected {
			t.Errorf("%s: %q, %d", name, message, rejected)
		}
	}
}

func FuzzOTLPAnswer(f *testing.F) {
	f.Add(200, partial(7, "x"))
	f.Add(400, status("x"))
	f.Add(200, []byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		message, rejected := statsd.JudgeOTLP(response(code, "application/x-protobuf", body))
		if !strings.Contains(string(body), message) || rejected > 1<<63-1 {
			t.Fatalf("%q, %d", message, rejected)
		}
		if again, _ := statsd.JudgeOTLP(response(400, "application/x-protobuf", status(message))); again != message {
			t.Fatalf("%q comes back as %q", message, again)
		}
	})
}

// That values were not taken is said once, in words that harm no terminal.
func TestOTLPPartialLog(t *testing.T) {
	var log brokertest.Log
	s := &otlpServer{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
		answerOTLP(w, 200, partial(2, "\x1b[2J\xff\n"+strings.Repeat("long ", 1000)))
	}}
	e := newExporter(t, s, statsd.OTLPOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, exampleSnapshot)
	for range 5 {
		e.Export(t.Context())
	}
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "rejected=2") || strings.Contains(text, "\x1b") || !utf8.ValidString(text) || len(text) > 1000 {
		t.Errorf("the log:\n%q", text)
	}
	if e.Stats() != (statsd.OTLPStats{Reports: 5, Rejected: 10}) {
		t.Errorf("%+v", e.Stats())
	}
}
