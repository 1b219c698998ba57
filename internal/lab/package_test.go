package lab_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/lab"
	"github.com/synthetism/edgebroker/wire"
)

// debs are two versions of the package, the older one first, that scripts/gateway.sh
// has made.
func debs(t *testing.T) (older, newer string) {
	t.Helper()
	list := strings.Fields(os.Getenv("EDGEBROKER_LAB_DEBS"))
	if len(list) != 2 {
		t.Fatal("EDGEBROKER_LAB_DEBS does not name two packages; use scripts/gateway.sh")
	}
	return list[0], list[1]
}

// packaged is a container with the package, as it is after its installation.
func packaged(t *testing.T, o lab.Options, deb string) *lab.Container {
	t.Helper()
	c := lab.New(t, o)
	c.Boot()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.Try("journalctl", "--no-pager", "-u", unit, "-o", "short-monotonic", "-n", "80")
			t.Logf("the journal:\n%s", out)
		}
	})
	t.Log(install(t, c, deb))
	return c
}

// install does so, or upgrades, and returns what dpkg says.
func install(t *testing.T, c *lab.Container, deb string) string {
	t.Helper()
	inside := "/srv/" + filepath.Base(deb)
	c.Copy(deb, inside, 0o644)
	return c.Run("dpkg", "--install", inside)
}

// A package brings a gateway that runs and lets nobody in who is not known, keeps
// what it has through an upgrade, and leaves nothing behind but what its owner wants
// to keep.
func TestPackage(t *testing.T) {
	lab.Need(t)
	older, newer := debs(t)
	for _, suite := range suites(t) {
		t.Run(suite, func(t *testing.T) {
			c := packaged(t, lab.Options{Suite: suite}, older)
			for _, want := range [][2]string{{"ActiveState", "active"}, {"UnitFileState", "enabled"}, {"Result", "success"}} {
				if got := property(t, c, want[0]); got != want[1] {
					t.Errorf("after the installation %s is %s", want[0], got)
				}
			}
			if got := c.Run("edgebroker", "health"); got != "ready" {
				t.Errorf("health: %s", got)
			}
			if out, _ := c.Try("systemctl", "status", "--no-pager", unit); !strings.Contains(out, `Status: "0 clients, 0 msg/s, journal `) {
				t.Errorf("its status: %s", out)
			} else {
				t.Log(out)
			}
			wantExposure(t, c)
			wantType(t, c, suite)
			stranger := brokertest.DialAny(t, "tls:"+c.Address(8883), brokertest.Clean(wire.V5, "stranger"))
			if stranger.Connack.Reason != wire.NotAuthorized && stranger.Connack.Reason != wire.BadUserNameOrPassword {
				t.Errorf("a stranger was answered with %v", stranger.Connack.Reason)
			}

			c.Write(conf, openConfig, 0o640)
			c.Run("chgrp", "edgebroker", conf)
			c.Run("systemctl", "reload", "edgebroker")
			talkWithMosquitto(t, c)
			upgrades(t, c, newer)

			c.Run("dpkg", "--remove", "edgebroker")
			wantFiles(t, c, true, conf, "/var/lib/edgebroker")
			wantFiles(t, c, false, "/usr/bin/edgebroker", "/usr/lib/systemd/system/"+unit, "/usr/lib/edgebroker")
			if out, err := c.Try("systemctl", "is-active", "edgebroker"); err == nil {
				t.Errorf("removed, it is %s", out)
			}
			install(t, c, newer) // and it goes on where it was
			c.Run("systemctl", "start", "edgebroker")
			expectKept(t, c)
			c.Run("dpkg", "--purge", "edgebroker")
			wantFiles(t, c, false, "/etc/edgebroker", "/var/lib/edgebroker", "/var/lib/private/edgebroker", "/run/edgebroker", "/usr/bin/edgebroker")
		})
	}
}

// talkWithMosquitto has the clients that everybody has talk to each other.
func talkWithMosquitto(t *testing.T, c *lab.Container) {
	t.Helper()
	host, port, _ := strings.Cut(c.Address(1883), ":")
	mosquitto := func(name string, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	mosquitto("mosquitto_pub", "-q", "2", "-r", "-t", "state", "-m", "kept")
	if got := mosquitto("mosquitto_sub", "-q", "2", "-t", "state", "-C", "1"); got != "kept" {
		t.Errorf("mosquitto_sub got %q", got)
	}
}

func expectKept(t *testing.T, c *lab.Container) {
	t.Helper()
	sub := brokertest.Dial(t, c.Address(1883), brokertest.Clean(wire.V5, "look"))
	sub.Subscribe(1, "state")
	sub.ExpectMessage("state", "kept")
	sub.Disconnect()
}

// upgrades upgrades the package under 200 clients that publish at QoS 1 and 2: none
// of them notices more than a pause.
func upgrades(t *testing.T, c *lab.Container, deb string) {
	ring, err := brokertest.JoinRing(brokertest.RingOptions{Addr: c.Address(1883), Members: 200, Every: 100 * time.Millisecond, Name: "ring"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var tally brokertest.RingTally
	go func() {
		defer close(done)
		tally, err = ring.Run(ctx)
	}()
	before := c.Run("edgebroker", "version", "-o", "json")
	pid := property(t, c, "MainPID")
	install(t, c, deb)
	now := property(t, c, "MainPID")
	if after := c.Run("edgebroker", "version", "-o", "json"); after == before || now == pid || now == "0" {
		t.Errorf("process %s with %s became process %s with %s", pid, before, now, after)
	}
	lab.Until(t, "a line of status with all clients", brokertest.Patience, func() bool {
		return strings.HasPrefix(property(t, c, "StatusText"), "200 clients, ")
	})
	cancel()
	<-done
	t.Logf("the upgrade, as the clients saw it: %+v", tally)
	if err != nil || tally.Lost+tally.Again+tally.Twice+tally.Disorder > 0 || tally.Acked < 400 {
		t.Errorf("%+v: %v", tally, err)
	}
	if err := ring.Leave(); err != nil {
		t.Error(err)
	}
	expectKept(t, c)
}

// wantType looks that the manager follows reloads by what the broker says, if it
// can.
func wantType(t *testing.T, c *lab.Container, suite string) {
	t.Helper()
	want := "notify"
	if suite != "bookworm" {
		want = "notify-reload"
	}
	if got := property(t, c, "Type"); got != want {
		t.Errorf("on %s its type is %s", suite, got)
	}
}

func wantFiles(t *testing.T, c *lab.Container, there bool, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(c.Path(path)); (err == nil) != there {
			t.Errorf("%s: there: %v, want %v", path, err == nil, there)
		}
	}
}
