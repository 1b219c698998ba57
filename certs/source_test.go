package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// reports collects what a source reports.
type reports struct {
	mu   sync.Mutex
	list []Report
}

func (r *reports) add(x Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
}

// take returns what has been reported since the last take.
func (r *reports) take() (words []What) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		words = append(words, x.What)
	}
	r.list = nil
	return words
}

func newSource(t testing.TB, o Options) (*Source, *reports) {
	t.Helper()
	r := new(reports)
	o.Report = r.add
	s := NewSource(o)
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	return s, r
}

// shake does a handshake between server and client, and has the server say one
// byte, so that both know how it went.
func shake(t testing.TB, server, client *tls.Config) (atServer, atClient tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		s := tls.Server(nc, server)
		if serverErr = s.Handshake(); serverErr != nil {
			_ = nc.(*net.TCPConn).CloseWrite() // so that the alert arrives
			_, _ = io.Copy(io.Discard, nc)
			return
		}
		atServer = s.ConnectionState()
		_, serverErr = s.Write([]byte{1})
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, s)
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(nc, client)
	var b [1]byte
	if _, clientErr = io.ReadFull(c, b[:]); clientErr == nil {
		atClient = c.ConnectionState()
	}
	_ = c.Close()
	<-done
	return atServer, atClient, serverErr, clientErr
}

func (p *pki) clientConfig(change ...func(*tls.Config)) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(p.cert)
	c := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"mqtt"}}
	for _, f := range change {
		f(c)
	}
	return c
}

// as shows a certificate, whatever the server asks for.
func as(i *Issued) func(*tls.Config) {
	return func(c *tls.Config) {
		pair, err := tls.X509KeyPair(i.CertPEM, i.KeyPEM)
		if err != nil {
			panic(err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
}

func TestSourceVersions(t *testing.T) {
	p := newPKI(t, "plant")
	for _, tc := range []struct {
		name   string
		least  uint16
		change func(*tls.Config)
		good   bool
	}{
		{"1.0", 0, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, false},
		{"1.1", 0, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"1.1 when asked to allow it", tls.VersionTLS10, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"1.2", 0, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"1.3", 0, nil, true},
		{"1.2 when 1.3 is the least", tls.VersionTLS13, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, false},
		{"1.3 when 1.3 is the least", tls.VersionTLS13, nil, true},
		{"CBC", 0, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, false},
		{"GCM", 0, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}, true},
		{"no ALPN", 0, func(c *tls.Config) { c.NextProtos = nil }, true},
		{"another protocol", 0, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
		{"one of several", 0, func(c *tls.Config) { c.NextProtos = []string{"h2", "mqtt"} }, true},
		{"another host", 0, func(c *tls.Config) { c.ServerName = "elsewhere.example" }, false},
		{"another name of the host", 0, func(c *tls.Config) { c.ServerName = "localhost" }, true},
		{"another authority", 0, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := newSource(t, Options{Files: p.files(), MinVersion: tc.least, Protocols: []string{"mqtt"}})
			config := p.clientConfig()
			if tc.change != nil {
				tc.change(config)
			}
			_, state, serverErr, err := shake(t, s.TLSConfig(), config)
			if (err == nil) != tc.good || tc.good != (serverErr == nil) {
				t.Errorf("client %v, server %v", err, serverErr)
			}
			if tc.good && len(config.NextProtos) > 0 && state.NegotiatedProtocol != "mqtt" {
				t.Errorf("agreed on %q", state.NegotiatedProtocol)
			}
		})
	}
}

// TestSourceClients has clients with all kinds of certificates.
func TestSourceClients(t *testing.T) {
	p, other := newPKI(t, "plant"), newPKI(t, "plant")
	good, revoked := p.client("good", Request{}), p.client("revoked", Request{})
	expired, foreign := p.client("expired", Request{Lifetime: time.Nanosecond}), other.client("good", Request{})
	if err := p.RevokeCertificate(revoked.Certificate); err != nil {
		t.Fatal(err)
	}
	server := p.server("again", Request{}, "localhost")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tc := range []struct {
			name                     string
			shows                    *Issued
			required, optional, none bool
			says                     string
		}{
			{"good", good, true, true, true, ""},
			{"nothing", nil, false, true, true, "didn't provide a certificate"},
			{"revoked", revoked, false, false, true, "is revoked"},
			{"expired", expired, false, false, true, "expired"},
			{"of another authority of the same name", foreign, false, false, true, "unknown authority"},
			{"of a server", server, false, false, true, "incompatible key usage"},
		} {
			t.Run(tls.VersionName(version)+" "+tc.name, func(t *testing.T) {
				for mode, want := range map[ClientMode]bool{ClientsRequired: tc.required, ClientsOptional: tc.optional, ClientsNone: tc.none, "": tc.none} {
					s, _ := newSource(t, Options{Files: p.files(), Clients: mode})
					config := p.clientConfig(func(c *tls.Config) { c.MaxVersion = version })
					if tc.shows != nil {
						as(tc.shows)(config)
					}
					state, _, err, clientErr := shake(t, s.TLSConfig(), config)
					if (err == nil) != want || (clientErr == nil) != want {
						t.Errorf("%s: server %v, client %v", mode, err, clientErr)
					}
					if err != nil && !strings.Contains(err.Error(), tc.says) {
						t.Errorf("%s: %v", mode, err)
					}
					var chain []*x509.Certificate
					if tc.shows != nil {
						chain = []*x509.Certificate{tc.shows.Certificate, p.cert}
					}
					stays := want || tc.says == "expired"
					if err := s.Disowned(chain); (err == nil) != stays {
						t.Errorf("%s: a client that is there: %v", mode, err)
					}
					if shown := tc.shows != nil && want && (mode == ClientsRequired || mode == ClientsOptional); shown != (len(state.VerifiedChains) > 0) {
						t.Errorf("%s: verified %v", mode, state.VerifiedChains)
					}
				}
			})
		}
	}
}

// TestSourceResumption resumes sessions of clients that are no longer welcome.
func TestSourceResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p, other := newPKI(t, "plant"), newPKI(t, "other")
			good := p.client("good", Request{})
			s, _ := newSource(t, Options{Files: p.files(), Clients: ClientsRequired})
			server := s.TLSConfig()
			config := p.clientConfig(as(good), func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = version, tls.NewLRUClientSessionCache(4) })
			for i := range 3 {
				state, _, err, _ := shake(t, server, config)
				if err != nil || state.DidResume != (i > 0) || len(state.VerifiedChains) == 0 {
					t.Fatalf("%d: %v, resumed %v, verified %v", i, err, state.DidResume, state.VerifiedChains)
				}
			}
			write(t, p.CRLFile(), p.crl(func(*x509.RevocationList) {}), 0o644)
			if changed, err := s.Reload(); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if state, _, err, _ := shake(t, server, config); err != nil || !state.DidResume {
				t.Errorf("a new list, and the session is not resumed: %v", err)
			}
			next := p.server("server", Request{}, "127.0.0.1")
			if changed, err := s.Reload(); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if state, seen, err, _ := shake(t, server, config); err != nil || state.DidResume || !seen.PeerCertificates[0].Equal(next.Certificate) {
				t.Errorf("a new certificate, and the client does not see it: %v", err)
			}
			if err := p.RevokeCertificate(good.Certificate); err != nil {
				t.Fatal(err)
			}
			if changed, err := s.Reload(); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if _, _, err, _ := shake(t, server, config); err == nil || !strings.Contains(err.Error(), "revoked") {
				t.Errorf("revoked, and resumed: %v", err)
			}

			fresh := p.client("fresh", Request{})
			as(fresh)(config)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			if _, _, err, _ := shake(t, server, config); err != nil {
				t.Fatal(err)
			}
			write(t, p.CertificateFile(), read(t, other.CertificateFile()), 0o644)
			write(t, p.CRLFile(), read(t, other.CRLFile()), 0o644)
			if changed, err := s.Reload(); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if _, _, err, _ := shake(t, server, config); err == nil {
				t.Error("the authority is gone, and its client has resumed a session")
			}
		})
	}
}

