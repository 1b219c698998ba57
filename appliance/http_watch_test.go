package appliance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
)

// A broker that runs notices by itself that the users of the HTTP address have
// changed, and goes on with those before while the file is not good.
func TestBrokerWatchesHTTPUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	change := func(do func(*auth.PasswordEdit) error) {
		t.Helper()
		if err := auth.EditPasswordFile(t.Context(), path, do); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := auth.HashPassword(auth.NewSecret([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	change(func(e *auth.PasswordEdit) error { return e.Add("ann", hash, []string{"admin"}) })
	cfg := DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.HTTP.Address, cfg.HTTP.Users = "127.0.0.1:0", path
	b, err := New(cfg, WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	b.watchEvery = time.Millisecond
	said := make(chan string, 64)
	b.On("system", func(e events.Event) { said <- e.Data.(events.SystemData).What })
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait := func(what string) {
		t.Helper()
		for {
			select {
			case got := <-said:
				if got == what {
					return
				}
			case <-time.After(time.Minute):
				t.Fatalf("no %s", what)
			}
		}
	}
	ask := func(name string) int {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s/v1/session", b.HTTPAddr()), nil)
		req.SetBasicAuth(name, "x")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if status := ask("ann"); status != 200 {
		t.Fatalf("ann: %d", status)
	}
	if err := os.WriteFile(path, []byte("ann:nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait("reload_failed")
	if status := ask("ann"); status != 200 {
		t.Errorf("ann, with a broken file: %d", status)
	}
	if err := os.WriteFile(path, []byte("bob:"+hash+":viewer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait("http_users_reloaded")
	if a, bo := ask("ann"), ask("bob"); a != 401 || bo != 200 {
		t.Errorf("ann %d, bob %d", a, bo)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
