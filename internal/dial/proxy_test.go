package dial

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// proxyServer is a proxy that connects to one address only, however it is called.
type proxyServer struct {
	t          *testing.T
	to         string // where all tunnels lead
	user, pass string // that are wanted; empty: nobody is asked
	asked      chan string
	l          net.Listener
}

func newProxyServer(t *testing.T, to, user, pass string, serve func(*proxyServer, net.Conn) (string, error)) *proxyServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyServer{t, to, user, pass, make(chan string, 10), l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				asked, err := serve(p, nc)
				if err != nil {
					return
				}
				p.asked <- asked
				far, err := net.Dial("tcp", p.to)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, nc); far.Close() }()
				_, _ = io.Copy(nc, far)
			}()
		}
	}()
	return p
}

func connectHTTP(p *proxyServer, nc net.Conn) (string, error) {
	req, err := http.ReadRequest(bufio.NewReader(nc))
	if err != nil {
		return "", err
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.pass))
	switch {
	case req.Method != http.MethodConnect:
		_, _ = io.WriteString(nc, "HTTP/1.1 405 No\r\n\r\n")
		return "", errors.New("method")
	case p.user != "" && req.Header.Get("Proxy-Authorization") != want:
		_, _ = io.WriteString(nc, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
		return "", errors.New("who")
	case strings.HasPrefix(req.Host, "forbidden"):
		_, _ = io.WriteString(nc, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
		return "", errors.New("no")
	}
	_, err = io.WriteString(nc, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
	return req.Host, err
}

// connectSOCKS is RFC 1928 and 1929 as far as they are needed.
func connectSOCKS(p *proxyServer, nc net.Conn) (string, error) {
	in := bufio.NewReader(nc)
	take := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	methods := take(int(take(2)[1]))
	method := byte(0)
	if p.user != "" {
		method = 2
	}
	if !strings.Contains(string(methods), string(method)) {
		_, _ = nc.Write([]byte{5, 0xff})
		return "", errors.New("method")
	}
	_, _ = nc.Write([]byte{5, method})
	if method == 2 {
		user := string(take(int(take(2)[1])))
		if pass := string(take(int(take(1)[0]))); user != p.user || pass != p.pass {
			_, _ = nc.Write([]byte{1, 1})
			return "", errors.New("who")
		}
		_, _ = nc.Write([]byte{1, 0})
	}
	head := take(4)
	var host string
	switch head[3] {
	case 1:
		host = net.IP(take(4)).String()
	case 3:
		host = string(take(int(take(1)[0])))
	}
	port := take(2)
	if host == "forbidden.example" {
		_, _ = nc.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
		return "", errors.New("no")
	}
	_, err := nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1])), err
}

// What passes a proxy gets to where the proxy was asked to connect, which the
// proxy looks up.
func TestProxy(t *testing.T) {
	far := serve(t, "tcp", "127.0.0.1:0").String()
	for scheme, server := range map[string]func(*proxyServer, net.Conn) (string, error){"http": connectHTTP, "socks5": connectSOCKS} {
		for _, user := range []string{"", "gateway"} {
			p := newProxyServer(t, far, user, "s3cret", server)
			var info *url.Userinfo
			if user != "" {
				info = url.UserPassword(user, "s3cret")
			}
			through, err := NewProxy(scheme+"://"+p.l.Addr().String(), info)
			if err != nil {
				t.Fatal(err)
			}
			nc, err := Through(t.Context(), through, "mqtt://far.example:1883", patience, nil)
			if err != nil {
				t.Fatalf("%s, user %q: %v", scheme, user, err)
			}
			if asked := <-p.asked; asked != "far.example:1883" {
				t.Errorf("%s: it was asked for %s", scheme, asked)
			}
			_ = nc.SetDeadline(time.Now().Add(patience))
			b := make([]byte, 5)
			if _, err := nc.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(nc, b); err != nil || string(b) != "hello" {
				t.Errorf("%s: got %q, %v", scheme, b, err)
			}
			nc.Close()

			_, err = Through(t.Context(), through, "mqtt://forbidden.example:1883", patience, nil)
			if err == nil || !strings.Contains(err.Error(), "proxy "+scheme+"://127.0.0.1:") {
				t.Errorf("%s: %v", scheme, err)
			}
			if user == "" {
				continue
			}
			for _, wrong := range []*url.Userinfo{nil, url.UserPassword(user, "gue55ed")} {
				through, _ := NewProxy(scheme+"://"+p.l.Addr().String(), wrong)
				_, err = Through(t.Context(), through, "mqtt://far.example:1883", patience, nil)
				if err == nil || strings.Contains(err.Error(), "gue55ed") || scheme == "http" && !strings.Contains(err.Error(), "407") {
					t.Errorf("%s, %v: %v", scheme, wrong != nil, err)
				}
			}
		}
	}
}

