//go:build chromium

package dashboard_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// mostBytes is how large a picture for the documents may be.
const mostBytes = 200 << 10

// TestScreenshots makes the pictures of docs/DASHBOARD.md in the folder that
// EDGEBROKER_SCREENSHOTS names. It takes a minute, so that charts have something to
// show.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("EDGEBROKER_SCREENSHOTS")
	if dir == "" {
		t.Skip("EDGEBROKER_SCREENSHOTS names no folder; scripts/dashboard.sh --screenshots does")
	}
	window := browser(t)
	far, _ := start(t, users(t), nil)
	b, _ := start(t, users(t), func(c *appliance.Config) {
		c.Bridges = []appliance.BridgeConfig{uplink("historian", far.mqtt), uplink("cloud", far.mqtt)}
		c.Storage.Directory = t.TempDir()
	})
	plant(t, b)

	p := open(t, window, b.base, "/", view{width: 1280, height: 1130})
	p.loginAs(adminName, adminPassword)
	p.await("an uplink to be paused", `fetch("/v1/bridges/cloud/pause", {method: "POST"}).then((r) => r.ok)`)
	p.await("a minute of history", `performance.now() > 55_000`)
	p.await("a slow client", `document.querySelector(".panels").innerText.includes("panel-2")`)
	p.picture(dir, "overview-light")
	p.scheme(true)
	p.picture(dir, "overview-dark")
	p.resize(view{width: 1280, height: 760})
	p.turnTo("events")
	p.await("events", `document.querySelectorAll("main tbody tr").length > 10`)
	p.picture(dir, "events-dark")
	p.scheme(false)
	p.turnTo("clients")
	p.await("rates", `parseFloat(document.querySelector("main tbody td")?.textContent) > 1`)
	p.picture(dir, "clients-light")
	p.turnTo("bridges")
	p.await("uplinks", `parseFloat(document.querySelectorAll(".uplink dd")[1]?.textContent) > 1`)
	p.picture(dir, "bridges-light")
	p.resize(view{width: 360, height: 740, phone: true})
	p.turnTo("overview")
	p.picture(dir, "phone-light")
	p.scheme(true)
	p.turnTo("clients")
	p.await("rates", `parseFloat(document.querySelector("main tbody td")?.textContent) > 1`)
	p.picture(dir, "phone-dark")
}

// picture writes what is to be seen.
func (p *tab) picture(dir, name string) {
	p.t.Helper()
	// What has changed is drawn with the next counters.
	p.await("the next counters", `new Promise((r) => { const m = new MutationObserver(() => { m.disconnect(); setTimeout(() => r(true), 300) }); m.observe(document.querySelector("#verdict").parentElement, {subtree: true, childList: true, characterData: true}) })`)
	p.must(chromedp.Do(p.ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 1, 1)), "move the mouse away")
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	p.must(err, "take a picture")
	if len(png) > mostBytes {
		p.t.Errorf("%s has %d bytes, want at most %d", name, len(png), mostBytes)
	}
	p.must(os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644), "write a picture")
}

// resize looks at the page in another way.
func (p *tab) resize(v view) {
	p.t.Helper()
	var size []chromedp.EmulateViewportOption
	if v.phone {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(v.width, v.height, size...)), "set the size")
}

// plant is a small one, at work until the test ends.
func plant(t *testing.T, b *broker) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	devices := 0
	t.Cleanup(func() {
		stop()
		for range devices {
			<-done
		}
	})
	for line := 1; line <= 3; line++ {
		for i, kind := range []string{"temp", "pressure", "vibration", "flow"} {
			id := fmt.Sprintf("plc-line%d-%s", line, kind)
			topic := fmt.Sprintf("plant/line%d/%s", line, kind)
			c := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, id))
			devices += 2
			go func() {
				_, _ = io.Copy(io.Discard, c.Conn()) // acknowledgements
				done <- struct{}{}
			}()
			t.Cleanup(func() { c.Conn().Close() })
			go func() {
				device(ctx, c, topic, time.Duration(8+7*i)*time.Millisecond, float64(line))
				done <- struct{}{}
			}()
		}
	}
	for _, id := range []string{"scada", "panel-1"} {
		c := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, id)).AutoAck()
		c.Subscribe(0, "plant/#")
		devices++
		go func() {
			_, _ = io.Copy(io.Discard, c.Conn())
			done <- struct{}{}
		}()
		t.Cleanup(func() { c.Conn().Close() })
	}
	away := brokertest.Dial(t, b.mqtt, brokertest.Kept(wire.V5, "tablet-shift-b"))
	away.Subscribe(1, "plant/line1/temp")
	away.Conn().Close()
	devices++
	go func() {
		comeAndGo(ctx, b.mqtt)
		done <- struct{}{}
	}()
	stalled := brokertest.Dial(t, b.mqtt, brokertest.Clean(wire.V5, "panel-2")) // reads nothing
	stalled.Subscribe(1, "plant/#")
}

// comeAndGo is workers with handheld scanners: each says something that nobody has
// subscribed to.
func comeAndGo(ctx context.Context, addr string) {
	tick := time.NewTicker(4 * time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			scan(ctx, addr, fmt.Sprintf("handheld-%d", n%4))
		}
	}
}

// scan is one such visit. What goes wrong is to be seen in the pictures.
func scan(ctx context.Context, addr, id string) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	c := brokertest.Clean(wire.V5, id)
	c.KeepAlive = 30
	_, _ = conn.Write(wire.AppendConnect(nil, &c))
	_, _ = conn.Read(make([]byte, 256)) // CONNACK
	_, _ = conn.Write(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("shift/scan"), Payload: []byte("4006381333931")}, 0))
	_, _ = conn.Write([]byte{byte(wire.DISCONNECT) << 4, 0})
}

// device publishes, faster and slower in waves.
func device(ctx context.Context, c *brokertest.Client, topic string, every time.Duration, phase float64) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			wave := math.Sin(float64(at.UnixMilli())/7000 + phase)
			if n%4 != 0 && wave < 0 {
				continue
			}
			frame := wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte(topic), QoS: 1, Payload: []byte(`{"value":21.42}`)}, uint16(n%65535+1))
			if _, err := c.Conn().Write(frame); err != nil {
				return
			}
		}
	}
}
