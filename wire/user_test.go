package wire_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// What is appended is what is found, in its order, in a publish as well.
func TestUserProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(userProp).Draw(t, "user")
		var props []byte
		for _, u := range want {
			props = wire.AppendUserProperty(props, u)
		}
		raw := wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("t"), Props: props}, 0)
		f, _, err := wire.Scan(raw, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := wire.DecodePublish(f, wire.V5)
		if err != nil {
			t.Fatal(err)
		}
		var got []wire.UserProperty
		for k, v := range wire.UserProperties(p.Props) {
			got = append(got, wire.UserProperty{Key: string(k), Value: string(v)})
		}
		if len(got) != len(want) {
			t.Fatalf("got %v; want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("got %v; want %v", got, want)
			}
		}
	})
}

func TestUserPropertiesOfGarbage(t *testing.T) {
	for range wire.UserProperties([]byte{0x26, 0, 9, 'x'}) {
		t.Error("found one")
	}
}
