package statsd

import (
	"io/fs"
	"time"
)

// SetTiming shortens the spans that real users never wait for in a test.
func (s *Server) SetTiming(write, heartbeat time.Duration) {
	s.timing = timing{write: write, heartbeat: heartbeat}
}

// MaxStreams is how many streams run at once.
const MaxStreams = maxStreams

// Admitted reports whether a process with these groups may use a socket file.
func Admitted(uid, gid uint32, groups []uint32, fileUID, fileGID uint32, mode fs.FileMode) bool {
	return admitted(caller{known: true, uid: uid, gid: gid, groups: groups}, fileUID, fileGID, mode)
}
