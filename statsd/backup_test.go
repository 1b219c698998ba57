package statsd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// archivist is a broker whose backup does as the test says.
type archivist struct {
	*fakeBackend
	backup func(ctx context.Context, w io.Writer) error
}

func (a *archivist) Backup(ctx context.Context, w io.Writer) error { return a.backup(ctx, w) }

// fetchBackup asks for a backup and returns what came, and how it ended.
func fetchBackup(t *testing.T, r *running) (string, error) {
	t.Helper()
	var got bytes.Buffer
	err := r.control.Backup(t.Context(), func(archive io.Reader, complete func() error) error {
		if _, err := io.Copy(&got, archive); err != nil {
			return err
		}
		return complete()
	})
	return got.String(), err
}

func TestBackup(t *testing.T) {
	whole := strings.Repeat("0123456789abcdef", 100_000)
	var refused *statsd.APIError
	var cut *statsd.ErrUnreachable
	serve := func(t *testing.T, backup func(ctx context.Context, w io.Writer) error) *running {
		fake := newFakeBackend()
		return startBackend(t, &archivist{fake, backup}, fake, statsd.Options{}, nil)
	}
	t.Run("all of it", func(t *testing.T) {
		r := serve(t, func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, strings.NewReader(whole))
			return err
		})
		if got, err := fetchBackup(t, r); err != nil || got != whole {
			t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
		}
	})
	t.Run("there is no store", func(t *testing.T) {
		r := start(t, newFakeBackend(), statsd.Options{}, nil)
		got, err := fetchBackup(t, r)
		if !errors.As(err, &refused) || refused.Status != 409 || got != "" || !strings.Contains(refused.Hint, "storage.directory") {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("it fails before it begins", func(t *testing.T) {
		r := serve(t, func(context.Context, io.Writer) error { return errors.New("the disk is on fire") })
		if got, err := fetchBackup(t, r); !errors.As(err, &refused) || refused.Message != "the disk is on fire" || got != "" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("it fails in the middle", func(t *testing.T) {
		r := serve(t, func(_ context.Context, w io.Writer) error {
			if _, err := io.WriteString(w, whole[:70_000]); err != nil {
				return err
			}
			return errors.Join(errors.New("the disk is on fire"), errors.New("and the sprinkler is broken"))
		})
		got, err := fetchBackup(t, r)
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, "on fire") || got != whole[:70_000] {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("the daemon stops in the middle", func(t *testing.T) {
		begun := make(chan struct{})
		r := serve(t, func(ctx context.Context, w io.Writer) error {
			if _, err := io.WriteString(w, whole); err != nil {
				return err
			}
			close(begun)
			<-ctx.Done()
			_, err := io.WriteString(w, whole)
			if err == nil {
				t.Error("the server took more after it was told to stop")
			}
			return err
		})
		ended := make(chan error, 1)
		go func() {
			_, err := fetchBackup(t, r)
			ended <- err
		}()
		<-begun
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.As(err, &refused) && !errors.As(err, &cut) {
			t.Errorf("a backup cut short ended with %v", err)
		}
	})
	t.Run("nobody reads it", func(t *testing.T) {
		fake := newFakeBackend()
		ended := make(chan error, 1)
		r := startBackend(t, &archivist{fake, func(_ context.Context, w io.Writer) error {
			for range 10_000 { // much more than sockets buffer
				if _, err := io.WriteString(w, whole); err != nil {
					ended <- err
					return err
				}
			}
			ended <- nil
			return nil
		}}, fake, statsd.Options{}, func(s *statsd.Server) { s.SetTiming(50*time.Millisecond, time.Hour) })
		conn, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /v1/backup HTTP/1.1\r\nHost: edgebroker\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Error("16 GB went to somebody who does not read")
			}
		case <-time.After(10 * time.Second):
			t.Error("the backup hangs, and with it the store cannot give up space")
		}
	})
}
