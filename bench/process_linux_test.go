package bench_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/bench"
)

func TestRunCountsWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "written")
	write := func() {
		if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				write()
			}
		}
	})
	// On a busy machine an interval may pass without a message, or a write.
	counted := false
	for i := 0; i < 20 && !counted; i++ {
		res, err := bench.Run(t.Context(), bench.Options{Address: startBroker(t), Duration: 300 * time.Millisecond, BrokerPID: os.Getpid()})
		if err != nil {
			t.Error(err)
			break
		}
		counted = res.BrokerDiskBytesPerMsg > 0
	}
	close(stop)
	writer.Wait()
	if !counted && onDisk(t, file) {
		t.Error("megabytes were written, and not counted")
	}
}

// onDisk tells whether path lies in a file system that counts what is written.
func onDisk(t *testing.T, path string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.XFS_SUPER_MAGIC
}
