package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// processLog is what a process writes while a test reads it.
type processLog struct{ brokertest.Log }

// waitFor waits until the buffer matches, and returns the first group.
func (b *processLog) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if m := re.FindStringSubmatch(b.String()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("%q did not come within %v:\n%s", pattern, patience, b.String())
	return ""
}

// child is the program as a process of its own, which ends with the test.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Args[0] = program // by which TestMain knows it
	return cmd
}

// TestSecretsAreNowhere runs a broker that has a secret in every place where
// the configuration and clients can put one, has it fail in many ways at log
// level debug, asks all that can be asked, and looks for the secrets in all of
// that and in the process list.
func TestSecretsAreNowhere(t *testing.T) {
	const (
		header   = "Bearer h3ader-s3cret"
		envValue = "Basic env-s3cret"
		annPass  = "ann-s3cret"
		wrong    = "wr0ng-s3cret"
		token    = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0b2tlbi1zM2NyZXQifQ.c2lnbmF0dXJlLXMzY3JldA"
		urlQuery = "query-s3cret"
		payload  = "payload-s3cret"
		asName   = "user-name-s3cret"
	)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}

	ca, err := certs.CreateAuthority(filepath.Join(dir, "pki"), "secrets")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	file("server.crt", string(server.CertPEM), 0o644)
	file("server.key", string(server.KeyPEM), 0o600)
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		t.Fatal(err)
	}
	file("token.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), 0o600)
	hash, err := auth.HashPassword(auth.NewSecret([]byte(annPass)))
	if err != nil {
		t.Fatal(err)
	}
	users := file("users", "ann:"+hash+"\n", 0o600)
	file("header", header+"\n", 0o600)
	rules := file("rules", "allow any all #\n", 0o644)

	// A server that does all it can to have the secret shown.
	var asked, step atomic.Int32
	answers := []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), 500) },
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/"+r.Header.Get("Authorization"), http.StatusFound)
		},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.Copy(w, r.Body) // with the password
		},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"result":"allow","username":%q,"groups":[""]}`, r.Header.Get("Authorization"))
		},
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != header && got != envValue {
			t.Errorf("the server was asked with %q", got)
		}
		asked.Add(1)
		answers[int(step.Add(1)-1)%len(answers)](w, r)
	}))
	defer web.Close()

	config := func(authorization string) string {
		return fmt.Sprintf(`listeners:
  - {name: plain, address: "127.0.0.1:0"}
  - {name: lan, type: tls, address: "127.0.0.1:0", certificate: %q, key: "credential:server.key"}
control: {socket: %q}
access:
  passwords: "credential:users"
  tokens: {key_file: "credential:token.pem"}
  rules: [%q]
  http: {url: %q, authorization: %q, denied_for: 0s}
