//go:build chromium

package dashboard_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

var views = []string{"overview", "clients", "topics", "sessions", "drops", "bridges", "events"}

// long is a name that no column has room for.
var long = "line-" + strings.Repeat("0123456789", 20)

// busy is a broker with something in every view.
func busy(t *testing.T) *broker {
	t.Helper()
	b, _ := start(t, users(t), withUplinks(t))
	publish(t, b.mqtt, long, "plant/"+long, 50*time.Millisecond)
	c := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "panel-1"))
	c.Subscribe(0, "plant/#", "set/"+long)
	return b
}

func (p *tab) turnTo(view string) {
	p.t.Helper()
	p.turn("#/" + view)
	p.await(view, `document.querySelector("main h1").textContent.toLowerCase() === `+quoted(view)+` && !document.querySelector("main").innerText.includes("…\n")`)
}

func TestPhone(t *testing.T) {
	window := browser(t)
	b := busy(t)
	for _, width := range []int64{320, 360, 768} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := open(t, window, b.base, "/", view{width: width, height: 740, phone: true})
			fits := func(where string) {
				t.Helper()
				if wide := eval[int](p, `document.documentElement.scrollWidth`); wide > int(width) {
					t.Errorf("%s is %d px wide: %s", where, wide, eval[string](p, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120)).slice(0, 3).join("\n")`))
				}
			}
			p.await("the login form", `!document.querySelector("#login").hidden`)
			fits("the login form")
			p.loginAs(adminName, adminPassword)
			for _, view := range views {
				p.turnTo(view)
				fits(view)
				// A table that is wider than its place hides what matters.
				if eval[bool](p, `[...document.querySelectorAll("main .scroll")].some((s) => s.scrollWidth > s.clientWidth + 1)`) {
					t.Errorf("%s: a table does not fit: %s", view, eval[string](p, `[...document.querySelectorAll("main .scroll")].map((s) => s.getAttribute("aria-label") + " " + s.scrollWidth + " in " + s.clientWidth).join()`))
				}
			}
			p.turn("#/clients/" + long)
			p.await("details", `document.querySelector("#details").innerText.includes("protocol")`)
			fits("details")
			if eval[bool](p, `document.querySelector("#details").scrollWidth > document.querySelector("#details").clientWidth`) {
				t.Error("details do not fit")
			}
		})
	}
}

// What people who do not see the page are told of it.
func TestAccessibility(t *testing.T) {
	window := browser(t)
	b := busy(t)
	p := open(t, window, b.base, "/", desktop)
	p.await("the login form", `!document.querySelector("#login").hidden`)
	p.checkNames("the login form")
	p.checkAxe("the login form")
	p.loginAs(adminName, adminPassword)
	for _, dark := range []bool{false, true} {
		p.scheme(dark)
		for _, view := range views {
			p.turnTo(view)
			where := fmt.Sprintf("%s, dark %v", view, dark)
			p.checkNames(where)
			p.checkAxe(where)
			for what, fault := range map[string]string{
				"not one h1":                      `[...document.querySelectorAll("h1")].filter((h) => h.checkVisibility()).length !== 1`,
				"a table without a caption":       `[...document.querySelectorAll("main table")].some((t) => !t.caption || t.caption.textContent === "")`,
				"a header without a scope":        `[...document.querySelectorAll("main th")].some((h) => !h.scope)`,
				"an identifier twice":             `(() => { const ids = [...document.querySelectorAll("[id]")].map((e) => e.id); return new Set(ids).size !== ids.length })()`,
				"a live region in the view":       `document.querySelector("main [aria-live], main [role=alert], main [role=status]") !== null`,
				"no mark of where one is":         `document.querySelectorAll("#tabs [aria-current=page]").length !== 1`,
				"a style attribute in the markup": `document.querySelector("[style='']") !== null`,
			} {
				if eval[bool](p, fault) {
					t.Errorf("%s: %s", where, what)
				}
			}
		}
	}
	p.turn("#/clients/panel-1")
	p.await("details", `document.querySelector("#details").innerText.includes("protocol")`)
	p.checkNames("details")
	p.checkAxe("details")

	// Whatever has the focus shows it.
	p.turnTo("overview")
	for range 12 {
		p.press("\t")
		if got := eval[string](p, `(() => { const e = document.activeElement; const s = getComputedStyle(e); return e === document.body || e.matches(":focus-visible") && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 ? "" : e.outerHTML.slice(0, 100) })()`); got != "" {
			t.Errorf("the focus cannot be seen on %s", got)
		}
	}
}

// checkNames looks in the tree that assistive technology gets for controls without a
// name.
func (p *tab) checkNames(where string) {
	p.t.Helper()
	call(p, accessibility.Enable, cdp.Empty{})
	tree := call(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	seen := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		switch role {
		case "button", "link", "textbox", "searchbox", "combobox", "checkbox", "table", "image", "dialog", "navigation", "region":
			seen[role]++
			if n.Name == nil || strings.Trim(string(n.Name.Value), `" `) == "" {
				p.t.Errorf("%s: a %s has no name", where, role)
			}
		}
	}
	if seen["button"] == 0 {
		p.t.Errorf("%s: found no buttons: %v", where, seen)
	}
}

