package statsd

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
)

// caller is the process at the other end of a control socket, as the kernel
// knew it when it connected.
type caller struct {
	known  bool // false where the kernel does not tell
	uid    uint32
	gid    uint32
	groups []uint32 // further ones
	pid    int32
}

// callerKey is the key of a visitor in the context of requests.
type callerKey struct{}

// visitor is a caller, and whether it may ask.
type visitor struct {
	caller
	admitted bool
}

// greet notes in the context of a connection's requests who has made it.
func (s *Server) greet(ctx context.Context, c net.Conn) context.Context {
	s.mu.Lock()
	sock := s.socket
	s.mu.Unlock()
	v := visitor{caller: callerOf(c)}
	v.admitted = sock != nil && sock.admits(v.caller)
	return context.WithValue(ctx, callerKey{}, v)
}

// admits reports whether c may use the socket, as its file says now: the owner,
// root, the group if that may write, and everybody if others may. The kernel has
// asked the same of whoever came by the file; a socket can be handed on, or lie
// behind another file. A file with an access control list says more than its
// mode does: there the kernel's word counts.
func (s *socket) admits(c caller) bool {
	info, err := os.Lstat(s.path)
	if err != nil || !os.SameFile(info, s.file) {
		info = s.file
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !c.known || !ok || admitted(c, st.Uid, st.Gid, info.Mode()) || hasACL(s.path)
}

func admitted(c caller, uid, gid uint32, mode fs.FileMode) bool {
	inGroup := c.gid == gid || slices.Contains(c.groups, gid)
	return c.uid == 0 || c.uid == uid || mode&0o020 != 0 && inGroup || mode&0o002 != 0
}

// judge answers in place of a route whoever may not ask, and logs who changes
// something.
func (s *Server) judge(w http.ResponseWriter, r *http.Request, route Route) (*http.Request, bool) {
	v, _ := r.Context().Value(callerKey{}).(visitor)
	if !v.admitted {
		WriteError(w, http.StatusForbidden, "your user may not use this socket",
			"become root or the daemon's user, or join the group of the socket's file; control.mode says what the group may")
		return r, false
	}
	if route.Access == Write && v.known {
		s.log.Info("changed over the control socket", "uid", v.uid, "pid", v.pid, "request", route.Method+" "+r.URL.EscapedPath())
	}
	return r, true
}
