package statsd

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// ErrNoStore is a Backend's error when state is kept in memory only.
var ErrNoStore = errors.New("the broker keeps its state in memory: there is nothing to back up")

// failedTrailer is the HTTP trailer that says why a backup ends before its end.
const failedTrailer = "Edgebroker-Failed"

// getBackup answers with a tar archive of the store. What goes wrong after it
// has begun is said in a trailer.
func (s *Server) getBackup(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.streamContext(r)
	defer cancel()
	out := &backupWriter{s: s, w: w, ctx: ctx}
	err := s.backend.Backup(ctx, out)
	switch {
	case err == nil:
	case out.begun:
		s.log.Error("backup", "error", err)
		s.deadline(w)
		w.Header().Set(http.TrailerPrefix+failedTrailer, err.Error())
	case errors.Is(err, ErrNoStore):
		WriteError(w, http.StatusConflict, err.Error(), "storage.directory of the configuration, or serve --data, makes it store its state")
	default:
		WriteError(w, http.StatusInternalServerError, err.Error(), "see `edgebroker health` and the log of the broker")
	}
}

// backupWriter sends what is written, and fails when nobody takes it: a backup
// that hangs must not keep the store from giving up space.
type backupWriter struct {
	s     *Server
	w     http.ResponseWriter
	ctx   context.Context
	begun bool
}

func (b *backupWriter) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if !b.begun {
		h := b.w.Header()
		h.Set("Content-Type", "application/x-tar")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		b.begun = true
	}
	b.s.deadline(b.w)
	return b.w.Write(p)
}

// Backup asks for a copy of the store and calls fn with it: a tar archive, as
// it comes. Only if complete, called at the end of the archive, returns nil has
// all of it come. The archive is that of one moment.
func (c *ControlClient) Backup(ctx context.Context, fn func(archive io.Reader, complete func() error) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	body := &backupReader{ctx: ctx, client: c, body: resp.Body}
	return fn(body, func() error {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if why := resp.Trailer.Get(failedTrailer); why != "" {
			return &APIError{Status: http.StatusInternalServerError, Message: why, Hint: "see `edgebroker health` and the log of the broker"}
		}
		return nil
	})
}

// backupReader words the errors of the connection.
type backupReader struct {
	ctx    context.Context
	client *ControlClient
	body   io.Reader
}

func (b *backupReader) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.client.broken(b.ctx, err)
	}
	return n, err
}
