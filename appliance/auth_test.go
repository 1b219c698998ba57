package appliance_test

import (
	"context"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
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
