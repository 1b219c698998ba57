//go:build chromium

package dashboard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

var desktop = view{width: 1280, height: 900}

// hostile is a client identifier that tries everything, and how it is to be seen.
const (
	hostile      = "<img src=x onerror=document.title='hacked'>\u202eexe.png\u200b"
	hostileShown = `<img src=x onerror=document.title='hacked'>\u{202e}exe.png\u{200b}`
	hostileTopic = "<script>document.title='hacked'</script>/\u2066x"
)

func TestDashboard(t *testing.T) {
	window := browser(t)
	file := users(t)
	b, stop := start(t, file, nil)

	t.Run("who does not know the password stays outside", func(t *testing.T) {
		p := open(t, window, b.base, "/", desktop)
		p.await("the login form", `!document.querySelector("#login").hidden`)
		for _, wrong := range []string{"wrong", adminPassword + "x"} {
			p.fill("#login-user", adminName)
			p.fill("#login-password", wrong)
			p.click("#login-form button")
			p.await("a refusal", `document.querySelector("#login-error").textContent.includes("wrong")`)
			if !eval[bool](p, `document.querySelector("#app").hidden && document.activeElement.id === "login-password"`) {
				t.Error("the page is shown, or the password is not to be typed again")
			}
		}
		if code := eval[int](p, `fetch("/v1/stats").then((r) => r.status)`); code != 401 {
			t.Errorf("counters are answered with %d", code)
		}
		p.loginAs(adminName, adminPassword)
	})

	t.Run("an empty broker is said to be one", func(t *testing.T) {
		p := open(t, window, b.base, "/#/clients", desktop)
		p.loginAs(adminName, adminPassword)
		for hash, text := range map[string]string{
			"#/clients": "No client is connected.", "#/topics": "Nothing has been published since the start of the broker.",
			"#/sessions": "There is no session", "#/drops": "Nobody has missed anything", "#/bridges": "No uplinks are configured",
		} {
			p.turn(hash)
			p.await(text, `document.querySelector("main").innerText.includes(`+quoted(text)+`)`)
		}
		p.turn("#/overview")
		p.await("rates", `document.querySelector("[data-tile=received] .live span").textContent === "0"`)
		if got := eval[string](p, `document.querySelector("#verdict").textContent`); got != "healthy" {
			t.Errorf("the broker is %q", got)
		}
	})

	// From here on there are clients.
	publish(t, b.mqtt, "pump-7", "plant/pump-7/temp", 20*time.Millisecond)
	panel := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "panel-1"))
	panel.Subscribe(1, "set/#")
	victim := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "handheld-3"))
	enemy := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, hostile))
	enemy.Subscribe(0, "<b>/#")
	enemy.Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte(hostileTopic), Payload: []byte("x")}, 0))
	enemy.Ping()
	folder := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, ".."))
	folder.Subscribe(0, "folder/#")

	t.Run("numbers move", func(t *testing.T) {
		p := open(t, window, b.base, "/", desktop)
		p.loginAs(adminName, adminPassword)
		const received = `document.querySelector("[data-tile=received] .live span").textContent`
		p.await("a rate", `parseFloat(`+received+`) > 1`)
		eval[bool](p, `window.seen = new Set(), new MutationObserver(() => seen.add(document.querySelector("#broker").textContent)).observe(document.querySelector("#broker"), {childList: true, characterData: true, subtree: true}), true`)
		p.await("it to change twice", `seen.size >= 2`)
		if n := eval[int](p, `document.querySelectorAll(".plot canvas").length`); n != 4 {
			t.Errorf("there are %d charts, want 4", n)
		}
		// Something is drawn: not all pixels are the same.
		p.await("a line in the chart", `(() => {
			const c = document.querySelector(".plot canvas");
			const d = new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer);
			return new Set(d).size > 20;
		})()`)
		p.await("a description", `/received \d.*per second: |received [\d.]+ now/.test(document.querySelector(".plot").getAttribute("aria-label"))`)
	})

	t.Run("hostile names are shown and do nothing", func(t *testing.T) {
		p := open(t, window, b.base, "/#/clients", desktop)
		p.loginAs(adminName, adminPassword)
		p.await("the client", row(hostileShown))
		p.turn("#/topics")
		p.await("the topic", row(`<script>document.title='hacked'</script>/\u{2066}x`))
		for _, view := range []string{"sessions", "drops", "events", "overview", "clients"} {
			p.turn("#/" + view)
			p.await(view, `document.querySelector("main h1").textContent.toLowerCase() === `+quoted(view))
		}
		// Its details, asked for as a link of the list does.
		p.await("the client", row(hostileShown))
		eval[bool](p, row(hostileShown)+`.querySelector("a").click() || true`)
		p.await("its details", `document.querySelector("#details").open && document.querySelector("#details").innerText.includes("<b>/#")`)
		if got := eval[string](p, `document.querySelector("#details-title").textContent`); got != hostileShown {
			t.Errorf("the title is %q", got)
		}
		if eval[bool](p, `document.querySelector("main img, main script, main b:not(.chart-key b), #details img") !== null || document.title.includes("hacked")`) {
			t.Error("a name has become markup")
		}
		if eval[bool](p, `/[\u0000-\u0008\u200b\u202a-\u202e\u2066-\u2069]/.test(document.documentElement.outerHTML)`) {
			t.Error("a character that steers is in the document")
		}
		// So is one that browsers take for a folder, and it can be kicked.
		p.turn("#/clients/..")
		p.await("its details", `document.querySelector("#details").open && document.querySelector("#details").innerText.includes("folder/#")`)
		p.click("#details button.danger")
		p.await("a question", `document.querySelector("#confirm").open`)
		p.click("#confirm-yes")
		if reason := folder.ExpectDisconnect(); reason != wire.AdministrativeAction {
			t.Errorf("kicked with reason %v", reason)
		}
	})

	t.Run("a client is kicked, when that is said twice", func(t *testing.T) {
		p := open(t, window, b.base, "/#/clients", desktop)
		p.loginAs(adminName, adminPassword)
		p.await("the client", row("handheld-3"))
		kick := `[aria-label="Kick handheld-3"]`
		p.click(kick)
		p.await("a question", `document.querySelector("#confirm").open && document.querySelector("#confirm").innerText.includes("handheld-3")`)
		if got := eval[string](p, `document.activeElement.textContent`); got != "Cancel" {
			t.Errorf("Enter would press %q", got)
		}
		p.click(`#confirm [value="no"]`)
		p.await("the question to go", `!document.querySelector("#confirm").open`)
		victim.Ping() // it is still there
		p.click(kick)
		p.await("a question", `document.querySelector("#confirm").open`)
		p.click("#confirm-yes")
		if reason := victim.ExpectDisconnect(); reason != wire.AdministrativeAction {
			t.Errorf("the client hears %v", reason)
		}
		p.await("the row to go", `!`+row("handheld-3"))
		p.await("a word about it", `document.querySelector("#notice").textContent === "Kicked handheld-3"`)
		panel.Ping()
		enemy.Ping()
	})

	t.Run("an event comes as it happens", func(t *testing.T) {
		p := open(t, window, b.base, "/#/events", desktop)
		p.loginAs(adminName, adminPassword)
		p.await("what was before", `document.querySelector("main").innerText.includes("handheld-3 from")`)
		brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "newcomer-1"))
		p.await("a connection", `document.querySelector("main tbody").innerText.includes("newcomer-1 from")`)
		p.press("p")
		p.await("a pause", `document.querySelector("[aria-pressed=true]")?.textContent === "Pause"`)
		brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "newcomer-2"))
		p.await("the number of those since", `/paused, [1-9]/.test(document.querySelector(".said").textContent)`)
		if eval[bool](p, `document.querySelector("main tbody").innerText.includes("newcomer-2 from")`) {
			t.Error("the list moves while it is paused")
		}
		p.press("p")
		p.await("the other connection", `document.querySelector("main tbody").innerText.includes("newcomer-2 from")`)
		// What is cleared does not come back with the view.
		eval[bool](p, `[...document.querySelectorAll("main button")].find((b) => b.textContent === "Clear").click() || true`)
		p.turn("#/overview")
		p.await("the other view", `document.querySelector("main h1").textContent === "Overview"`)
		p.turn("#/events")
		brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "newcomer-3"))
		p.await("what is new alone", `document.querySelector("main tbody").innerText.includes("newcomer-3 from") && !document.querySelector("main tbody").innerText.includes("newcomer-2")`)
		// Of one client alone, asked for by its link.
		brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "newcomer-4"))
		p.await("another", `document.querySelector("main tbody").innerText.includes("newcomer-4 from")`)
		p.turn("#/events/newcomer-4")
		p.await("fewer", `document.querySelector("main tbody").innerText.includes("newcomer-4") && !document.querySelector("main tbody").innerText.includes("newcomer-3")`)
	})

	t.Run("the theme is chosen and remembered", func(t *testing.T) {
		p := open(t, window, b.base, "/", desktop)
		p.loginAs(adminName, adminPassword)
		const colour = `getComputedStyle(document.documentElement).backgroundColor`
		light := eval[string](p, colour)
		p.scheme(true)
		p.await("dark with the system", `document.documentElement.dataset.theme === "dark"`)
		dark := eval[string](p, colour)
		if light == dark {
			t.Errorf("both themes are %s", light)
		}
		p.click("#theme")
		p.await("light", colour+` === `+quoted(light)+` && document.querySelector("#theme").textContent === "Theme: light"`)
		p.must(chromedp.Do(p.ctx, chromedp.Reload()), "reload")
		p.await("the page again, without a login", `!document.querySelector("#app").hidden`)
		if got := eval[string](p, colour); got != light {
			t.Errorf("after a reload it is %s", got)
		}
	})

	t.Run("keys", func(t *testing.T) {
		p := open(t, window, b.base, "/", desktop)
		p.loginAs(adminName, adminPassword)
		at := func(view string) {
			p.await(view, `location.hash === `+quoted("#/"+view)+` && document.querySelector("#tabs [aria-current=page]").hash === location.hash`)
		}
		p.press("2")
		at("clients")
		p.await("the focus in the view", `document.activeElement.id === "main"`)
		p.press("/")
		p.await("the filter", `document.activeElement.matches("[data-filter]")`)
		p.press("pump3")
		at("clients") // digits are text in a field
		p.await("the filtered list", `document.querySelector("main .said").textContent.startsWith("0 of ")`)
		p.fill("[data-filter]", "pump")
		p.await("the filtered list", `document.querySelectorAll("main tbody tr").length === 1`)
		eval[bool](p, `document.activeElement.blur() || true`)
		p.press("?")
		p.await("help", `document.querySelector("#help").open`)
		p.press("3")
		at("clients")
		p.click("#keys-on")
		p.press("\x1b")
		p.await("no help", `!document.querySelector("#help").open`)
		p.press("3")
		p.press("?")
		if !eval[bool](p, `location.hash === "#/clients" && !document.querySelector("#help").open`) {
			t.Error("keys that are switched off do something")
		}
	})

	t.Run("who may look only has nothing to press", func(t *testing.T) {
		p := open(t, window, b.base, "/#/clients", desktop)
		p.loginAs(viewerName, viewerPassword)
		p.await("the clients", row("panel-1"))
		if eval[bool](p, `document.body.innerText.includes("Kick")`) {
			t.Error("there is a button to kick")
		}
		p.turn("#/clients/panel-1")
		p.await("details", `document.querySelector("#details").innerText.includes("set/#")`)
		if eval[bool](p, `document.querySelector("#details .danger") !== null`) {
			t.Error("there is a button to kick")
		}
		if code := eval[int](p, `fetch("/v1/clients/panel-1/kick", {method: "POST"}).then((r) => r.status)`); code != 403 {
			t.Errorf("a kick is answered with %d", code)
		}
		panel.Ping()
	})

	t.Run("logging out leaves nothing", func(t *testing.T) {
		p := open(t, window, b.base, "/#/clients", desktop)
		p.loginAs(adminName, adminPassword)
		p.await("the clients", row("panel-1"))
		p.click("#logout")
		p.await("the login form", `document.querySelector("#login")?.hidden === false && !document.body.innerText.includes("panel-1")`)
		if code := eval[int](p, `fetch("/v1/stats").then((r) => r.status)`); code != 401 {
			t.Errorf("counters are answered with %d", code)
		}
	})

	// The last, since it ends the broker.
	t.Run("a restart is survived", func(t *testing.T) {
		p := open(t, window, b.base, "/#/topics", desktop)
		p.loginAs(adminName, adminPassword)
		p.await("the topics", row("plant/pump-7/temp"))
		address := strings.TrimPrefix(b.base, "http://")
		stop()
		p.await("a banner", `!document.querySelector("#banner").hidden && document.querySelector("#banner").innerText.includes("No answer from the broker")`)
		if !eval[bool](p, `document.body.hasAttribute("data-stale") && document.querySelector("main").innerText.includes("plant/pump-7/temp")`) {
			t.Error("what was there is gone, or not marked as old")
		}
		p.turn("#/overview")
		p.await("another view of what was", `document.querySelector("[data-tile=received] .live span").textContent !== ""`)
		if got := eval[string](p, `document.querySelector("#verdict").textContent`); got != "no answer" {
			t.Errorf("a broker that does not answer is %q", got)
		}
		p.turn("#/topics")
		again, _ := start(t, file, func(c *appliance.Config) { c.HTTP.Address = address })
		publish(t, again.mqtt, "pump-8", "plant/pump-8/temp", 20*time.Millisecond)
		p.await("the login form", `!document.querySelector("#login").hidden && document.querySelector("#login-why").textContent.includes("has ended")`)
		if got := eval[string](p, `document.querySelector("#login-user").value`); got != adminName {
			t.Errorf("the name to log in with is %q", got)
		}
		p.loginAs(adminName, adminPassword)
		p.await("the same view with what is new", `location.hash === "#/topics" && `+row("plant/pump-8/temp"))
		if eval[bool](p, `!document.querySelector("#banner").hidden || document.body.hasAttribute("data-stale")`) {
			t.Error("it is still said that nobody answers")
		}
	})
}