// WebSocket and TLS go through as well.
func TestProxyWebSocket(t *testing.T) {
	p := newProxyServer(t, web(t), "", "", connectHTTP)
	through, err := NewProxy("http://"+p.l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := Through(t.Context(), through, "ws://far.example/mqtt", patience, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if asked := <-p.asked; asked != "far.example:80" {
		t.Errorf("it was asked for %s", asked)
	}
}

// A proxy that says nothing, or too much, costs no more than the time that there is.
func TestProxyHostile(t *testing.T) {
	for name, server := range map[string]func(*proxyServer, net.Conn) (string, error){
		"silent": func(_ *proxyServer, nc net.Conn) (string, error) {
			_, err := io.Copy(io.Discard, nc)
			return "", errors.Join(err, io.EOF)
		},
		"endless": func(_ *proxyServer, nc net.Conn) (string, error) {
			_, err := io.WriteString(nc, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(nc, "X-More: and more\r\n")
			}
			return "", err
		},
		"other": func(_ *proxyServer, nc net.Conn) (string, error) {
			_, _ = io.WriteString(nc, "SSH-2.0-OpenSSH_9.6\r\n")
			return "", io.EOF
		},
	} {
		p := newProxyServer(t, "", "", "", server)
		through, err := NewProxy("http://"+p.l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		wait := patience
		if name == "silent" {
			wait = 50 * time.Millisecond
		}
		_, err = Through(t.Context(), through, "mqtt://far.example:1883", wait, nil)
		if err == nil || name == "silent" && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Which proxy the environment names, and for what.
func TestProxyFor(t *testing.T) {
	for name, tt := range map[string]struct {
		env     map[string]string
		address string
		want    string
	}{
		"none":     {nil, "far.example:8883", ""},
		"https":    {map[string]string{"HTTPS_PROXY": "http://p.example:3128"}, "far.example:8883", "http://p.example:3128"},
		"lower":    {map[string]string{"https_proxy": "http://p.example:3128"}, "far.example:1883", "http://p.example:3128"},
		"all":      {map[string]string{"ALL_PROXY": "socks5://u:pw@p.example"}, "far.example:8883", "socks5://p.example:1080"},
		"both":     {map[string]string{"HTTPS_PROXY": "http://p.example", "ALL_PROXY": "socks5://q.example"}, "far.example:8883", "http://p.example:80"},
		"http":     {map[string]string{"HTTP_PROXY": "http://p.example:3128"}, "far.example:8883", ""},
		"no proxy": {map[string]string{"HTTPS_PROXY": "http://p.example:3128", "NO_PROXY": ".example"}, "far.example:8883", ""},
		"loopback": {map[string]string{"HTTPS_PROXY": "http://p.example:3128"}, "127.0.0.1:8883", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"} {
				t.Setenv(key, tt.env[key])
			}
			p, err := ProxyFor(tt.address)
			got := ""
			if p != nil {
				got = p.String()
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	t.Setenv("HTTPS_PROXY", "ftp://u:s3cret@p.example")
	if _, err := ProxyFor("far.example:1"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}
