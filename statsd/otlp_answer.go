package statsd

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/synthetism/edgebroker/internal/post"
	"google.golang.org/protobuf/encoding/protowire"
)

const protobufType = "application/x-protobuf"

// otlpAnswer is what became of a report.
type otlpAnswer struct {
	taken bool
	retry bool          // soon; else at the next interval, since the same would be refused again
	lost  bool          // nobody has answered
	after time.Duration // that the collector asks to wait, 0 if it does not
	err   error         // nil if it was taken
	// message is what the collector says of it: untrusted. rejected are the values
	// that it did not take of a report that it has taken.
	message  string
	rejected uint64
}

// judgeOTLP reads an answer as the protocol wants it: these four statuses may pass,
// all others would come again.
func judgeOTLP(resp *http.Response, now time.Time) otlpAnswer {
	body := post.Read(resp)
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != protobufType {
		body = nil
	}
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		rejected, message := parseOTLPPartial(body)
		return otlpAnswer{taken: true, rejected: rejected, message: message}
	}
	a := otlpAnswer{err: fmt.Errorf("the collector answers %d %s", status, http.StatusText(status))}
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		a.retry, a.after = true, post.RetryAfter(resp.Header, now)
	}
	if status >= 300 && status < 400 {
		a.err = fmt.Errorf("%w, and redirects are not followed; set otlp.endpoint to where it leads", a.err)
	}
	a.message = parseOTLPStatus(body)
	return a
}

// parseOTLPStatus is the message in a google.rpc.Status.
func parseOTLPStatus(body []byte) (message string) {
	err := eachField(body, func(number protowire.Number, _ uint64, text []byte) {
		if number == 2 && text != nil {
			message = string(text)
		}
	})
	if err != nil {
		return ""
	}
	return message
}

// parseOTLPPartial reads an ExportMetricsServiceResponse. One that makes no sense
// says nothing.
func parseOTLPPartial(body []byte) (rejected uint64, message string) {
	var partial []byte
	err := eachField(body, func(number protowire.Number, _ uint64, text []byte) {
		if number == 1 { // partial_success; if it comes in pieces, they are one message
			partial = append(partial, text...)
		}
	})
	if err == nil {
		err = eachField(partial, func(number protowire.Number, value uint64, text []byte) {
			switch {
			case number == 1 && text == nil: // rejected_data_points
				rejected = uint64(max(int64(value), 0))
			case number == 2 && text != nil: // error_message
				message = string(text)
			}
		})
	}
	if err != nil {
		return 0, ""
	}
	return rejected, message
}

var errMessage = errors.New("that is no protobuf message")

// eachField calls emit for the fields of a message that are numbers or have a
// length, for which text is not nil.
func eachField(b []byte, emit func(number protowire.Number, value uint64, text []byte)) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				emit(number, v, nil)
			}
		case protowire.BytesType:
			var text []byte
			if text, n = protowire.ConsumeBytes(b); n >= 0 {
				emit(number, 0, append([]byte{}, text...))
			}
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return errMessage
		}
		b = b[n:]
	}
	return nil
}
