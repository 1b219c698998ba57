package moving

import (
	"cmp"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/wire"
)

// uplink is a bridge of mosquitto's, as its lines have it.
type uplink struct {
	line     *setting
	settings []*setting

	addresses, version           *setting
	clientID, username, password *setting
	ca, capath, cert, key        *setting
	topics                       []*setting
	retain                       bool
	why                          string // why it is left out; empty if it is not
}

// makeUplinks writes the uplinks.
func (c *conversion) makeUplinks() {
	taken := map[string]bool{}
	var list []*doc
	for _, u := range c.uplinks {
		d := &doc{}
		c.uplink(u, d, taken)
		if u.why != "" {
			unused(append(u.settings, u.topics...), "the uplink is left out: "+u.why)
			u.line.lost("the uplink is left out: " + u.why)
			continue
		}
		list = append(list, d)
	}
	if len(list) > 0 {
		c.yml.set("bridges", list)
	}
}

func (c *conversion) uplink(u *uplink, d *doc, taken map[string]bool) {
	secure := cmp.Or(u.ca, u.capath, u.cert, u.key) != nil
	switch {
	case u.why != "":
		return
	case u.addresses == nil:
		u.why = "it has no address; mosquitto does not start with it"
		return
	case len(u.topics) == 0:
		u.why = "it has no topics; mosquitto does not start with it"
		return
	case (u.cert == nil) != (u.key == nil):
		u.omit(cmp.Or(u.cert, u.key), "bridge_certfile and bridge_keyfile need each other")
		return
	case secure && u.ca == nil && u.capath == nil:
		u.omit(u.cert, "bridge_cafile or bridge_capath is needed for TLS")
		return
	case u.capath != nil && u.ca == nil && filepath.Clean(u.capath.Value) != "/etc/ssl/certs":
		u.omit(u.capath, "the authorities of the far side are in one file here; put their certificates into it (cat FOLDER/*.crt > FILE) and name it in bridge_cafile")
		return
	}
	word := u.line.Word()
	name := oneName(taken, word)
	u.line.says(Converted, "bridges", "")
	if name != word {
		u.line.says(Changed, "bridges", "is called "+name)
	}
	d.set("name", name)
	if !u.address(d, secure) {
		return
	}
	if u.clientID != nil {
		u.clientID.says(Converted, "bridges", "")
		d.set("client_id", u.clientID.Value)
	} else {
		d.set("client_id", c.o.Host+"."+word) // as mosquitto makes it
		u.line.entry.Note = also(u.line.entry.Note, "client_id has the name of this machine, as mosquitto's has")
	}
	if id, _ := d.get("client_id").(string); strings.HasPrefix(id, "$") || wire.ValidTopicString(id) != nil {
		u.omit(cmp.Or(u.clientID, u.line), "the client identifier begins with $, or has wildcards or control characters")
		return
	}
	c.credentials(u, d, name)
	if u.ca != nil {
		d.set("ca", c.file(u.ca, "bridges"))
	}
	if u.capath != nil {
		u.capath.says(NotNeeded, "", "those of the system are trusted without ca")
		if u.ca != nil {
			u.capath.says(Impossible, "", "only the authorities in bridge_cafile count")
		}
	}
	if u.cert != nil {
		d.set("certificate", c.file(u.cert, "bridges"))
		d.set("key", c.file(u.key, "bridges"))
	}
	u.times(d)
	c.topics(u, d)
}

// address writes the address of the far side; false if there is none.
func (u *uplink) address(d *doc, secure bool) bool {
	words := u.addresses.Words()
	if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		u.omit(u.addresses, "names no address")
		return false
	}
	host, port := words[0], "1883"
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host, port = host[:i], host[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		u.omit(u.addresses, "is not an address with a port")
		return false
	}
	scheme := "mqtt://"
	if secure {
		scheme = "mqtts://"
	}
	address := scheme + net.JoinHostPort(host, port)
	why := cannotBe(func(c *appliance.Config) {
		c.Bridges = []appliance.BridgeConfig{{Name: "b", Address: address, ClientID: "c", Topics: []appliance.BridgeTopic{{Filter: "a"}}}}
	})
	if why != "" {
		u.omit(u.addresses, why)
		return false
	}
	d.set("address", address)
	u.addresses.says(Converted, "bridges", "")
	if len(words) > 1 {
		u.addresses.says(Changed, "bridges", "an uplink has one address, the first; a name that leads to several is tried at each")
	}
	return true
}

func (c *conversion) credentials(u *uplink, d *doc, name string) {
	if u.username != nil {
		u.username.says(Converted, "bridges", "")
		d.set("username", u.username.Value)
	}
	switch {
	case u.password == nil:
	case u.username == nil:
		u.password.says(NotNeeded, "", "without remote_username mosquitto does not send it")
	default:
		file := "bridge-" + name + ".password"
		c.secrets = append(c.secrets, File{file, []byte(u.password.Value + "\n")})
		d.set("password", "file:"+filepath.Join(c.o.Out, file))
		u.password.says(Converted, file, "")
	}
}

// times writes what an uplink has of times.
func (u *uplink) times(d *doc) {
	for _, s := range u.settings {
		switch w := s.Words(); s.Name {
		case "keepalive_interval":
			if n, ok := number(s, math.MinInt32, math.MaxUint16); ok {
				d.set("keep_alive", time.Duration(max(n, 5))*time.Second)
			}
		case "bridge_session_expiry_interval":
			if n, ok := number(s, 0, math.MaxUint32); ok {
				d.set("session_expiry", time.Duration(max(n, 1))*time.Second)
			}
		case "cleansession":
			if w[0] == "true" || w[0] == "1" {
				d.set("session_expiry", time.Second)
			}
		case "restart_timeout":
			base, err := strconv.ParseUint(w[0], 10, 31)
			longest := base
			if err == nil && len(w) > 1 {
				longest, err = strconv.ParseUint(w[1], 10, 31)
			}
			if err != nil || longest < base {
				s.says(Impossible, "", "is not one number of seconds, or a shortest and a longest one")
				continue
			}
			d.set("retry_min", time.Duration(min(max(base, 1), 3600))*time.Second)
			d.set("retry_max", time.Duration(min(max(longest, 1), 24*3600))*time.Second)
		}
	}
}
