//go:build chromium

package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// browser starts Chromium for the length of a test, or skips it.
func browser(t *testing.T) context.Context {
	t.Helper()
	named := os.Getenv("EDGEBROKER_CHROMIUM")
	if named == "" {
		t.Skip("EDGEBROKER_CHROMIUM names no browser; scripts/dashboard.sh runs this test with one")
	}
	path, err := exec.LookPath(named)
	if err != nil {
		t.Fatal(err)
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.DisableGPU,
		chromedp.Flag("lang", "en-US"), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true),
		// Chromium itself asks nobody else, either.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// view is how a page is looked at.
type view struct {
	width, height int64
	dark, phone   bool
}

// tab is a page of the dashboard with cookies and storage of its own. When the test
// ends it must have complained about nothing, and asked nobody but its broker.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string

	mu       sync.Mutex
	requests []string
	problems []string
}

// open shows a path of the page at base.
func open(t testing.TB, browser context.Context, base, path string, v view) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx, base: base}
	p.must(chromedp.Do(ctx), "open a tab")
	p.must(chromedp.Listen(ctx, p.heard), "listen")
	call(p, network.Enable, network.EnableParams{})
	call(p, cdplog.Enable, cdp.Empty{})
	call(p, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener("securitypolicyviolation", (e) => console.error("policy violated: " + e.violatedDirective + " " + e.blockedURI))`,
	})
	p.scheme(v.dark)
	size := []chromedp.EmulateViewportOption{}
	if v.phone {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	p.must(chromedp.Do(ctx, chromedp.EmulateViewport(v.width, v.height, size...)), "set the size")
	p.must(chromedp.Do(ctx, chromedp.Navigate(base+path)), "navigate")
	t.Cleanup(func() {
		p.checkQuiet()
		cancel()
	})
	return p
}

func call[P, R any](p *tab, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	r, err := chromedp.Call(p.ctx, cmd, params)
	p.must(err, "browser")
	return r
}

func (p *tab) must(err error, what string) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// scheme sets what the system prefers.
func (p *tab) scheme(dark bool) {
	value := "light"
	if dark {
		value = "dark"
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
}

// heard notes what the page asks for, and what it complains about.
func (p *tab) heard(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		if kind := fmt.Sprint(e.Type); kind == "error" || kind == "warning" || kind == "assert" {
			var args []string
			for _, a := range e.Args {
				args = append(args, string(a.Value)+a.Description)
			}
			p.problems = append(p.problems, kind+": "+strings.Join(args, " "))
		}
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, "exception: "+e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
		if x := e.ExceptionDetails.Exception; x != nil {
			p.problems = append(p.problems, x.Description)
		}
	case *cdplog.EventEntryAdded:
		// That a request has failed is what some tests are about.
		if fmt.Sprint(e.Entry.Level) == "error" && fmt.Sprint(e.Entry.Source) != "network" {
			p.problems = append(p.problems, fmt.Sprintf("log: %v: %s", e.Entry.Source, e.Entry.Text))
		}
	}
}

func (p *tab) checkQuiet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.problems {
		p.t.Errorf("the page complains: %s", text)
	}
	home, err := url.Parse(p.base)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, text := range p.requests {
		if u, err := url.Parse(text); err != nil || u.Host != home.Host || u.Scheme != home.Scheme {
			p.t.Errorf("the page asks %s", text)
		}
	}
	if len(p.requests) == 0 {
		p.t.Error("no request was seen, so the check proves nothing")
	}
}

// eval returns the value of an expression in the page, or of what it promises.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	p.must(err, expression)
	return v
}

// await waits until an expression is true. While the page is being loaded anew it is
// not.
func (p *tab) await(what, expression string) {
	p.t.Helper()
	var err error
	done := false
	defer func() {
		if !done {
			text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body.innerText`))
			p.t.Logf("the last answer is %v; the page says: %.1500s", err, text)
		}
	}()
	brokertest.WaitFor(p.t, what, func() bool {
		var ok bool
		ok, err = chromedp.Run(p.ctx, chromedp.Evaluate[bool]("Promise.resolve("+expression+").then(Boolean)", chromedp.EvalAwaitPromise))
		return err == nil && ok
	})
	done = true
}

// click clicks with the mouse.
func (p *tab) click(selector string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, brokertest.Patience)
	defer cancel()
	p.must(chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector))), "click "+selector)
}

// press presses keys.
func (p *tab) press(keys string) {
	p.t.Helper()
	p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(keys)), "press "+keys)
}

// fill types a text into a field, in place of what is there.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => { const f = document.querySelector(%s); f.focus(); f.select(); return true })()`, quoted(selector)))
	p.press(text)
}

// turn turns to a place in the page.
func (p *tab) turn(hash string) {
	p.t.Helper()
	eval[string](p, "location.hash = "+quoted(hash))
}

// loginAs logs in and waits for the numbers.
func (p *tab) loginAs(name, password string) {
	p.t.Helper()
	p.await("the login form", `!document.querySelector("#login").hidden`)
	p.fill("#login-user", name)
	p.fill("#login-password", password)
	p.click("#login-form button")
	p.await("numbers", `!document.querySelector("#app").hidden && document.querySelector("#verdict").textContent !== "starting"`)
}

// row is an expression for the row of the first table whose name, as it is shown, is name.
func row(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("main tbody tr")].find((r) => r.cells[0].innerText === %s)`, quoted(name))
}

// quoted is s as an expression.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be
	}
	return string(b)
}
