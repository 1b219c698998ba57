package auth_test

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/auth"
)

func TestPasswordFileCompare(t *testing.T) {
	read := func(lines ...string) *auth.PasswordFile { return loadUsers(t, "# users\n"+strings.Join(lines, "\n")) }
	was := read("ann:"+pbkdf7, "bob:"+argon+":ops,dev", "cyd:"+bcrypt4)
	for _, tt := range []struct {
		what, name string
		next       *auth.PasswordFile
		want       auth.Difference
	}{
		{"the same file", "ann", was, auth.SameUser},
		{"the same lines", "bob", read("bob:"+argon+":ops,dev", "ann:"+pbkdf7), auth.SameUser},
		{"no file", "ann", nil, auth.UserGone},
		{"without the user", "ann", read("bob:" + argon), auth.UserGone},
		{"another hash of the same kind", "ann", read("ann:" + pbkdf7U), auth.PasswordChanged},
		{"another kind of hash", "cyd", read("cyd:" + sha6), auth.PasswordChanged},
		{"a group less", "bob", read("bob:" + argon + ":ops"), auth.GroupsChanged},
		{"a group more", "ann", read("ann:" + pbkdf7 + ":ops"), auth.GroupsChanged},
		{"a new user", "eve", read("eve:" + argon), auth.SameUser},
	} {
		if got := was.Compare(tt.next, tt.name); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.what, got, tt.want)
		}
	}
	if got := (*auth.PasswordFile)(nil).Compare(was, "ann"); got != auth.SameUser {
		t.Errorf("of no file: %d", got)
	}
}