log: {level: debug}
`, filepath.Join(dir, "server.crt"), filepath.Join(dir, "c.sock"), rules, web.URL+"/?key="+urlQuery, authorization)
	}

	var seen bytes.Buffer
	say := func(args ...string) {
		r := edgebroker(t, args...)
		fmt.Fprintf(&seen, "%s\n%s%s\n", strings.Join(args, " "), r.stdout, r.stderr)
	}
	socket := filepath.Join(dir, "c.sock")
	serve := func(authorization string, then func(log *processLog, pid int)) {
		t.Helper()
		path := file("eb.yml", config(authorization), 0o644)
		var log processLog
		cmd := child(t, "serve", "--config", path)
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.Env = append(os.Environ(), "CREDENTIALS_DIRECTORY="+dir, "EB_TEST_HEADER="+envValue)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("serve: %v\n%s", err, log.String())
			}
			seen.WriteString(log.String())
		}()
		log.waitFor(t, `msg="ready; `)
		then(&log, cmd.Process.Pid)
	}
	annFile, wrongFile := file("ann.pw", annPass, 0o600), file("wrong.pw", wrong, 0o600)
	tokenFile := file("token.pw", token, 0o600)

	serve("credential:header", func(log *processLog, pid int) {
		plain := log.waitFor(t, `listener=plain address=(\S+)$`)
		secure := log.waitFor(t, `listener=lan address=(\S+)$`)
		var events processLog
		watch := child(t, "events", "--socket", socket, "-o", "json", "--type", "refusal", "--count", "4")
		watch.Stdout, watch.Stderr = &events, &events
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		brokertest.WaitFor(t, "somebody to listen to the events", func() bool {
			return strings.Contains(edgebroker(t, "stats", "--socket", socket, "-o", "json").stdout, `"listeners": 1`)
		})
		say("pub", "--address", plain, "--user", "ann", "--password-file", annFile, "--qos", "1", "a", "1")
		for range len(answers) {
			say("pub", "--address", plain, "--user", "bob", "--password-file", wrongFile, "a", "1")
		}
		say("pub", "--address", plain, "--user", "ann", "--password-file", wrongFile, "a", "1")
		say("pub", "--address", plain, "--user", "ann", "--password-file", tokenFile, "a", "1")
		say("pub", "--address", secure, "--cafile", ca.CertificateFile(), "--user", "ann", "--password-file", annFile, "--qos", "1", "a", "1")
		say("pub", "--address", secure, "a", "1") // who does not trust it
		if asked.Load() < int32(len(answers)) {
			t.Errorf("the server was asked %d times", asked.Load())
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(secure, "mqtts://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "\x10\x20"+annPass) // no TLS, and no MQTT
		_ = conn.Close()

		// Files that went bad, one after the other, and a reload of each.
		for _, bad := range []struct{ name, text string }{
			{"users", "ann:" + hash + "\n" + annPass + "\nbob:" + annPass + "\n"},
			{"header", "\n" + header},
			{"header", header + "\x00"},
			{"token.pem", annPass},
			{"server.key", string(server.KeyPEM[:len(server.KeyPEM)/2])},
			{"rules", "allow user=" + annPass[:3] + " publsh #\n"},
		} {
			path := filepath.Join(dir, bad.name)
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file(bad.name, bad.text, 0o600)
			say("reload", "--socket", socket)
			if bad.name != "rules" && bad.name != "token.pem" && bad.name != "server.key" {
				file(bad.name, string(was), 0o644) // for all to read
				say("reload", "--socket", socket)
			}
			file(bad.name, string(was), 0o600)
		}
		log.waitFor(t, "(?s)(reload failed.*){9}")
		say("reload", "--socket", socket)

		for _, format := range []string{"table", "json", "prom"} {
			say("stats", "--socket", socket, "-o", format)
		}
		say("clients", "list", "--socket", socket, "-o", "json")
		say("health", "--socket", socket)
		say("users", "list", "--file", users, "-o", "json")
		say("config", "check", filepath.Join(dir, "eb.yml"))
		say("doctor", "--config", filepath.Join(dir, "eb.yml"), "-o", "json")
		say("version")
		// A token as user name, and payloads, are secret in a bundle.
		say("pub", "--address", plain, "--user", "ann", "--password-file", annFile, "--qos", "1", "--retain", "a", payload)
		say("pub", "--address", plain, "--user", asName, "--password-file", wrongFile, "a", "1")
		named := child(t, "sub", "--address", plain, "--user", "ann", "--password-file", annFile, "--id", "stays", "nothing")
		if err := named.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = named.Process.Kill(); _ = named.Wait() }()
		brokertest.WaitFor(t, "client stays", func() bool {
			return strings.Contains(edgebroker(t, "clients", "list", "--socket", socket, "-o", "json").stdout, `"stays"`)
		})
		say("debug", "bundle", "--socket", socket, "--config", filepath.Join(dir, "eb.yml"), filepath.Join(dir, "bundle.tar.gz"))
		if err := watch.Wait(); err != nil {
			t.Errorf("events: %v\n%s", err, events.String())
		}
		seen.WriteString(events.String())
		for _, name := range []string{"cmdline", "comm", "status"} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
			if err != nil {
				t.Fatal(err)
			}
			seen.Write(text)
		}
	})
	before := asked.Load()
	serve("env:EB_TEST_HEADER", func(log *processLog, _ int) {
		plain := log.waitFor(t, `listener=plain address=(\S+)$`)
		say("pub", "--address", plain, "--user", "bob", "--password-file", wrongFile, "a", "1")
		say("reload", "--socket", socket)
		say("pub", "--address", plain, "--user", "bob", "--password-file", wrongFile, "a", "1")
	})
	if asked.Load() < before+2 {
		t.Error("with a secret from the environment the server is not asked")
	}

	// Configs with the secret in them.
	for _, ref := range []string{header, "file:" + header, "Bearer: " + header, "/" + header} {
		say("config", "check", file("bad.yml", config(ref), 0o644))
		say("serve", "--config", filepath.Join(dir, "bad.yml"))
		say("doctor", "--config", filepath.Join(dir, "bad.yml"))
	}
	say("config", "check", file("bad.yml", "access:\n  http:\n    authorization: {"+header+"\n", 0o644))

	secrets := []string{payload, "h3ader-s3cret", "env-s3cret", annPass, wrong, token, urlQuery, "c2lnbmF0dXJlLXMzY3JldA", hash[strings.LastIndex(hash, "$")+1:]}
	block, _ := pem.Decode(server.KeyPEM)
	for line := range strings.Lines(string(pem.EncodeToMemory(block))) {
		if !strings.HasPrefix(line, "--") && len(line) > 16 {
			secrets = append(secrets, strings.TrimSpace(line))
		}
	}
	checkBundle(t, filepath.Join(dir, "bundle.tar.gz"), append([]string{asName, `"ann"`}, secrets...), map[string]string{
		"config.json": "access.http.url", "clients.json": "[redacted]", "events.jsonl": "[redacted]", "doctor.json": "certificates", "README.txt": "heap.pprof"})
	for line := range strings.Lines(seen.String()) {
		if strings.HasPrefix(line, "pub ") { // what we have said ourselves
			continue
		}
		for _, s := range secrets {
			if strings.Contains(line, s) {
				t.Errorf("%q is in: %q", s, line)
			}
		}
	}
	for _, want := range []string{"level=DEBUG", "everybody may read it", "config check", "redirect", `"type":"refusal"`} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("%q was not provoked", want)
		}
	}
	if t.Failed() {
		t.Logf("all that was seen:\n%q", seen.String())
	}
}
