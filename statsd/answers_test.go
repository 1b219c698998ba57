package statsd_test

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

func exampleBalance() statsd.Balance {
	return statsd.Balance{Accounts: []statsd.Account{
		{Name: "copies at QoS 0", In: []statsd.Figure{{Name: "of messages as they came", Count: 1234567}, {Name: "of retained messages", Count: 3}},
			Out: []statsd.Figure{{Name: "sent", Count: 1234560}, {Name: "dropped: slow_consumer", Count: 10}}},
		{Name: "copies at QoS 1 and 2", In: []statsd.Figure{{Name: "of messages as they came", Count: 12}}, Out: []statsd.Figure{{Name: "acknowledged", Count: 10}}, Difference: 2},
	}}
}

func TestWriteAnswers(t *testing.T) {
	for name, v := range map[string]interface{ WriteTable(io.Writer) error }{
		"balance.txt": exampleBalance(),
	} {
		var out bytes.Buffer
		if err := v.WriteTable(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

// TestAnswersAreDocumented: every field of the JSON is in the document that
// promises it.
func TestAnswersAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/ANSWERS.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var look func(reflect.Type)
	look = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice, reflect.Pointer, reflect.Map:
			look(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[typ] || typ == reflect.TypeFor[time.Time]() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && !regexp.MustCompile("`(?:[a-zA-Z]+(?:\\[\\])?\\.)?"+name+"(?:\\[\\])?`").Match(text) {
				t.Errorf("field %s of %v is not documented in docs/ANSWERS.md", name, typ)
			}
			look(f.Type)
		}
	}
	for _, v := range []any{statsd.Balance{}} {
		look(reflect.TypeOf(v))
	}
}
