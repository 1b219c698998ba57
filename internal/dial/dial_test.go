package dial

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const patience = time.Minute

// echo sends back what nc brings.
func echo(nc net.Conn) {
	defer nc.Close()
	_, _ = io.Copy(nc, nc)
}

func serve(t *testing.T, network, address string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go echo(nc)
		}
	}()
	return l.Addr()
}

// web serves WebSocket at /mqtt, other things elsewhere.
func web(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(webHandler())
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func webHandler() http.Handler {
	mux := http.NewServeMux()
	upgrade := func(subprotocol string, then func(*http.Request, *websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
			if err == nil {
				then(r, ws)
			}
		}
	}
	mux.Handle("/mqtt", upgrade("mqtt", func(r *http.Request, ws *websocket.Conn) {
		echo(websocket.NetConn(r.Context(), ws, websocket.MessageBinary))
	}))
	mux.Handle("/chat", upgrade("chat", func(_ *http.Request, ws *websocket.Conn) { _ = ws.CloseNow() }))
	mux.Handle("/silent", upgrade("mqtt", func(r *http.Request, ws *websocket.Conn) { <-r.Context().Done(); _ = ws.CloseNow() }))
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not \x1b here\nbut there", http.StatusGone)
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.Handle("/moved", http.RedirectHandler("/mqtt", http.StatusFound))
	return mux
}

func TestBroker(t *testing.T) {
	tcp := serve(t, "tcp", "127.0.0.1:0").String()
	unix := serve(t, "unix", filepath.Join(t.TempDir(), "s")).String()
	site := web(t)
	for _, address := range []string{tcp, "tcp://" + tcp, "mqtt://" + tcp, "unix:" + unix, "unix://" + unix, "ws://" + site, "ws://" + site + "/mqtt"} {
		t.Run(strings.SplitN(address, ":", 2)[0], func(t *testing.T) {
			nc, err := Broker(t.Context(), address, patience)
			if err != nil {
				t.Fatal(err)
			}
			_ = nc.SetDeadline(time.Now().Add(patience))
			in := strings.Repeat("over there ", 10000)
			sent := make(chan error, 1)
			go func() { _, err := io.WriteString(nc, in); sent <- err }()
			out := make([]byte, len(in))
			if _, err := io.ReadFull(nc, out); err != nil || string(out) != in {
				t.Errorf("got %d bytes back, %v", len(out), err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if nc.RemoteAddr() == nil || strings.Contains(nc.RemoteAddr().String(), "unknown") {
				t.Errorf("remote address %v", nc.RemoteAddr())
			}
			_ = nc.SetReadDeadline(time.Unix(1, 0))
			if _, err := nc.Read(out); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after the deadline: %v", err)
			}
			if _, err := nc.Write([]byte("still")); err != nil {
				t.Errorf("an expired read ended writing: %v", err)
			}
			_ = nc.Close()
		})
	}
}

func TestBrokerErrors(t *testing.T) {
	site := web(t)
	plain := serve(t, "tcp", "127.0.0.1:0").String()
	for address, want := range map[string]string{
		"mqttss://x":                `scheme "mqttss" is not known`,
		"ws://%zz":                  "is not a URL",
		"ws://" + site + "/nowhere": `the server did not agree to a WebSocket: HTTP status 404, "404 page not found"`,
		"ws://" + site + "/gone":    `HTTP status 410, "not \x1b here"`,
		"ws://" + site + "/empty":   "HTTP status 418",
		"ws://" + site + "/moved":   "HTTP status 302",
		"ws://" + site + "/chat":    `does not speak MQTT (it agreed to subprotocol "")`,
		"ws://" + plain:             "malformed HTTP",
		"unix:/nowhere/at/all":      "no such file",
	} {
		nc, err := Broker(t.Context(), address, patience)
		if err == nil {
			nc.Close()
		}
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestCloseIsBounded closes a WebSocket whose other end does not answer.
func TestCloseIsBounded(t *testing.T) {
	nc, err := Broker(t.Context(), "ws://"+web(t)+"/silent", patience)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_ = nc.Close()
	if d := time.Since(begin); d > 4*closeWait {
		t.Errorf("took %v", d)
	}
	if _, err := nc.Write([]byte("x")); err == nil {
		t.Error("written after the end")
	}
}
