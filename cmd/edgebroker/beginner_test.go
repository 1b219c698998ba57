package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/certtest"
)

// mistake is what a beginner does wrong, and what is said at both ends.
type mistake struct {
	name    string
	command string // in which PLAIN, TLS, FAR, EARLY, WEB and FREE stand for addresses, and DIR for the folder
	code    int
	says    []string // the command, on its standard error and output: what is wrong, and what to do
	event   []string // `edgebroker events --type refusal` on the broker's machine; empty: it knows nothing of it
}

var mistakes = []mistake{
	{"wrong port", `edgebroker pub --address FREE t m`, exitUnreachable,
		[]string{"error: reach broker FREE: connect: connection refused", "hint: start one with `edgebroker serve`, or name another with --address HOST:PORT"}, nil},
	{"no daemon", `edgebroker stats --socket DIR/none.sock`, exitUnreachable,
		[]string{"none.sock: ", "no such file or directory", "hint: start the daemon with `edgebroker serve` or `systemctl start edgebroker`, or name its socket with --socket"}, nil},
	{"port taken", `edgebroker serve --listen PLAIN --socket DIR/other.sock`, exitError,
		[]string{"address PLAIN is in use by another process; stop it or choose another address in listeners[0].address"}, nil},
	{"bad YAML", `edgebroker serve --config DIR/bad.yml`, exitUsage,
		[]string{"bad.yml:2:", "not valid YAML", "hint: `edgebroker config example` explains every key"}, nil},
	{"misspelt key", `edgebroker config check DIR/misspelt.yml`, exitUsage,
		[]string{"misspelt.yml:2:5: listeners[0].adress: unknown key; did you mean address?"}, nil},
	{"file that is not there", `edgebroker config check DIR/nowhere.yml`, exitUsage,
		[]string{"nowhere.yml", "no such file"}, nil},
	{"open to the network", `edgebroker config check DIR/open.yml`, exitUsage,
		[]string{"can be reached from other machines, and there is no way to sign in", "allow_anonymous: true"}, nil},
	{"wrong password", `edgebroker pub --address PLAIN --user admin --password-file DIR/wrong t m`, exitError,
		[]string{"refused: bad user name or password (0x86)", "hint: --user and --password-file say who you are; on the broker's machine `edgebroker users list`", "`edgebroker users passwd NAME`"},
		[]string{"connect: bad user name or password (no such user, or another password: `edgebroker users list`, `edgebroker users passwd`)"}},
	{"no password", `edgebroker pub --address PLAIN t m`, exitError,
		[]string{"refused: not authorized (0x87): this listener lets nobody in who does not say who they are", "hint: say who you are with --user NAME and --password-file FILE, or with --cert and --key"},
		[]string{"connect: not authorized (it does not say who it is, or its session is another user's)"}},
	{"no rule", `edgebroker pub --address PLAIN --user ann --password-file DIR/ann --qos 1 secret/'a b' m`, exitError,
		[]string{`publish to "secret/a b": refused: not authorized (0x87)`, "hint: on the broker's machine `edgebroker acl test --user NAME --topic 'secret/a b' --action publish` says which rule decides"},
		[]string{"publish secret/a b: not authorized (no rule allows it: `edgebroker acl test` says which decides)"}},
	{"no rule to subscribe", `edgebroker sub --address PLAIN --user ann --password-file DIR/ann '#'`, exitError,
		[]string{`subscribe to "#": refused: not authorized (0x87)`, "--topic '#' --action subscribe` says which rule decides"},
		[]string{"subscribe #: not authorized (no rule"}},
	{"TLS to a plain port", `edgebroker pub --address mqtts://PLAIN --cafile DIR/broker/pki/ca.crt t m`, exitUnreachable,
		[]string{"TLS handshake: ", "hint: a port that does not speak TLS needs --address without mqtts://"},
		[]string{"connect: not_mqtt (TLS, HTTP or something else came to a port for plain MQTT: without TLS, or another port)"}},
	{"MQTT to a TLS port", `edgebroker pub --address TLS t m`, exitUnreachable,
		[]string{"connection closed without an answer to CONNECT", "hint: a port that speaks TLS needs mqtts:// in --address"},
		[]string{"connect: not_tls (plain MQTT, HTTP or something else came to a port for TLS: use mqtts:// and the authority's certificate, or another port)"}},
	{"HTTP to an MQTT port", `GET http://PLAIN/`, exitError, nil, []string{"connect: not_mqtt (TLS, HTTP or something else"}},
	{"HTTP to a TLS port", `GET http://TLS/`, exitError, nil, []string{"connect: not_tls (plain MQTT, HTTP or something else"}},
	{"WebSocket to an MQTT port", `edgebroker pub --address ws://PLAIN/mqtt t m`, exitUnreachable,
		[]string{"reach broker ws://PLAIN/mqtt: ", "hint: ws:// and wss:// need a listener of type ws or wss, with the path /mqtt; other ports take HOST:PORT or mqtts://HOST:PORT"},
		[]string{"connect: not_mqtt ("}},
	{"MQTT to the page for browsers", `edgebroker pub --address WEB t m`, exitError,
		[]string{"the answer is no MQTT", "hint: something else may listen there; the usual ports are 1883, and 8883 for mqtts://"}, nil},
	{"authority not named", `edgebroker pub --address mqtts://TLS t m`, exitUnreachable,
		[]string{"certificate signed by unknown authority", "hint: name the certificate of the broker's authority with --cafile"},
		[]string{"connect: tls_handshake (the client gave up: mostly it does not trust the broker's certificate, so give it the authority's;"}},
	{"another name", `edgebroker pub --address mqtts://FAR --cafile DIR/far.crt t m`, exitUnreachable,
		[]string{"x509: certificate is valid for 192.0.2.1, not 127.0.0.1", "hint: name a host that the broker's certificate names with --address, or make it a certificate that names this one"},
		[]string{"connect: tls_handshake ("}},
	{"clock wrong, of the device", `edgebroker pub --address mqtts://EARLY --cafile DIR/early.crt t m`, exitUnreachable,
		[]string{"certificate has expired or is not yet valid", "hint: by this machine's clock it is TODAY, and the certificate is valid from 2199-01-01 on: set the clock of whichever is wrong"},
		[]string{"connect: tls_handshake (the client gave up: ", "or its clock is wrong"}},
	{"clock wrong, of the gateway", `edgebroker pub --address mqtts://EARLY --insecure --cert DIR/early-device.crt --key DIR/early-device.key t m`, exitError,
		[]string{"remote error: tls: ", "hint: `edgebroker events --since 10m --type refusal` on the broker's machine says why; a client certificate is shown with --cert and --key"},
		[]string{"connect: client_certificate (its certificate is revoked, of another authority, or not valid now: compare the clocks, or make it another)"}},
	{"clock wrong, says the doctor", `edgebroker doctor --config DIR/edgebroker.yml`, exitDegraded,
		[]string{"is not valid before 2199-01-01, and by this machine's clock it is TODAY", "-> set the clock, or get a certificate that is valid now"}, nil},
}

