package mosquitto

import "strings"

// PasswordLine is a line of a password file that is neither empty nor a comment.
type PasswordLine struct {
	Number int
	User   string
	Hash   string // $6$salt$hash, $7$iterations$salt$hash or, since 2.1, $argon2id$...; whatever stands there

	Problem string // why mosquitto does not use the line; then nothing else counts
}

// ParsePasswords is the lines of a file that mosquitto_passwd has written.
func ParsePasswords(data []byte) (lines []PasswordLine) {
	for n, text := range textLines(data) {
		if strings.Trim(text, blanks) == "" || text[0] == '#' {
			continue
		}
		l := PasswordLine{Number: n}
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ':' })
		switch {
		case !strings.Contains(text, ":"):
			l.Problem = "has no colon"
		case len(fields) < 2:
			l.Problem = "has no password"
		default:
			l.User, l.Hash = strings.Trim(fields[0], blanks), strings.Trim(fields[1], blanks)
			switch {
			case l.User == "":
				l.Problem = "has no user name"
			case !strings.HasPrefix(l.Hash, "$6$") && !strings.HasPrefix(l.Hash, "$7$") && !strings.HasPrefix(l.Hash, "$argon2id$"):
				l.Problem = "has a password that is not hashed; mosquitto_passwd -U hashes it"
			}
		}
		lines = append(lines, l)
	}
	return lines
}
