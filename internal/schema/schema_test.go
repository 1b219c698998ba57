package schema_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/schema"
)

// A type that the generator does not understand is an error, not a hole.
func TestUnknownTypes(t *testing.T) {
	type odd struct {
		Channel  chan int `json:"channel"`
		Untagged int
		bytes.Buffer
	}
	s := &schema.Set{Prefix: "#/$defs/"}
	s.Ref(reflect.TypeFor[odd]())
	_, err := s.Schemas()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("problems: %v", err)
	}
	s.Put("Odd", schema.Object{}) // by hand: what its fields are is of no interest
	if _, err := s.Schemas(); err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("problems: %v", err)
	}
}

type inner struct {
	B []byte `json:"b"`
}

type outer struct {
	Name   string           `json:"name"`
	At     *time.Time       `json:"at,omitempty"`
	List   []inner          `json:"list"`
	ByName map[string]uint8 `json:"byName,omitzero"`
	Self   *outer           `json:"self,omitempty"`
	hidden int
	Skip   chan int `json:"-"`
}

// Names begin with a capital letter, and what may be left out is not required.
func TestSet(t *testing.T) {
	s := &schema.Set{Prefix: "#/$defs/", Comments: schema.Comments{"schema_test.outer": "about it", "schema_test.outer.Name": "a name"}}
	if got, _ := json.Marshal(s.Of(reflect.TypeFor[[]outer]())); string(got) != `{"type":"array","items":{"$ref":"#/$defs/Outer"}}` {
		t.Errorf("got %s", got)
	}
	all, err := s.Schemas()
	if err != nil {
		t.Fatal(err)
	}
	text, err := all.Text()
	if err != nil {
		t.Fatal(err)
	}
	var short bytes.Buffer
	if err := json.Compact(&short, text); err != nil {
		t.Fatal(err)
	}
	const want = `{"Inner":{"type":"object","properties":{"b":{"type":["string","null"],"contentEncoding":"base64"}},"required":["b"]},` +
		`"Outer":{"type":"object","description":"about it","properties":{"name":{"type":"string","description":"a name"},"at":{"type":"string","format":"date-time"},` +
		`"list":{"type":"array","items":{"$ref":"#/$defs/Inner"}},"byName":{"type":"object","additionalProperties":{"type":"integer","minimum":0}},"self":{"$ref":"#/$defs/Outer"}},` +
		`"required":["name","list"]}}`
	if short.String() != want {
		t.Errorf("got  %s\nwant %s", short.String(), want)
	}
	_ = outer{hidden: 1}
}

// Two types of one name are not one.
func TestNamesAreUnique(t *testing.T) {
	s := &schema.Set{}
	s.Ref(reflect.TypeFor[inner]())
	type inner struct{}
	s.Ref(reflect.TypeFor[inner]())
	if _, err := s.Schemas(); err == nil || !strings.Contains(err.Error(), "both called Inner") {
		t.Errorf("problems: %v", err)
	}
}
