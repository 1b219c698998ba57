package moving

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/synthetism/edgebroker/internal/atomicfile"
)

// ErrExists is wrapped by the error of Write when a file is there already.
var ErrExists = errors.New("is there already")

// Write puts the files into the folder dir, which is made if need be, with mode
// 0600: those of users and passwords are nobody else's business, and the config
// and the rules say where to find them. Files that are there are an error that
// wraps ErrExists, and then nothing is written, unless replace says that they
// may go. The config is written last.
func (r *Result) Write(ctx context.Context, dir string, replace bool) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	folder, err := atomicfile.Lock(ctx, dir)
	if err != nil {
		return err
	}
	defer folder.Close() // and so unlocks it
	old := make([]os.FileInfo, len(r.Files))
	for i, f := range r.Files {
		path := filepath.Join(dir, f.Name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !replace:
			return fmt.Errorf("%s %w; nothing was written", path, ErrExists)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file; nothing was written", path)
		default:
			old[i] = info
		}
	}
	for i := len(r.Files) - 1; i >= 0; i-- {
		path := filepath.Join(dir, r.Files[i].Name)
		if old[i] != nil { // its mode may be wider
			if err := os.Chmod(path, 0o600); err != nil {
				return err
			}
			if old[i], err = os.Lstat(path); err != nil {
				return err
			}
		}
		if err := atomicfile.Replace(folder, path, r.Files[i].Data, old[i], nil); err != nil {
			return err
		}
	}
	return nil
}