// TestBeginnersErrors makes each mistake with the program as a beginner does, and
// reads what the program says where it is made and on the broker's machine: what
// happened, and what to do. What it says to whom a clock of 1970 has made a doctor's
// patient is in the tests of doctor and certs.
func TestBeginnersErrors(t *testing.T) {
	w := newWalk(t, "the table")
	must := func(command string) string {
		t.Helper()
		out, err := w.shell(t, command).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return string(out)
	}
	must("edgebroker init --dir broker --host 127.0.0.1")
	must("umask 077; edgebroker users add --file $PWD/broker/users ann | sed -n 's/^password: *//p' >ann; echo wrong >wrong")
	must("umask 077; edgebroker users add --file $PWD/people --group admin ann >people.password")
	notYet(t, w.dir)
	for name, text := range map[string]string{
		"bad.yml":      "listeners:\n\t- name: lan\n",
		"misspelt.yml": "listeners:\n  - adress: 127.0.0.1:1883\n    name: lan\n",
		"open.yml":     "listeners: [{name: lan, address: \":1883\"}]\n",
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := brokertest.Ports(t, 5)
	w.serve(t, fmt.Sprintf(`
listeners:
  - {name: local, address: "127.0.0.1:PORT"}
  - {name: lan, type: tls, address: "%s", certificate: DIR/broker/pki/server.crt, key: DIR/broker/pki/server.key}
  - {name: far, type: tls, address: "%s", certificate: DIR/far.crt, key: DIR/far.key}
  - {name: early, type: tls, address: "%s", certificate: DIR/early.crt, key: DIR/early.key, client_ca: DIR/early-ca.crt}
access: {passwords: DIR/broker/users, rules: [DIR/broker/rules]}
http: {address: "%s", users: DIR/people}
`, at[0], at[4], at[1], at[2]))
	plain := w.broker
	w.broker = "" // each names its own
	fill := strings.NewReplacer("PLAIN", plain, "TLS", at[0], "EARLY", at[1], "WEB", at[2], "FREE", at[3], "FAR", at[4], "DIR", w.dir, "TODAY", time.Now().UTC().Format(time.DateOnly))
	words := strings.NewReplacer("PLAIN", plain, "FREE", at[3], "TODAY", time.Now().UTC().Format(time.DateOnly))
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			before := len(refusalLines(t, w))
			if url, ok := strings.CutPrefix(m.command, "GET "); ok {
				if r, err := (&http.Client{Transport: &http.Transport{}}).Get(fill.Replace(url)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					r.Body.Close()
					t.Errorf("answered %s", r.Status)
				}
			} else {
				cmd := w.shell(t, fill.Replace(m.command))
				out, _ := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != m.code {
					t.Errorf("exit code %d, want %d", code, m.code)
				}
				for _, want := range m.says {
					if !strings.Contains(string(out), words.Replace(want)) {
						t.Errorf("it does not say %q:\n%s", words.Replace(want), out)
					}
				}
			}
			if len(m.event) == 0 {
				if now := refusalLines(t, w); len(now) > before {
					t.Errorf("the broker says %q", now[before:])
				}
				return
			}
			brokertest.WaitFor(t, strings.Join(m.event, "..."), func() bool {
				now := refusalLines(t, w)
				if len(now) <= before {
					return false
				}
				for _, want := range m.event {
					if !strings.Contains(now[before], want) {
						t.Fatalf("the broker says %q, without %q", now[before], want)
					}
				}
				return true
			})
		})
	}
	t.Run("no permission", func(t *testing.T) { noPermission(t, w) })
}

