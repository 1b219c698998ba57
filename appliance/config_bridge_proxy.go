package appliance

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/synthetism/edgebroker/internal/dial"
)

// NoProxy as BridgeConfig.Proxy is for no proxy, whatever the environment says.
const NoProxy = "none"

// through is what connections to address, "host:port", are made by: a proxy, of
// which name tells people, or if name is empty none.
func (c BridgeConfig) through(address string) (d dial.Dialer, name string, err error) {
	var p *dial.Proxy
	switch c.Proxy {
	case NoProxy:
	case "":
		p, err = dial.ProxyFor(address)
	default:
		var user *url.Userinfo
		if c.ProxyUsername != "" {
			password, err := c.ProxyPassword.read()
			if err != nil {
				return nil, "", fmt.Errorf("proxy_password: %w", err)
			}
			user = url.UserPassword(c.ProxyUsername, string(password.Reveal()))
		}
		p, err = dial.NewProxy(c.Proxy, user)
	}
	if err != nil || p == nil {
		return &net.Dialer{Timeout: dialTimeout, Control: dial.Shallow}, "", err
	}
	return p, p.String(), nil
}

// farAddress is the far side as "host:port".
func (c BridgeConfig) farAddress() string {
	u, err := url.Parse(c.Address)
	if err != nil {
		return c.Address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// proxyName is the proxy to the far side, for people; empty if there is none.
func (c BridgeConfig) proxyName() (string, error) {
	_, name, err := c.through(c.farAddress())
	return name, err
}

// proxied reports whether a proxy makes the connection.
func (c BridgeConfig) proxied() bool {
	name, err := c.proxyName()
	return err == nil && name != ""
}

// dialTCP connects to a server of NATS.
func (c BridgeConfig) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d, _, err := c.through(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (c BridgeConfig) proxyFindings(item string) []finding {
	out := secretRefFindings(item+".proxy_password", c.ProxyPassword)
	named := c.Proxy != "" && c.Proxy != NoProxy
	if named {
		u, err := url.Parse(c.Proxy)
		_, unfit := dial.NewProxy(c.Proxy, nil)
		switch {
		case err == nil && u.User != nil:
			out = append(out, finding{path: item + ".proxy", what: "names and passwords have no place here, where they are shown with the config", mend: "use proxy_username and proxy_password"})
		case err != nil || unfit != nil || strings.Trim(u.Path, "/") != "":
			out = append(out, finding{path: item + ".proxy", what: quoteShort(c.Proxy) + " is not the address of a proxy", mend: "write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, or none"})
		}
	}
	switch {
	case c.ProxyUsername != "" && !named:
		out = append(out, finding{path: item + ".proxy_username", what: "there is no", other: item + ".proxy", mend: "set that too"})
	case (c.ProxyUsername == "") != (c.ProxyPassword == ""):
		out = append(out, finding{path: item, what: "proxy_username and proxy_password need each other", mend: "set both or none"})
	}
	return out
}
