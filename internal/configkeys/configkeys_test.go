package configkeys

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	head, keys := Parse(`# Head.
#   more: of it

# Of a.
a:
  # Of b.
  # Default: none.
  # - b: 1
    # Of c, such as
    # path: this one is prose
    # c: [x,y]

  # Of d.
  d: "two words"
e: ""
`)
	want := []Key{
		{"a", "", "Of a.", true}, {"a[].b", "1", "Of b.\nDefault: none.", false},
		{"a[].c", "[x,y]", "Of c, such as\npath: this one is prose", false},
		{"a.d", `"two words"`, "Of d.", true}, {"e", `""`, "", true},
	}
	if head != "Head.\n  more: of it" || !reflect.DeepEqual(keys, want) {
		t.Errorf("head %q, keys\n%+v, want\n%+v", head, keys, want)
	}
}
