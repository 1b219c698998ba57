package relay

import (
	"bytes"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// SourceProperty is the user property by which a part of the program says who
// has sent a message that it publishes for somebody else: the event of that
// message names it as the source. Of clients it means nothing.
const SourceProperty = "edgebroker-source"

// SourceOf is the last SourceProperty in props, "" if there is none.
func SourceOf(props []byte) (source string) {
	if !bytes.Contains(props, []byte(SourceProperty)) {
		return ""
	}
	for key, value := range wire.UserProperties(props) {
		if string(key) == SourceProperty {
			source = string(value)
		}
	}
	return source
}

// Age is how long ago m was published, to a second. It is not known of what the
// store has brought.
func (r *Relay) Age(m *Message) (age time.Duration, known bool) {
	if m.came == 0 {
		return 0, false
	}
	return time.Duration(r.seconds()-m.came) * time.Second, true
}
