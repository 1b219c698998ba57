package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/web/page"
)

// get asks the handler for a path.
func get(t testing.TB, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sources are the files of the page by the path of their URL, as they lie on disk.
func sources(t testing.TB) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir("assets", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		out["/"+filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("found %d files", len(out))
	}
	return out
}

func TestEveryFileIsServed(t *testing.T) {
	types := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
		".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}
	for name, want := range sources(t) {
		url := name
		if url == "/assets/index.html" {
			url = "/"
		}
		r := get(t, http.MethodGet, url)
		if got := body(t, r); r.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: status %d, %d bytes, want %d", url, r.StatusCode, len(got), len(want))
		}
		if got, want := r.Header.Get("Content-Type"), types[path.Ext(name)]; got != want || want == "" {
			t.Errorf("%s: type %q, want %q", url, got, want)
		}
		if r := get(t, http.MethodHead, url); r.StatusCode != http.StatusOK || body(t, r) != "" {
			t.Errorf("%s: HEAD is answered with %d", url, r.StatusCode)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, target := range []string{"/", "/assets/js/main.js", "/assets/nothing.js", "/elsewhere"} {
		r := get(t, http.MethodGet, target)
		for name, want := range map[string]string{
			"Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Set-Cookie": "", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
	for _, directive := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !slices.Contains(strings.Split(page.Policy, "; "), directive) {
			t.Errorf("the policy lacks %q", directive)
		}
	}
	if strings.Contains(page.Policy, "unsafe") || strings.Contains(page.Policy, "*") {
		t.Errorf("the policy is %q", page.Policy)
	}
}

func TestOnlyWhatIsThere(t *testing.T) {
	for _, target := range []string{"/assets", "/assets/", "/assets/js", "/assets/js/", "/assets/index.html", "/assets/../page.go", "/page.go", "/assets/js/main.js/",
		"/assets/js/main.js.gz", "//assets/js/main.js", "/assets/%2e%2e/page.go", "/index.html", "/assets/js/Main.js"} {
		if r := get(t, http.MethodGet, target); r.StatusCode != http.StatusNotFound || !strings.Contains(body(t, r), `"hint"`) {
			t.Errorf("%s is answered with %d", target, r.StatusCode)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		if r := get(t, method, "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s is answered with %d, Allow %q", method, r.StatusCode, r.Header.Get("Allow"))
		}
	}
}

func TestNotModified(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		first := get(t, http.MethodGet, "/assets/js/main.js", "Accept-Encoding", encoding)
		etag := first.Header.Get("ETag")
		if len(etag) < 10 || first.Header.Get("Cache-Control") != "no-cache" || first.Header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("ETag %q, header %v", etag, first.Header)
		}
		if r := get(t, http.MethodGet, "/assets/js/main.js", "Accept-Encoding", encoding, "If-None-Match", etag); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("the same again is answered with %d", r.StatusCode)
		}
		if r := get(t, http.MethodGet, "/assets/js/main.js", "Accept-Encoding", encoding, "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
			t.Errorf("another one is answered with %d", r.StatusCode)
		}
	}
	tags := make(map[string]string)
	for name := range sources(t) {
		if name == "/assets/index.html" {
			name = "/"
		}
		for _, encoding := range []string{"", "gzip"} {
			r := get(t, http.MethodGet, name, "Accept-Encoding", encoding)
			id := name + " " + r.Header.Get("Content-Encoding")
			if other, ok := tags[r.Header.Get("ETag")]; ok && other != id {
				t.Errorf("%s has the ETag of %s", id, other)
			}
			tags[r.Header.Get("ETag")] = id
		}
	}
}

