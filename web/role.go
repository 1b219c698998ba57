package web

import (
	"net/http"
	"slices"

	"github.com/synthetism/edgebroker/statsd"
)

// Role is what somebody may do.
type Role string

// The roles, each named as the group is that gives it.
const (
	Admin  Role = "admin"  // everything
	Viewer Role = "viewer" // look, other than at what is for administrators
)

// roleOf is the role that groups give; "": none.
func roleOf(groups []string) Role {
	switch {
	case slices.Contains(groups, string(Admin)):
		return Admin
	case len(groups) == 0 || slices.Contains(groups, string(Viewer)):
		return Viewer
	}
	return ""
}

// may reports whether the role permits a kind of access. What it does not know
// it does not permit.
func (r Role) may(a statsd.Access) bool {
	switch a {
	case statsd.Open:
		return true
	case statsd.Read:
		return r == Viewer || r == Admin
	case statsd.Admin, statsd.Write:
		return r == Admin
	}
	return false
}

// Routes lists what is answered here besides the routes of statsd.
func Routes() []statsd.Route {
	return []statsd.Route{
		{Method: http.MethodPost, Pattern: loginPath, Access: statsd.Open},
		{Method: http.MethodPost, Pattern: logoutPath, Access: statsd.Open},
		{Method: http.MethodGet, Pattern: sessionPath, Access: statsd.Read},
	}
}