func refusalLines(t *testing.T, w *walk) []string {
	t.Helper()
	out, err := w.shell(t, "edgebroker events --since 1h --type refusal").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)+"."), "\n")[:strings.Count(string(out), "\n")]
}

// noPermission asks the broker as somebody who may not: another user or, if the test is
// not root's, the owner of a socket that nobody may use.
func noPermission(t *testing.T, w *walk) {
	socket := filepath.Join(w.dir, "control.sock")
	cmd := w.shell(t, "./edgebroker stats")
	if os.Geteuid() == 0 {
		for _, dir := range []string{w.dir, filepath.Dir(w.dir)} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, program), text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.dir, program), 0o755); err != nil {
		t.Fatal(err)
	}
	out, _ := cmd.CombinedOutput()
	want := "edgebroker: error: reach control socket " + socket + ": permission denied\nedgebroker: hint: run as root or join group \"edgebroker\"\n"
	if code := cmd.ProcessState.ExitCode(); code != exitUnreachable || string(out) != want {
		t.Errorf("exit code %d, said:\n%swant:\n%s", code, out, want)
	}
	if os.Geteuid() != 0 {
		return // who has made the files may read them
	}
	for command, hint := range map[string]string{
		"./edgebroker device add --dir broker press-4":           "hint: run it as root\n",
		"./edgebroker config check broker/edgebroker.yml":        "hint: run it as root\n",
		"./edgebroker serve --config broker/edgebroker.yml":      "hint: the broker runs as nobody, who needs broker/edgebroker.yml: chgrp ",
		"./edgebroker users list --config broker/edgebroker.yml": "hint: run it as root\n",
	} {
		cmd := w.shell(t, command)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code == exitOK || !strings.Contains(string(out), hint) {
			t.Errorf("%s: exit code %d, without %q:\n%s", command, code, hint, out)
		}
	}
}

// notYet writes certificates that begin to be valid in 2199, as those of today seem to
// whoever lives in 1970: early.crt of a broker, which is its own authority, and
// early-device.crt, of the authority early-ca.crt, which is valid now.
// far.crt is of a broker with another address.
func notYet(t *testing.T, dir string) {
	t.Helper()
	write := func(name string, c tls.Certificate) { certtest.Write(t, c, dir, name) }
	self := x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	begins, ends := time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2299, 1, 1, 0, 0, 0, 0, time.UTC)
	early, far := self, self
	early.Subject, far.Subject = pkix.Name{CommonName: "early"}, pkix.Name{CommonName: "far"}
	early.NotBefore, early.NotAfter, early.IPAddresses = begins, ends, []net.IP{net.IPv4(127, 0, 0, 1)}
	write("early", certtest.Make(t, early))
	far.NotBefore, far.NotAfter, far.IPAddresses = time.Unix(0, 0), ends, []net.IP{net.IPv4(192, 0, 2, 1)}
	write("far", certtest.Make(t, far))
	ca := certtest.Make(t, x509.Certificate{Subject: pkix.Name{CommonName: "early-ca"}, NotBefore: time.Unix(0, 0), NotAfter: ends, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	write("early-ca", ca)
	write("early-device", certtest.Sign(t, x509.Certificate{Subject: pkix.Name{CommonName: "early-device"}, NotBefore: begins, NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca))
}

// Each reason for which a socket is refused has a word on what to do.
func TestRefusalAdvice(t *testing.T) {
	_, list, ok := strings.Cut(documents(t)["docs/REFERENCE.md"], "\n## Why a socket was refused\n")
	if !ok {
		t.Fatal("there is no list of reasons")
	}
	list, _, _ = strings.Cut(list, "\n## ")
	n := 0
	for line := range strings.Lines(list) {
		if word, ok := strings.CutPrefix(line, "| `"); ok {
			word, _, _ = strings.Cut(word, "`")
			n++
			if refusals[word] == "" {
				t.Errorf("nothing is said on what to do about %s", word)
			}
		}
	}
	if n != len(refusals) {
		t.Errorf("%d reasons, and advice for %d", n, len(refusals))
	}
}
