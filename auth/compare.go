package auth

import (
	"reflect"
	"slices"
)

// Difference is what has become of a user in a password file that was read
// again.
type Difference int

// The differences, of which the first that is true counts.
const (
	SameUser        Difference = iota // nothing, or it was not in the file before
	UserGone                          // it is not in the file any more
	PasswordChanged                   // as far as its hash tells
	GroupsChanged
)

// Compare tells what has become of a user of f in next, which is f's file read
// again or another one that takes its place; nil if none does. A nil f has no
// users.
func (f *PasswordFile) Compare(next *PasswordFile, name string) Difference {
	was, is := f.user(name), next.user(name)
	switch {
	case was == nil:
		return SameUser
	case is == nil:
		return UserGone
	case !reflect.DeepEqual(was.hash, is.hash):
		return PasswordChanged
	case !slices.Equal(was.groups, is.groups):
		return GroupsChanged
	}
	return SameUser
}

func (f *PasswordFile) user(name string) *user {
	if f == nil {
		return nil
	}
	return f.users[name]
}
