package dial

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// Dialer makes connections of TCP.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Proxy makes connections of TCP through a proxy, which looks up names. It says
// nothing of passwords.
type Proxy struct {
	at     *url.URL // with user and password, if any
	dialer Dialer   // that the proxy is reached by
}

// NewProxy is the proxy at rawURL: http://host:port and https://host:port for
// HTTP CONNECT, socks5://host:port for SOCKS 5. user may be nil.
func NewProxy(rawURL string, user *url.Userinfo) (*Proxy, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the address of the proxy is not a URL; write http://HOST:PORT or socks5://HOST:PORT") // and may hold a password
	}
	if user != nil {
		u.User = user
	}
	return newProxy(u)
}

func newProxy(u *url.URL) (*Proxy, error) {
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fmt.Errorf("scheme %q is none of proxies; write http://HOST:PORT or socks5://HOST:PORT", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("the address of the proxy has no host; write http://HOST:PORT or socks5://HOST:PORT")
	}
	return &Proxy{u, &net.Dialer{Control: Shallow}}, nil
}

// ProxyFor is the proxy that the environment names for connections to address,
// "host:port": HTTPS_PROXY or else ALL_PROXY, unless NO_PROXY says otherwise or
// the host is this one. nil is for none.
func ProxyFor(address string) (*Proxy, error) {
	env := httpproxy.FromEnvironment()
	env.HTTPSProxy = cmp.Or(env.HTTPSProxy, os.Getenv("ALL_PROXY"), os.Getenv("all_proxy"))
	u, err := env.ProxyFunc()(&url.URL{Scheme: "https", Host: address})
	if err != nil {
		return nil, errors.New("HTTPS_PROXY or ALL_PROXY in the environment is not the address of a proxy") // and may hold a password
	}
	if u == nil {
		return nil, nil
	}
	return newProxy(u)
}

// String is where the proxy is.
func (p *Proxy) String() string { return p.at.Scheme + "://" + p.address() }

func (p *Proxy) address() string {
	return net.JoinHostPort(p.at.Hostname(), cmp.Or(p.at.Port(), map[string]string{"http": "80", "https": "443"}[p.at.Scheme], "1080"))
}

// DialContext implements Dialer. ctx bounds what is agreed with the proxy, too.
func (p *Proxy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := p.open(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p, err)
	}
	return nc, nil
}

func (p *Proxy) open(ctx context.Context, network, address string) (net.Conn, error) {
	if p.at.Scheme == "socks5" || p.at.Scheme == "socks5h" {
		var auth *proxy.Auth
		if p.at.User != nil {
			password, _ := p.at.User.Password()
			auth = &proxy.Auth{User: p.at.User.Username(), Password: password}
		}
		socks, err := proxy.SOCKS5("tcp", p.address(), auth, below{p.dialer})
		if err != nil {
			return nil, err
		}
		return socks.(proxy.ContextDialer).DialContext(ctx, network, address)
	}
	nc, err := p.dialer.DialContext(ctx, network, p.address())
	if err != nil {
		return nil, err
	}
	through, err := p.tunnel(ctx, nc, address)
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return through, nil
}

// below is a Dialer as x/net/proxy takes it.
type below struct{ Dialer }

func (b below) Dial(network, address string) (net.Conn, error) {
	return b.DialContext(context.Background(), network, address)
}

// maxProxyAnswer is how many bytes a proxy may say before the tunnel begins.
const maxProxyAnswer = 64 << 10

// tunnel asks for a connection to address by HTTP CONNECT.
func (p *Proxy) tunnel(ctx context.Context, nc net.Conn, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if p.at.Scheme == "https" {
		secure := tls.Client(nc, &tls.Config{ServerName: p.at.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		nc = secure
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: make(http.Header)}
	req.Header.Set("User-Agent", "edgebroker")
	if p.at.User != nil {
		password, _ := p.at.User.Password()
		basic := http.Request{Header: make(http.Header)}
		basic.SetBasicAuth(p.at.User.Username(), password)
		req.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
	}
	if err := req.Write(nc); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: nc, N: maxProxyAnswer}
	in := bufio.NewReader(limited)
	res, err := http.ReadResponse(in, req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it does not speak HTTP: %w", err)
	case res.StatusCode == http.StatusProxyAuthRequired && p.at.User == nil:
		return nil, errors.New("it wants to know who we are (HTTP status 407)")
	case res.StatusCode == http.StatusProxyAuthRequired:
		return nil, errors.New("it does not take our name and password (HTTP status 407)")
	case res.StatusCode/100 != 2:
		return nil, fmt.Errorf("it does not connect to %s: HTTP status %d", address, res.StatusCode)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	if n := in.Buffered(); n > 0 { // whoever is there has spoken first
		head, _ := in.Peek(n)
		return &spoken{Conn: nc, head: head}, nil
	}
	return nc, nil
}

// spoken is a connection of which something has been read already.
type spoken struct {
	net.Conn
	head []byte
}

func (s *spoken) Read(b []byte) (int, error) {
	if len(s.head) > 0 {
		n := copy(b, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	return s.Conn.Read(b)
}
