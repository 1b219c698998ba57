package auth

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// audience is who may read or write a file that decides who gets in.
type audience int

const (
	secretFile audience = iota // nobody but owner and group
	publicFile                 // others may read but not write
)

// readFile returns what is in the file at path, which is not empty, and how it
// lies there. It refuses what is not a regular file, is larger than limit bytes,
// or is open to others than who allows.
func readFile(path string, limit int64, who audience) ([]byte, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not hang
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: is not a regular file; give the path of one", path)
	}
	if err := checkMode(path, info, who); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, nil, err
	case int64(len(data)) > limit:
		return nil, nil, fmt.Errorf("%s: is larger than %d KiB; is it the right file?", path, limit>>10)
	case len(data) == 0:
		return nil, nil, fmt.Errorf("%s: is empty; put it back from a backup, or remove it and make it anew", path)
	}
	return data, info, nil
}

func checkMode(path string, info os.FileInfo, who audience) error {
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		return fmt.Errorf("%s: everybody may write it (mode %#o); run: chmod o-rwx %s", path, mode, path)
	case who == secretFile && mode&0o007 != 0:
		return fmt.Errorf("%s: everybody may read it (mode %#o); run: chmod o-rwx %s", path, mode, path)
	}
	return nil
}
