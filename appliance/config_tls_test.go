package appliance

import (
	"testing"
)

func TestListenerTLS(t *testing.T) {
	cfg, err := ParseConfig("eb.yml", []byte(`
listeners:
- {name: a, type: tls, address: '0.0.0.0:8883', certificate: /c, key: /k, client_ca: /a, crl: /l, min_version: 1.3}
- {name: b, type: tls, address: '127.0.0.1:8884', certificate: /c, key: /k, min_version: "1.2"}
- {name: c, type: wss, address: '127.0.0.1:443', certificate: /c, key: /k, client_ca: /a, client_certificates: optional}
- {name: d, address: '127.0.0.1:1883'}
- {name: e, type: ws, address: '127.0.0.1:9001'}
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		secure, anonymous bool
		asks              ClientCertificates
		least             TLSVersion
		url               string
	}{
		{true, true, ClientCertificatesRequired, "1.3", "mqtts://h:1"}, // who comes in has shown a certificate
		{true, true, ClientCertificatesNone, "1.2", "mqtts://h:1"},
		{true, true, ClientCertificatesOptional, "", "wss://h:1/mqtt"},
		{false, true, ClientCertificatesNone, "", "h:1"},
		{false, true, ClientCertificatesNone, "", "ws://h:1/mqtt"},
	} {
		l := cfg.Listeners[i]
		if l.Secure() != want.secure || DefaultConfig().Anonymous(l) != want.anonymous || l.AsksFor() != want.asks || l.MinVersion != want.least || l.ForClients("h:1") != want.url || l.Network() != "tcp" {
			t.Errorf("%s: %v %v %v %v %s %s", l.Name, l.Secure(), DefaultConfig().Anonymous(l), l.AsksFor(), l.MinVersion, l.ForClients("h:1"), l.Network())
		}
	}
	for asks, anonymous := range map[ClientCertificates]bool{ClientCertificatesRequired: true, ClientCertificatesOptional: false, ClientCertificatesNone: false, "": true} {
		l := cfg.Listeners[0]
		l.ClientCertificates = asks
		if DefaultConfig().Anonymous(l) != anonymous {
			t.Errorf("open to the network with client_certificates %q: anonymous is %v", asks, DefaultConfig().Anonymous(l))
		}
	}
}
