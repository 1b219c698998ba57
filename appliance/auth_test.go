package appliance_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// named is an authentication method that has a name and nothing else.
type named string

func (n named) Name() string                                  { return string(n) }
func (named) Begin(appliance.AuthPeer) appliance.AuthExchange { panic("not called") }

type noUsers struct{}

func (noUsers) ScramKeys(context.Context, string) (appliance.ScramKeys, bool, error) {
	return appliance.ScramKeys{}, false, nil
}

func TestAuthMethods(t *testing.T) {
	scram := appliance.ScramSHA256(noUsers{})
	for name, tc := range map[string]struct {
		methods []appliance.AuthMethod
		wrong   string // in the error; "": none
	}{
		"none":        {nil, "allow_anonymous"},
		"one":         {[]appliance.AuthMethod{scram}, ""},
		"two":         {[]appliance.AuthMethod{scram, named("X")}, ""},
		"nil":         {[]appliance.AuthMethod{nil}, "nil"},
		"no name":     {[]appliance.AuthMethod{named("")}, "no name"},
		"given twice": {[]appliance.AuthMethod{named("X"), scram, named("X")}, `"X"`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.Listeners[0].AllowAnonymous = new(bool)
			var opts []appliance.Option
			for _, m := range tc.methods {
				opts = append(opts, appliance.WithAuthMethod(m))
			}
			switch b, err := appliance.New(cfg, opts...); {
			case tc.wrong == "" && err != nil, tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
				t.Errorf("got %v", err)
			case err == nil:
				stop(t, b)
			}
		})
	}
}

// judge is an authentication method that says at once what became of the client of
// that name.
type judge map[string]error

func (judge) Name() string { return "JUDGE" }

func (j judge) Begin(p appliance.AuthPeer) appliance.AuthExchange { return verdict{j[p.ClientID]} }

type verdict struct{ err error }

func (v verdict) Step(context.Context, []byte) (appliance.AuthStep, error) {
	return appliance.AuthStep{}, v.err
}

// The owner of the broker gets to know why a client was kept out that has done nothing
// wrong, and the client does not; of clients that have, refusals tell.
func TestMethodThatFails(t *testing.T) {
	cfg := config(t)
	cfg.Listeners[0].AllowAnonymous = new(bool)
	var log brokertest.Log
	b := start(t, cfg, appliance.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		appliance.WithAuthMethod(judge{"stranger": errors.New("never heard of it"), "unlucky": &wire.Error{Reason: wire.ServerBusy, Detail: "disk on fire"}}))
	for id, want := range map[string]wire.Reason{"stranger": wire.NotAuthorized, "unlucky": wire.ServerBusy} {
		connect := brokertest.Clean(wire.V5, id)
		connect.HasAuthMethod, connect.AuthMethod = true, "JUDGE"
		c := brokertest.DialAny(t, b.Addr("tcp"), connect)
		if got := c.Connack.Reason; got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
		c.ExpectClosed()
	}
	if text := log.String(); !strings.Contains(text, "client=unlucky") || !strings.Contains(text, "disk on fire") || strings.Contains(text, "stranger") {
		t.Errorf("logged:\n%s", text)
	}
}
