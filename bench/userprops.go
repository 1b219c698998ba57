package bench

import (
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// userProperty is the i-th of those that publishes have, about as long as what
// services put there.
func userProperty(i int) wire.UserProperty {
	return wire.UserProperty{Key: fmt.Sprintf("property-%02d", i), Value: fmt.Sprintf("value of property %02d", i)}
}

// userProperties encodes n of them.
func userProperties(n int) (props []byte) {
	for i := range n {
		props = wire.AppendUserProperty(props, userProperty(i))
	}
	return props
}
