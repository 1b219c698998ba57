// Package page is the dashboard: the files of a page for browsers, without data in
// them, and the handler that serves them. The page asks package web for what it
// shows, as whoever has logged in.
//
// There is no build step: what lies below assets is what browsers get. The modules
// below assets/js/model are pure; those in net talk to the broker, those in view
// make the document. docs/DASHBOARD.md says what the page shows.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed assets
var embedded embed.FS

// Policy is the Content-Security-Policy of everything that is served: nothing from
// elsewhere, and no script or style but those of files.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// asset is one file, plain and compressed.
type asset struct {
	mime    string
	etag    string // of body, without quotes
	body    []byte
	gzipped func() []byte // nil from it: not worth it
}

// Handler serves the page at "/" and its files below "/assets/". It needs no login,
// since there is no data in it. It may be used by many goroutines.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		a, ok := assets[r.URL.Path]
		switch {
		case !ok:
			refuse(w, http.StatusNotFound, "no such file", "the dashboard is at /")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "method not allowed", "use GET")
		default:
			a.serve(w, r)
		}
	})
}

// load returns the files by the path of their URL.
func load() map[string]*asset {
	assets := make(map[string]*asset)
	err := fs.WalkDir(embedded, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		assets["/"+name] = &asset{
			mime: mimeOf(name), etag: base64.RawURLEncoding.EncodeToString(sum[:12]), body: body,
			gzipped: sync.OnceValue(func() []byte { return compress(body) }),
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("read embedded files: %v", err)) // they are part of the program
	}
	assets["/"] = assets["/assets/index.html"]
	delete(assets, "/assets/index.html")
	return assets
}

// mimeOf is the type of a file by its name, whatever the machine's tables say.
func mimeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}

// compress returns body compressed, or nil if that is no shorter.
func compress(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists
	_, _ = z.Write(body)                                  // a buffer takes everything
	_ = z.Close()
	if b.Len() >= len(body) {
		return nil
	}
	return b.Bytes()
}

// serve answers with the file, compressed if the other side takes that. Browsers ask
// each time whether it has changed, so that a new version counts at once.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.mime)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body, etag := a.body, a.etag
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		if z := a.gzipped(); z != nil {
			h.Set("Content-Encoding", "gzip")
			body, etag = z, etag+"-gzip"
		}
	}
	h.Set("ETag", strconv.Quote(etag))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reports whether a list of encodings has gzip in it, and not with a weight
// of 0.
func takesGzip(accept []string) bool {
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, weight, weighted := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		if !weighted {
			return true
		}
		value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return ok && err == nil && q > 0
	}
	return false
}

// refuse says no in the form of all errors here.
func refuse(w http.ResponseWriter, status int, what, mend string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"error\":%q,\"hint\":%q}\n", what, mend)
}
