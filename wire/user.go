package wire

import "iter"

// AppendUserProperty appends a user property to the properties that travel with
// a message, as Out.Props takes them. Key and Value hold at most 65535 bytes.
func AppendUserProperty(props []byte, u UserProperty) []byte {
	return appendUserProps(props, []UserProperty{u})
}

// UserProperties are the names and values of the user properties in props, in
// their order; they alias it. What is not valid ends the sequence.
func UserProperties(props []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		s := propScanner{b: props, in: inPublish}
		var p property
		for {
			if more, err := s.next(&p); err != nil || !more {
				return
			}
			if p.id == propUser && !yield(p.key, p.value) {
				return
			}
		}
	}
}
