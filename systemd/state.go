package systemd

import (
	"os"
	"path/filepath"
	"strings"
)

// StateDirectory is the folder that the service manager has made for what
// must outlive the process (StateDirectory= of the unit, the first one if it
// names several), or empty if there is none. It is an absolute path.
func StateDirectory() string {
	dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}
