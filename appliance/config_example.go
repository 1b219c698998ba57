package appliance

import (
	"bytes"
	_ "embed"
)

//go:embed edgebroker.example.yml
var exampleConfig []byte

// ExampleConfig is a config file with every key, its default, its unit and
// when to change it. It is equal to [DefaultConfig], and the caller's own copy.
func ExampleConfig() []byte { return bytes.Clone(exampleConfig) }
