package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Sizes of a password file.
const (
	MaxPasswordFile = 4 << 20 // bytes
	maxProblems     = 10      // of one file, after which no more is read
)

// PasswordFile is the users of a password file, as they were when it was
// loaded. Each line of the file is
//
//	name:hash
//	name:hash:group,group
//
// or empty, or a comment that starts with '#'. Hashes are argon2id in PHC form,
// bcrypt, and mosquitto's $6$ and $7$.
//
// It passes if the client sends no user name or no password, or if the user is
// not in the file. Then it has worked as hard as for a wrong password: where the
// file has hashes of several kinds, unknown users look like users of each kind
// in the same proportion, and always the same user like the same kind.
type PasswordFile struct {
	verifier *Verifier
	users    map[string]*user
	order    []*user
	dummies  []dummy
}

type user struct {
	name   string
	hash   hash
	groups []string
	line   int
	mark   [sha256.Size]byte
}

// dummy stands in for the hashes of one kind.
type dummy struct {
	hash hash
	upto uint64 // how many users have this kind or one before it
}

// User is what a password file says of a user, without the hash.
type User struct {
	Name   string
	Groups []string
	Kind   string // of hash, with its parameters: "argon2id m=7168,t=5,p=1"
	Line   int
}

// LoadPasswordFile reads the file at path. It reports up to ten problems
// at once, each with file and line and how to mend it; one is enough for there to
// be no PasswordFile. A file that others may read or write is a problem, as is an
// empty one; one with a comment and no users is not, and knows nobody.
func LoadPasswordFile(path string, v *Verifier) (*PasswordFile, error) {
	data, _, err := readFile(path, MaxPasswordFile, secretFile)
	if err != nil {
		return nil, fmt.Errorf("load password file: %w", err)
	}
	f, problems := parsePasswords(data, v)
	if len(problems) == 0 {
		return f, nil
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s:%d: %w", path, p.line, p.err))
	}
	if len(problems) == maxProblems {
		errs = append(errs, fmt.Errorf("%s: has %d problems up to there; what follows was not read", path, maxProblems))
	}
	return nil, errors.Join(errs...)
}

type problem struct {
	line int
	err  error
}

func parsePasswords(data []byte, v *Verifier) (*PasswordFile, []problem) {
	f := &PasswordFile{verifier: v, users: map[string]*user{}}
	var problems []problem
	entries, line := 0, 0
	for text := range strings.SplitSeq(string(data), "\n") {
		line++
		name, rest, ok := splitLine(text)
		if !ok {
			if strings.TrimSpace(text) != "" {
				entries++
			}
			continue
		}
		entries++
		u, err := parseUser(name, rest, v.limits.HashMemory)
		if first := f.users[name]; err == nil && first != nil {
			err = fmt.Errorf("user is already in line %d; remove one of the two lines", first.line)
		}
		if err != nil {
			if problems = append(problems, problem{line, err}); len(problems) == maxProblems {
				break
			}
			continue
		}
		u.line = line
		f.users[name] = u
		f.order = append(f.order, u)
	}
	if entries == 0 {
		problems = append(problems, problem{1, errors.New("file has neither users nor a comment; if nobody is to get in, write a comment: # no users")})
	}
	f.dummies = dummies(f.order)
	return f, problems
}

// splitLine is the name and the rest of a line with a user. Otherwise, for
// comments and empty lines, ok is false.
func splitLine(text string) (name, rest string, ok bool) {
	text = strings.TrimSuffix(text, "\r")
	if t := strings.TrimSpace(text); t == "" || t[0] == '#' {
		return "", "", false
	}
	name, rest, _ = strings.Cut(text, ":")
	return name, rest, true
}

func parseUser(name, rest string, limit int64) (*user, error) {
	if err := checkFileName(name); err != nil {
		return nil, fmt.Errorf("%w; a line is name:hash or name:hash:group,group", err)
	}
	if rest == "" {
		return nil, errors.New("user has no hash; a line is name:hash or name:hash:group,group")
	}
	text, list, grouped := strings.Cut(rest, ":")
	h, err := parseHash(text, limit)
	if err != nil {
		return nil, fmt.Errorf("%w; set a new password for this user", err)
	}
	u := &user{name: name, hash: h, mark: sha256.Sum256([]byte(rest))}
	if grouped {
		for g := range strings.SplitSeq(list, ",") {
			u.groups = append(u.groups, strings.TrimSpace(g))
		}
	}
	if err := checkFileGroups(u.groups); err != nil {
		return nil, fmt.Errorf("%w; groups are group,group", err)
	}
	u.groups = unique(u.groups)
	return u, nil
}

