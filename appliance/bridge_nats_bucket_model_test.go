package appliance_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// mirrored are two gateways and a bucket that are to have the same, and what
// that is.
type mirrored struct {
	testing.TB
	*rand.Rand
	o     *server.Options
	nats  *server.Server // nil while it is away
	nc    *nats.Conn
	kv    jetstream.KeyValue
	cfg   [2]appliance.Config
	gw    [2]*appliance.Broker // nil while it is away
	model map[string]string    // by topic
	by    map[string]int       // who has changed it last: a gateway, or 2
	n     int
	log   []string
}

var mirroredTopics = []string{"t/a", "t/b/é", "t/c//x.y", "t", "t/d"}

func newMirrored(t testing.TB, seed uint64) *mirrored {
	m := &mirrored{TB: t, Rand: rand.New(rand.NewPCG(seed, 1)), o: natsOptions(t), model: make(map[string]string), by: make(map[string]int)}
	for i := range m.gw {
		m.cfg[i] = config(t)
		m.cfg[i].Storage.Directory = filepath.Join(shortDir(t), "gw")
		m.cfg[i].Sys.Node = fmt.Sprint("gw", i)
		m.cfg[i].Bridges = []appliance.BridgeConfig{keeping(m.o, fmt.Sprint("gw", i))}
		if seed%2 == 1 { // live messages go by a connection of their own, and what is retained does not
			m.cfg[i].Bridges[0].Order = appliance.NewestFirst
		}
	}
	m.startNATS()
	for i := range m.gw {
		m.gw[i] = launch(t, m.cfg[i])
		is(t, m.gw[i], bridge.Up)
	}
	return m
}

func (m *mirrored) startNATS() {
	m.nats = natsServer(m, m.o)
	var js jetstream.JetStream
	m.nc, js = natsClient(m, m.nats)
	m.kv = makeBucket(m, js, nil)
}

func (m *mirrored) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// change changes a topic, by a gateway or, if that is 2, in the bucket.
func (m *mirrored) change(by int, topic string) {
	m.n++
	value := fmt.Sprint("v", m.n)
	if m.IntN(3) == 0 {
		value = ""
	}
	m.note("%d: %s=%q", by, topic, value)
	m.by[topic] = by
	if m.model[topic] = value; value == "" {
		delete(m.model, topic)
	}
	if by < 2 {
		c := client(m, m.gw[by], "pub")
		c.Publish(topic, value, byte(m.IntN(3)), true)
		c.Ping() // at QoS 0 it has been taken now
		c.Disconnect()
		return
	}
	var err error
	if key := bridge.TopicKey(topic); value == "" {
		err = m.kv.Delete(m.Context(), key)
	} else {
		_, err = m.kv.PutString(m.Context(), key, value)
	}
	if err != nil {
		m.Fatal(err)
	}
}

// agree waits until all that are there have what the model has, and nothing else.
func (m *mirrored) agree() {
	m.Helper()
	defer func() {
		if m.Failed() {
			m.Log(m.log)
		}
	}()
	for i, b := range m.gw {
		if b == nil {
			continue
		}
		var got map[string]string
		brokertest.WaitFor(m, fmt.Sprintf("gateway %d as the model %v; it was told: %v", i, m.model, m.log), func() bool {
			got = make(map[string]string)
			for _, topic := range b.RetainedTopics("t/#") {
				if v, ok := b.Retained(topic); ok {
					got[topic] = v
				}
			}
			return maps.Equal(got, m.model)
		})
	}
	brokertest.WaitFor(m, fmt.Sprintf("a bucket as the model %v; it was told: %v", m.model, m.log), func() bool {
		got := make(map[string]string)
		for _, topic := range mirroredTopics {
			if v := inBucket(m, m.kv, bridge.TopicKey(topic)); v != "" {
				got[topic] = v
			}
		}
		return maps.Equal(got, m.model)
	})
}

// Whatever is changed, by whom, and whoever is away meanwhile: all have the same
// in the end, and that is what was published last.
func TestBucketIsAMap(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			brokertest.NoLeaks(t)
			m := newMirrored(t, seed)
			for range 5 {
				switch m.IntN(4) {
				case 0: // all are there
					for range 6 {
						m.change(m.IntN(3), mirroredTopics[m.IntN(len(mirroredTopics))])
						m.agree()
					}
				case 1: // NATS is away, and each topic changed by one gateway
					m.note("NATS halts")
					m.nc.Close()
					halt(m.nats)
					for range 8 {
						i := m.IntN(len(mirroredTopics))
						m.change(i%2, mirroredTopics[i])
					}
					if m.IntN(2) == 0 {
						m.restart(m.IntN(2))
					}
					m.note("NATS begins")
					m.startNATS()
				case 2: // a gateway is away
					i := m.IntN(2)
					m.note("gateway %d halts", i)
					stop(m, m.gw[i])
					m.gw[i] = nil
					had, by := maps.Clone(m.model), maps.Clone(m.by)
					for range 6 {
						by := []int{1 - i, 2}[m.IntN(2)]
						m.change(by, mirroredTopics[m.IntN(len(mirroredTopics))])
						m.agree()
					}
					if m.IntN(2) == 0 { // not even marks of what was deleted are left
						if err := m.kv.PurgeDeletes(m.Context(), jetstream.DeleteMarkersOlderThan(-1)); err != nil {
							m.Fatal(err)
						}
						m.note("purged")
						for topic, value := range had { // the gateway knows what it has published itself
							if m.model[topic] == "" && by[topic] == i {
								m.model[topic], m.by[topic] = value, i
							}
						}
					}
					m.note("gateway %d begins", i)
					m.gw[i] = launch(m, m.cfg[i])
				case 3:
					m.restart(m.IntN(2))
				}
				m.agree()
			}
			for _, b := range m.gw {
				relayed(t, b)
				balanced(t, b)
			}
		})
	}
}

func (m *mirrored) restart(i int) {
	m.note("gateway %d is started anew", i)
	stop(m, m.gw[i])
	m.gw[i] = launch(m, m.cfg[i])
}
