package systemd

import (
	"os"
	"path/filepath"
)

// CredentialsDirectory is the folder in which the service manager has put what
// LoadCredential= of the unit names, or empty if there is none. It is an
// absolute path.
func CredentialsDirectory() string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}