// checkFileName says what keeps name from being a user of a password file.
func checkFileName(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	switch {
	case strings.Contains(name, ":"):
		return errors.New("name contains ':', which a password file cannot hold; choose another name, or another source")
	case name[0] == '#':
		return errors.New("name begins with '#', which is for comments; choose another name")
	case strings.TrimSpace(name) != name:
		return errors.New("name begins or ends with a space; remove it")
	case strings.HasPrefix(name, "\ufeff"):
		return errors.New("name begins with a byte order mark; save the file as UTF-8 without one")
	}
	return nil
}

func checkFileGroups(groups []string) error {
	if len(groups) > MaxGroups {
		return fmt.Errorf("user has %d groups; at most %d are allowed", len(groups), MaxGroups)
	}
	for i, g := range groups {
		if err := CheckName(g); err != nil {
			return fmt.Errorf("group %d: %w", i+1, err)
		}
		if strings.ContainsAny(g, ":,") || strings.TrimSpace(g) != g {
			return fmt.Errorf("group %d: name contains ':' or ',' or begins or ends with a space", i+1)
		}
	}
	return nil
}

// dummies is a dummy for each kind of hash, with how common it is.
func dummies(users []*user) (out []dummy) {
	count := map[string]uint64{}
	example := map[string]hash{}
	var kinds []string
	for _, u := range users {
		kind := u.hash.kind()
		if count[kind]++; count[kind] == 1 {
			kinds = append(kinds, kind)
			example[kind] = u.hash
		}
	}
	slices.Sort(kinds)
	var upto uint64
	for _, kind := range kinds {
		upto += count[kind]
		out = append(out, dummy{example[kind].dummy(), upto})
	}
	return out
}

// standIn is the dummy for a user who is not in the file, which has users.
func (f *PasswordFile) standIn(name string) hash {
	total := f.dummies[len(f.dummies)-1].upto
	at := maphash.String(f.verifier.seed, name) >> 32 * total >> 32
	for _, d := range f.dummies {
		if at < d.upto {
			return d.hash
		}
	}
	panic("unreachable: at is below the last upto")
}

// Authenticate implements [Source].
func (f *PasswordFile) Authenticate(ctx context.Context, a *Attempt) (Identity, error) {
	const source = "password"
	if !a.HasUsername || !a.Password.Present() || len(f.order) == 0 {
		return Identity{}, ErrPass
	}
	u, known := f.users[a.Username]
	h := hash(nil)
	if known {
		h = u.hash
	} else {
		h = f.standIn(a.Username)
	}
	match, err := f.verifier.verify(ctx, a.Addr, h, a.Password.Reveal())
	switch {
	case err != nil:
		return Identity{}, err
	case !known:
		return Identity{}, ErrPass
	case !match:
		return Identity{}, refuse(ErrRefused, source, "wrong password")
	}
	return Identity{Name: u.name, Groups: u.groups, Source: source}, nil
}

// Size is how many users there are. Nil has none.
func (f *PasswordFile) Size() int {
	if f == nil {
		return 0
	}
	return len(f.order)
}

// Users returns the users in the order of the file.
func (f *PasswordFile) Users() []User {
	out := make([]User, len(f.order))
	for i, u := range f.order {
		out[i] = User{Name: u.name, Groups: slices.Clone(u.groups), Kind: u.hash.kind(), Line: u.line}
	}
	return out
}

// Mark tells one password and the groups of a user from what they were: it is
// another one when either has changed. ok is false if there is no such user.
func (f *PasswordFile) Mark(name string) (mark [sha256.Size]byte, ok bool) {
	u, ok := f.users[name]
	if !ok {
		return mark, false
	}
	return u.mark, true
}

// hasUsers reports whether a line of data is meant to be a user.
func hasUsers(data []byte) bool {
	for text := range bytes.SplitSeq(data, []byte("\n")) {
		if _, _, ok := splitLine(string(text)); ok {
			return true
		}
	}
	return false
}