// TestSourceLooks replaces files in all the ways in which that happens, and has
// the source look in between.
func TestSourceLooks(t *testing.T) {
	setup := func(t *testing.T) (*pki, *Source, *reports) {
		p := newPKI(t, "plant")
		s, r := newSource(t, Options{Files: p.files()})
		s.look()
		s.look()
		if got := r.take(); len(got) > 0 {
			t.Fatalf("reported %v, and nothing has happened", got)
		}
		return p, s, r
	}
	serial := func(s *Source) string { return s.current.Load().pair.Leaf.SerialNumber.String() }
	expect := func(t *testing.T, s *Source, r *reports, want *Issued, words ...What) {
		t.Helper()
		for range 4 { // two to see it, two to see that it is said once
			s.look()
		}
		if got := r.take(); !slices.Equal(got, words) {
			t.Errorf("reported %v, want %v", got, words)
		}
		if want != nil && serial(s) != want.Certificate.SerialNumber.String() {
			t.Error("another certificate is in use than wanted")
		}
	}

	t.Run("both files", func(t *testing.T) {
		p, s, r := setup(t)
		expect(t, s, r, p.server("server", Request{}, "localhost"), Reloaded)
	})
	t.Run("one after the other", func(t *testing.T) {
		p, s, r := setup(t)
		before := serial(s)
		next := p.server("next", Request{}, "localhost")
		write(t, p.path("server.key"), string(next.KeyPEM), 0o600)
		s.look() // key and certificate do not fit, and that is nobody's business yet
		if got := r.take(); len(got) > 0 || serial(s) != before {
			t.Errorf("reported %v", got)
		}
		write(t, p.path("server.crt"), string(next.CertPEM), 0o644)
		expect(t, s, r, next, Reloaded)
	})
	t.Run("a key half written, and for good", func(t *testing.T) {
		p, s, r := setup(t)
		before := serial(s)
		next := p.server("next", Request{}, "localhost")
		write(t, p.path("server.crt"), string(next.CertPEM), 0o644)
		write(t, p.path("server.key"), string(next.KeyPEM[:len(next.KeyPEM)/2]), 0o600)
		expect(t, s, r, nil, Rejected)
		if serial(s) != before {
			t.Error("half a key is in use")
		}
		write(t, p.path("server.key"), "", 0o600) // something else is wrong now
		expect(t, s, r, nil, Rejected)
		write(t, p.path("server.key"), string(next.KeyPEM), 0o600)
		expect(t, s, r, next, Reloaded)
	})
	t.Run("back to what it was", func(t *testing.T) {
		p, s, r := setup(t)
		good := read(t, p.path("server.crt"))
		write(t, p.path("server.crt"), "broken", 0o644)
		expect(t, s, r, nil, Rejected)
		write(t, p.path("server.crt"), good, 0o644)
		expect(t, s, r, nil)
	})
	t.Run("gone", func(t *testing.T) {
		p, s, r := setup(t)
		if err := os.Rename(p.path("server.crt"), p.path("kept")); err != nil {
			t.Fatal(err)
		}
		expect(t, s, r, nil, Rejected)
		if err := os.Rename(p.path("kept"), p.path("server.crt")); err != nil {
			t.Fatal(err)
		}
		expect(t, s, r, nil)
	})
	t.Run("key for everybody", func(t *testing.T) {
		p, s, r := setup(t)
		if err := os.Chmod(p.path("server.key"), 0o644); err != nil {
			t.Fatal(err)
		}
		expect(t, s, r, nil, Rejected)
	})
	t.Run("same size, same time", func(t *testing.T) {
		p, s, r := setup(t)
		info, err := os.Stat(p.path("server.crt"))
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, p.path("server.crt"))
		if _, err := s.Reload(); err != nil { // right before it
			t.Fatal(err)
		}
		write(t, p.path("server.crt"), strings.Replace(text, "M", "N", 1), 0o644)
		if err := os.Chtimes(p.path("server.crt"), info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		expect(t, s, r, nil, Rejected)
	})
	t.Run("an expired one", func(t *testing.T) {
		p, s, r := setup(t)
		before := serial(s)
		p.server("server", Request{Lifetime: time.Nanosecond}, "localhost")
		expect(t, s, r, nil, Rejected)
		if serial(s) != before {
			t.Error("an expired certificate has replaced one that is good")
		}
	})
	t.Run("links, as Kubernetes and certbot have them", func(t *testing.T) {
		p := newPKI(t, "plant")
		dir := t.TempDir()
		put := func(name string) *Issued {
			i, err := p.IssueServer(Request{}, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := i.Write(filepath.Join(dir, name, "tls.crt"), filepath.Join(dir, name, "tls.key"), false); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(dir, "..tmp"))
			if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			return i
		}
		put("first")
		for _, f := range []string{"tls.crt", "tls.key"} {
			if err := os.Symlink(filepath.Join("..data", f), filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		s, r := newSource(t, Options{Files: Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}})
		for _, name := range []string{"second", "third"} {
			next := put(name)
			if err := os.RemoveAll(filepath.Join(dir, "first")); err != nil {
				t.Fatal(err)
			}
			expect(t, s, r, next, Reloaded)
		}
	})
	t.Run("when told to", func(t *testing.T) {
		p, s, r := setup(t)
		if changed, err := s.Reload(); changed || err != nil {
			t.Error(changed, err)
		}
		next := p.server("server", Request{}, "localhost")
		if changed, err := s.Reload(); !changed || err != nil {
			t.Error(changed, err)
		}
		expect(t, s, r, next, Reloaded)
		write(t, p.path("server.key"), "broken", 0o600)
		if changed, err := s.Reload(); changed || err == nil {
			t.Error(changed, err)
		}
		expect(t, s, r, next, Rejected)
	})
}

// TestSourceRun waits for the real thing.
func TestSourceRun(t *testing.T) {
	p := newPKI(t, "plant")
	reported := make(chan Report, 10)
	s := NewSource(Options{Files: p.files(), Interval: time.Millisecond, Report: func(r Report) { reported <- r }})
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	next := p.server("server", Request{}, "localhost", "127.0.0.1")
	for {
		select {
		case r := <-reported:
			if r.What != Reloaded { // it may have met the files in the middle of the change
				continue
			}
		case <-time.After(time.Minute):
			t.Fatal("waited in vain for the change")
		}
		break
	}
	_, state, _, err := shake(t, s.TLSConfig(), p.clientConfig())
	if err != nil || state.PeerCertificates[0].SerialNumber.Cmp(next.Certificate.SerialNumber) != 0 {
		t.Errorf("the old certificate after the change; %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
