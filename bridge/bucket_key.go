package bridge

// Topics and keys of a bucket are called like topics and subjects, but for what
// keys cannot have: they are letters, digits, and - / _ = and dots between
// levels. All other bytes of a level, and =, are written as = and two digits; a
// dot is "//" and an empty level "/", as in subjects.

func keys() alphabet { return alphabet{appendKeyByte, keyCode} }

// TopicKey is the key of a topic, which must be valid. Each topic has one of its
// own.
func TopicKey(topic string) string { return keys().name(topic) }

// KeyTopic is the topic of which TopicKey makes key. It is an error if there is
// none.
func KeyTopic(key string) (string, error) { return keys().topic(key) }

// filterKeys are the keys, with wildcards, of the topics that a filter matches.
func filterKeys(filter string) []string { return keys().filters(filter) }

func appendKeyByte(dst []byte, rest string) []byte {
	switch c := rest[0]; {
	case c == '-', c == '_', c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return append(dst, c)
	default:
		return append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
	}
}

// keyCode reports whether s begins with the code of a byte.
func keyCode(s string) (c byte, yes bool) { return hexCode(s, '=') }
