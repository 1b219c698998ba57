package appliance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/statsd"
)

// TestBridge connects as the uplink c would, without a broker, and says step by
// step what comes of it. own is for the client identifier of c itself, which may
// be in use by a broker that runs; else it is another.
func (c Config) TestBridge(ctx context.Context, b BridgeConfig, own bool) statsd.BridgeTest {
	return b.test(ctx, b.settings(c.Sys.NodeName(), "", c.Limits.MaxPacketSize), own)
}

func (c BridgeConfig) test(ctx context.Context, s bridge.Config, own bool) statsd.BridgeTest {
	out := statsd.BridgeTest{Bridge: c.Name, OK: true}
	steps := c.ownCertificate()
	if len(steps) == 0 || steps[0].Result != bridge.Failed {
		steps = append(steps, bridge.Probe(ctx, s, own)...)
	}
	for _, s := range steps {
		out.OK = out.OK && s.Result != bridge.Failed
		out.Steps = append(out.Steps, statsd.BridgeStep{Name: s.Name, Result: string(s.Result), Took: s.Took.Seconds(), What: s.What, Mend: s.Mend})
	}
	return out
}

// ownCertificate looks at what the uplink shows.
func (c BridgeConfig) ownCertificate() []bridge.Step {
	if c.Certificate == "" {
		return nil
	}
	s := bridge.Step{Name: "certificate", Result: bridge.Failed, Mend: "correct certificate and key, which must fit and be readable for the broker"}
	leaf, err := leafOf(c.Certificate, c.PrivateKey)
	if err != nil {
		s.What = err.Error()
		return []bridge.Step{s}
	}
	s.What = fmt.Sprintf("ours is of %s, from %s to %s", leaf.Subject, leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch now := time.Now(); {
	case now.Before(leaf.NotBefore), now.After(leaf.NotAfter):
		s.Mend = "renew it, or set the clock: it is " + now.UTC().Format(time.DateTime)
	default:
		s.Result, s.Mend = bridge.Fine, ""
	}
	return []bridge.Step{s}
}

func leafOf(certificate, key string) (*x509.Certificate, error) {
	certPath, err := ResolvePath(certificate)
	if err != nil {
		return nil, err
	}
	keyPath, err := ResolvePath(key)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{certPath, keyPath} {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		_ = f.Close()
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certPath, keyPath, err)
	}
	return pair.Leaf, nil
}

// testUplink tests an uplink that there is, which is paused meanwhile if own is
// set.
func (b *Broker) testUplink(ctx context.Context, name string, own bool) (statsd.BridgeTest, error) {
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	u, paused, err := b.pauseForTest(name, own)
	if err != nil {
		return statsd.BridgeTest{}, err
	}
	if paused {
		defer b.resumeAfterTest(name)
	}
	return u.BridgeConfig.test(ctx, u.Settings(), own), nil
}

// pauseForTest finds an uplink and, if it has to, pauses it.
func (b *Broker) pauseForTest(name string, own bool) (u *uplink, paused bool, err error) {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if u, err = b.link(name); err != nil {
		return nil, false, err
	}
	if paused = own && u.Status().State != bridge.Paused; paused {
		u.Pause()
	}
	return u, paused, nil
}

// resumeAfterTest resumes what was paused, unless the broker has been stopped or
// the uplink removed; a reload may have made another one of it.
func (b *Broker) resumeAfterTest(name string) {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if u, err := b.link(name); err == nil {
		u.Resume()
	}
}

// testPatience bounds a test of an uplink.
const testPatience = 45 * time.Second