func TestCompression(t *testing.T) {
	want := body(t, get(t, http.MethodGet, "/assets/js/main.js"))
	for accept, zipped := range map[string]bool{
		"": false, "gzip": true, "deflate, gzip;q=0.5": true, "GZIP": true, "br, zstd": false, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=x": false,
		"xgzip": false, "identity": false, "deflate,gzip , br": true,
	} {
		r := get(t, http.MethodGet, "/assets/js/main.js", "Accept-Encoding", accept)
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: compressed is %v, want %v", accept, got, zipped)
			continue
		}
		got := body(t, r)
		if zipped {
			z, err := gzip.NewReader(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != want {
			t.Errorf("%q: got %d bytes, want %d", accept, len(got), len(want))
		}
	}
}

// What a browser loads at first is small, for slow lines to a gateway.
func TestTransferIsSmall(t *testing.T) {
	const most = 100 << 10
	total, files := 0, 0
	for name := range sources(t) {
		if strings.HasSuffix(name, "LICENSE.txt") {
			continue
		}
		if name == "/assets/index.html" {
			name = "/"
		}
		total += len(body(t, get(t, http.MethodGet, name, "Accept-Encoding", "gzip")))
		files++
	}
	t.Logf("%d files, %d bytes compressed", files, total)
	if total > most {
		t.Errorf("%d bytes, want at most %d", total, most)
	}
}

var (
	references = regexp.MustCompile(`(?:href|src)="(/[^"]*)"`)
	imports    = regexp.MustCompile(`(?m)^import [^;]*?from "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"`)
	urls       = regexp.MustCompile(`url\(([^)]*)\)`)
)

// Whatever a file names is there, and every module is loaded with the page, so that
// the browser need not find one after the other.
func TestReferences(t *testing.T) {
	files := sources(t)
	preloaded := map[string]bool{}
	needed := map[string]bool{}
	for name, text := range files {
		found := 0
		see := func(ref string) {
			found++
			if strings.HasPrefix(ref, ".") {
				ref = path.Join(path.Dir(name), ref)
			}
			if _, ok := files[ref]; !ok {
				t.Errorf("%s names %s, which is not there", name, ref)
			}
			needed[ref] = true
		}
		switch path.Ext(name) {
		case ".html":
			for _, m := range references.FindAllStringSubmatch(text, -1) {
				see(m[1])
			}
			for _, m := range regexp.MustCompile(`rel="modulepreload" href="([^"]+)"`).FindAllStringSubmatch(text, -1) {
				preloaded[m[1]] = true
			}
			if found < 10 {
				t.Errorf("%s names %d files", name, found)
			}
		case ".js":
			for _, m := range imports.FindAllStringSubmatch(text, -1) {
				see(m[1] + m[2] + m[3])
			}
		case ".css":
			for _, m := range urls.FindAllStringSubmatch(text, -1) {
				see(strings.Trim(m[1], `"'`))
			}
		}
	}
	for name := range files {
		isModule := path.Ext(name) == ".js" && name != "/assets/theme.js" && name != "/assets/js/main.js"
		if isModule != preloaded[name] {
			t.Errorf("%s: preloaded is %v, want %v", name, preloaded[name], isModule)
		}
		if isModule && !strings.HasPrefix(name, "/assets/uplot/") && !importedBy(files, name) {
			t.Errorf("no module imports %s", name)
		}
	}
}

func importedBy(files map[string]string, name string) bool {
	for other, text := range files {
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			if ref := m[1]; path.Ext(other) == ".js" && path.Join(path.Dir(other), ref) == name {
				return true
			}
		}
	}
	return false
}

// Nothing is asked of anybody else.
func TestNoOtherHost(t *testing.T) {
	outside := regexp.MustCompile(`(?i)\b(?:https?|wss?|ftp)://[^\s"'<>)]+|["'(]//[\w.-]+`)
	comments := regexp.MustCompile(`(?m)(?:^|\s)//.*$|/\*(?s:.*?)\*/`)
	for name, text := range sources(t) {
		if path.Ext(name) == ".js" {
			text = comments.ReplaceAllString(text, "")
		}
		for _, found := range outside.FindAllString(text, -1) {
			if name == "/assets/icon.svg" && found == "http://www.w3.org/2000/svg" { // a name, not an address
				continue
			}
			t.Errorf("%s names %s", name, found)
		}
	}
	for _, bad := range []string{`fetch("https://example.org/x")`, `<script src="//cdn.example.org/x.js">`, `url(//example.org/x)`, `new WebSocket("wss://x")`} {
		if !outside.MatchString(bad) {
			t.Errorf("%s is not found", bad)
		}
	}
}

// The policy would stop most of these; they are not to be tried.
func TestNothingInline(t *testing.T) {
	files := sources(t)
	html := files["/assets/index.html"]
	for what, pattern := range map[string]string{
		"a style attribute": `\sstyle\s*=`, "a style element": `<style`, "a handler": `\son\w+\s*=`, "an inline script": `<script(?:\s[^>]*)?>[^<]`, "a frame": `<iframe|<object|<embed`,
		"a javascript URL": `javascript:`, "a base": `<base`,
	} {
		if found := regexp.MustCompile(`(?i)` + pattern).FindString(html); found != "" {
			t.Errorf("the page has %s: %s", what, found)
		}
	}
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function|setTimeout\(["'` + "`" + `]|cssText|setAttribute\(["']style|srcdoc`)
	for name, text := range files {
		if path.Ext(name) != ".js" {
			continue
		}
		if found := forbidden.FindString(text); found != "" {
			t.Errorf("%s uses %s", name, found)
		}
		if n := strings.Count(text, "\n"); n > 300 && !strings.HasPrefix(name, "/assets/uplot/") {
			t.Errorf("%s has %d lines; split it by idea", name, n)
		}
	}
	if !forbidden.MatchString(`x.innerHTML = y`) || !forbidden.MatchString(`el.setAttribute("style", s)`) {
		t.Error("the pattern finds nothing")
	}
}

func TestLicence(t *testing.T) {
	files := sources(t)
	licence := files["/assets/uplot/LICENSE.txt"]
	if !strings.Contains(licence, "The MIT License (MIT)") || !strings.Contains(licence, "Leon Sorokin") {
		t.Error("the licence of uPlot is missing")
	}
	if !strings.Contains(files["/assets/uplot/uPlot.esm.js"], "(v1.6.32)") {
		t.Error("uPlot is another version than docs/ARCHITECTURE.md says")
	}
}