// checkAxe lets axe-core judge the page, where EDGEBROKER_AXE names its script.
func (p *tab) checkAxe(where string) {
	p.t.Helper()
	script := os.Getenv("EDGEBROKER_AXE")
	if script == "" {
		return
	}
	source, err := os.ReadFile(script)
	p.must(err, "read axe-core")
	if !eval[bool](p, `typeof axe !== "undefined"`) {
		p.must(chromedp.Do(p.ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := chromedp.Evaluate[bool](string(source)+"; true")(ctx, t)
			return chromedp.Void{}, err
		}), "load axe-core")
	}
	for _, v := range eval[[]string](p, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) => r.violations.flatMap((v) => v.nodes.slice(0, 3).map((n) => v.id + ": " + n.failureSummary + " " + n.html.slice(0, 200))))`) {
		p.t.Errorf("%s: axe: %s", where, v)
	}
}

// A list of very many clients costs the browser little, and all of them are within
// reach.
func TestManyClients(t *testing.T) {
	window := browser(t)
	b, _ := start(t, users(t), nil)
	p := open(t, window, b.base, "/", desktop)
	p.loginAs(adminName, adminPassword)
	eval[bool](p, `(() => {
		const list = Array.from({length: 10_000}, (_, i) => ({
			id: "device-" + String(i).padStart(5, "0"), connected: true, connectedAt: new Date().toISOString(), remote: "10.0.0.1:" + i, listener: "lan", protocol: "5",
			keepAlive: 60, sessionExpiry: 0, subscriptions: 1, received: {messages: i, payloadBytes: 0}, sent: {messages: 0, payloadBytes: 0}, receivedBytes: 0, sentBytes: 0,
			queued: {messages: 0, bytes: 0}, inflight: 0, dropped: 0, pending: 0, waited: 0, waitedAtLeast: false, stalls: 0, slow: false,
		}));
		const real = fetch;
		window.fetch = (path, o) => (path === "/v1/clients" ? Promise.resolve(new Response(JSON.stringify(list))) : real(path, o));
		return true;
	})()`)
	p.turn("#/clients")
	p.await("the first page", `document.querySelector(".pager span").textContent === "1 to 100 of 10,000"`)
	p.await("the number of clients", `document.querySelector(".said").textContent === "10,000 clients connected"`)
	p.click(".pager button:nth-child(2)")
	p.await("the second page", `document.querySelector(".pager span").textContent === "101 to 200 of 10,000"`)
	if n := eval[int](p, `document.querySelectorAll("*").length`); n > 4000 {
		t.Errorf("the document has %d elements", n)
	}
	p.fill("[data-filter]", "device-0777")
	p.await("those that are looked for", `document.querySelector(".said").textContent === "10 of 10,000 clients connected" && document.querySelectorAll("main tbody tr").length === 10`)
	if eval[bool](p, `document.querySelector(".pager").checkVisibility()`) {
		t.Error("one page has buttons for others")
	}
}
