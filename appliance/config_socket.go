package appliance

import (
	"os"
	"path/filepath"
	"strconv"
)

// DefaultSocket is where the daemon puts its control socket, and where the
// commands look for it, when nobody says otherwise:
//
//   - /run/edgebroker/control.sock if that folder exists (systemd made it), or
//     if we are root and so can make it;
//   - else $XDG_RUNTIME_DIR/edgebroker/control.sock;
//   - else edgebroker-<uid>/control.sock in the folder for temporary files.
//
// It creates nothing. Whoever binds the socket makes the folder, for its own
// user alone, and must refuse one that belongs to somebody else.
func DefaultSocket() string {
	return defaultSocket("/run", os.Geteuid(), os.Getenv("XDG_RUNTIME_DIR"), os.TempDir())
}

func defaultSocket(run string, uid int, xdg, temp string) string {
	const socket = "control.sock"
	system := filepath.Join(run, "edgebroker")
	if isFolder(system) || uid == 0 && isFolder(run) {
		return filepath.Join(system, socket)
	}
	if filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "edgebroker", socket)
	}
	return filepath.Join(temp, "edgebroker-"+strconv.Itoa(uid), socket)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
