package brokertest

import (
	"encoding/binary"
	"hash/fnv"
)

// Reasons for the end of a connection, in the broker's words.
const (
	ReasonNormal    = "normal"     // DISCONNECT
	ReasonClosed    = "tcp_closed" // no DISCONNECT
	ReasonTakenOver = "takenover"  // the same client id connected again
)

// Tally is what a day amounts to. Plant.Expect computes it from the schedule,
// Plant.Replay counts it while the day runs; reflect.DeepEqual compares them.
type Tally struct {
	Connects    uint64            // accepted CONNECTs, of devices, monitors and controller
	Disconnects map[string]uint64 // by reason; sums up to Connects

	Published Traffic // by clients, without wills
	Wills     Traffic // by the broker, for clients that dropped
	Delivered Traffic // to clients, by the QoS of delivery, retained ones included

	Retained      uint64 // topics with a retained message at the end
	RetainedBytes uint64 // their payloads
	Sessions      uint64 // kept at the end, when nobody is connected
	Subscriptions uint64 // of those sessions

	Clients map[string]ClientTally // by client id
}

// ClientTally is the part of one client, over all its connections.
type ClientTally struct {
	Connects  uint64
	Published Traffic
	Received  Traffic
}

// Traffic counts messages by QoS and their payload bytes.
type Traffic struct {
	QoS   [3]uint64
	Bytes uint64
}

// Messages is the number of messages of every QoS.
func (t Traffic) Messages() uint64 { return t.QoS[0] + t.QoS[1] + t.QoS[2] }

func (t *Traffic) add(qos byte, payload []byte) {
	t.QoS[qos]++
	t.Bytes += uint64(len(payload))
}

func newTally() *Tally {
	return &Tally{Disconnects: map[string]uint64{}, Clients: map[string]ClientTally{}}
}

func (t *Tally) client(id string, change func(*ClientTally)) {
	c := t.Clients[id]
	change(&c)
	t.Clients[id] = c
}

func (t *Tally) connected(id string) {
	t.Connects++
	t.client(id, func(c *ClientTally) { c.Connects++ })
}

func (t *Tally) ended(reason string) { t.Disconnects[reason]++ }

func (t *Tally) published(id string, m *Message) {
	t.Published.add(m.QoS, m.Payload)
	t.client(id, func(c *ClientTally) { c.Published.add(m.QoS, m.Payload) })
}

func (t *Tally) received(id string, qos byte, payload []byte) {
	t.Delivered.add(qos, payload)
	t.client(id, func(c *ClientTally) { c.Received.add(qos, payload) })
}

// topicLog is the history of one topic: how many messages, and a fingerprint
// that depends on every payload and on their order.
type topicLog struct {
	n     int
	print uint64
}

func (l topicLog) add(payload []byte) topicLog {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, l.print))
	h.Write(payload)
	return topicLog{l.n + 1, h.Sum64()}
}
