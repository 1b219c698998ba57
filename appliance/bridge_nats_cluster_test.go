package appliance_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// natsCluster is three servers that know each other.
type natsCluster struct {
	options [3]*server.Options
	servers [3]*server.Server
}

func newNATSCluster(t testing.TB) *natsCluster {
	t.Helper()
	c := &natsCluster{}
	ports := brokertest.Ports(t, 3)
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: p})
	}
	for i := range c.options {
		o := natsOptions(t)
		o.ServerName = fmt.Sprint("n", i)
		port, err := strconv.Atoi(routes[i].Port())
		if err != nil {
			t.Fatal(err)
		}
		o.Cluster.Name, o.Cluster.Host, o.Cluster.Port, o.Routes = "C", "127.0.0.1", port, routes
		c.options[i] = o
		s, err := server.NewServer(o.Clone())
		if err != nil {
			t.Fatal(err)
		}
		c.servers[i] = s
		s.Start()
		t.Cleanup(func() { halt(c.servers[i]) })
	}
	c.settled(t)
	return c
}

// publishing publishes one number after the other, on seven topics, until it is
// called, and then says how many.
func publishing(t testing.TB, b *appliance.Broker) (end func() int) {
	n, stopped, done := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		pub := client(t, b, "pub")
		for {
			select {
			case <-stopped:
				return
			default:
				pub.Publish(fmt.Sprint("t/", n%7), fmt.Sprint(n), 1+byte(n/7%2), false)
				n++
			}
		}
	}()
	return func() int {
		close(stopped)
		<-done
		return n
	}
}

// revive starts a server anew that has been halted, and waits until all three have
// the stream.
func (c *natsCluster) revive(t testing.TB, i int) {
	t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		t.Fatal(err)
	}
	c.servers[i] = s
	s.Start()
	c.settled(t)
	brokertest.WaitFor(t, "all three to have the stream", func() bool {
		_, err := currentStream(t, s)
		return err == nil
	})
}

// settled waits until all servers take part.
func (c *natsCluster) settled(t testing.TB) {
	t.Helper()
	for _, s := range c.servers {
		if !s.ReadyForConnections(brokertest.Patience) {
			t.Fatal("a NATS server does not come up")
		}
		brokertest.WaitFor(t, "a cluster", func() bool { return s.NumRoutes() > 0 && s.JetStreamIsCurrent() })
	}
}

// Messages that a cluster has stored are neither lost nor stored twice nor put
// in another order when one of its servers after the other dies and comes back,
// each time the leader of the stream. scripts/nats.sh runs it.
func TestUplinkNATSCluster(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("EDGEBROKER_NATS_KILLS"))
	if rounds == 0 {
		t.Skip("slow; scripts/nats.sh runs it")
	}
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprintf("only writer %v", only), func(t *testing.T) {
			c := newNATSCluster(t)
			_, js := natsClient(t, c.servers[0])
			var made error
			brokertest.WaitFor(t, "a stream", func() bool {
				_, made = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, Replicas: 3})
				return made == nil
			})
			cfg := config(t)
			cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
			cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(c.options[0], "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
			b := &cfg.Bridges[0]
			b.NATS.OnlyWriter = only
			for _, o := range c.options[1:] {
				b.NATS.Servers = append(b.NATS.Servers, fmt.Sprintf("nats://%s:%d", o.Host, o.Port))
			}
			near := launch(t, cfg)
			published := publishing(t, near)
			for round := range rounds {
				var leader int
				brokertest.WaitFor(t, "a leader", func() bool {
					leader = -1
					for i, s := range c.servers {
						if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "S") {
							leader = i
						}
					}
					return leader >= 0
				})
				if round%3 == 2 {
					leader = (leader + 1) % 3 // another one, for once
				}
				halt(c.servers[leader])
				acked := near.Uplinks()[0].Acked
				brokertest.WaitFor(t, "messages that pass without it", func() bool { return near.Uplinks()[0].Acked > acked+100 })
				c.revive(t, leader)
			}
			n := published()
			relayed(t, near)
			st := near.Uplinks()[0]
			t.Logf("%d messages, %d sent again, %d connects", n, st.Retried, st.Connects)
			stream, err := currentStream(t, c.servers[0])
			if err != nil {
				t.Fatal(err)
			}
			order(t, inStream(t, stream), n)
		})
	}
}

// currentStream is the stream, if all its replicas are there.
func currentStream(t testing.TB, s *server.Server) (jetstream.Stream, error) {
	t.Helper()
	nc, js := natsClient(t, s)
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		nc.Close()
		return nil, err
	}
	for _, r := range stream.CachedInfo().Cluster.Replicas {
		if r.Offline {
			nc.Close()
			return nil, errors.New("a replica is away")
		}
	}
	return stream, nil
}
