package brokertest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// life writes the schedule of one device.
type life struct {
	rng    *rand.Rand
	index  int
	root   string
	area   string // first two topic levels
	end    time.Duration
	device device

	now    time.Duration
	online bool
	n      int // messages published
	steps  []Step
}

// begin names the device and lets it connect within the first slot.
func (l *life) begin(kind string, d device) {
	d.kind = kind
	d.id = fmt.Sprintf("%s-%s-%03d", l.root, kind, l.index)
	l.device = d
	l.now = time.Duration(l.rng.Int64N(int64(l.end / slots / 4)))
}

func (l *life) topic(leaf string) string {
	return l.area + "/" + l.device.id + "/" + leaf
}

// withStatus gives the device a retained status, whose will says offline.
func (l *life) withStatus() {
	l.device.will = &Message{l.topic("status"), 1, true, []byte("offline")}
}

func (l *life) do(a Action, m Message) {
	l.steps = append(l.steps, Step{At: l.now, Device: l.index, Do: a, Message: m})
	l.online = a != Leave && a != Drop
	if l.device.will != nil && (a == Connect || a == TakeOver) {
		l.publish("status", 1, true, []byte("online"))
	}
}

func (l *life) connect() { l.do(Connect, Message{}) }

func (l *life) publish(leaf string, qos byte, retain bool, payload []byte) {
	l.n++
	l.do(Publish, Message{l.topic(leaf), qos, retain, payload})
}

// wait lets about d pass: 10 % more or less. It is false when the day is over.
func (l *life) wait(d time.Duration) bool {
	l.now += d - d/10 + time.Duration(l.rng.Int64N(int64(d/5)))
	return l.now < l.end
}

// waitRandom lets a time pass that is exponentially distributed around d, as
// the time between independent events is.
func (l *life) waitRandom(d time.Duration) bool {
	l.now += time.Second + time.Duration(min(l.rng.ExpFloat64(), 10)*float64(d))
	return l.now < l.end
}

// away interrupts the connection for about d.
func (l *life) away(how Action, d time.Duration) bool {
	l.do(how, Message{})
	if !l.waitRandom(d) {
		return false
	}
	l.connect()
	return true
}

// thermometer reports temperature and humidity once a minute, QoS 0. A reading
// lost does not matter, and one in ten loses its link now and then.
func thermometer(l *life) {
	l.begin("thermo", device{version: wire.V311})
	shaky := l.rng.IntN(10) == 0
	base := 15 + 10*l.rng.Float64()
	l.connect()
	for l.wait(time.Minute) {
		if shaky && l.rng.IntN(200) == 0 && !l.away(Drop, 2*time.Minute) {
			return
		}
		day := math.Sin(2 * math.Pi * l.now.Hours() / 24)
		l.publish("temperature", 0, false, fmt.Appendf(nil, `{"t":%.2f,"rh":%.1f,"n":%d}`,
			base+3*day+l.rng.NormFloat64()/5, 50-10*day+l.rng.NormFloat64(), l.n))
	}
}

// vibration sends four blocks of raw samples every ten minutes, QoS 0, MQTT 5.
func vibration(l *life) {
	l.begin("vibra", device{version: wire.V5})
	samples := 128 << l.rng.IntN(3)
	l.connect()
	for l.wait(10 * time.Minute) {
		for range 4 {
			block := binary.BigEndian.AppendUint32(nil, uint32(l.n))
			for range samples {
				block = binary.BigEndian.AppendUint16(block, uint16(int16(2000*l.rng.NormFloat64())))
			}
			l.publish("block", 0, false, block)
		}
	}
}

// meter reports energy every five minutes with QoS 1 and keeps its total as a
// retained message. Its session is kept, since it takes commands; twice a day
// or so it restarts.
func meter(l *life) {
	v := []wire.Version{wire.V311, wire.V5}[l.index/2%2]
	l.begin("meter", device{version: v, kept: true})
	l.device.commands = l.topic("command")
	total := 1e5 * l.rng.Float64()
	l.connect()
	for i := 1; l.wait(5 * time.Minute); i++ {
		if l.rng.IntN(144) == 0 && !l.away(Leave, 20*time.Minute) {
			return
		}
		power := 500 + 4000*l.rng.Float64()
		total += power / 12000
		l.publish("power", 1, false, fmt.Appendf(nil, `{"w":%.1f,"kwh":%.3f,"n":%d}`, power, total, l.n))
		if i%12 == 0 {
			l.publish("total", 1, true, fmt.Appendf(nil, "%.3f", total))
		}
	}
}

// door reports when it opens and closes, retained, QoS 1, and has a will. One
// in five loses its link at times.
func door(l *life) {
	l.begin("door", device{version: wire.V311})
	l.withStatus()
	shaky := l.rng.IntN(5) == 0
	l.connect()
	for open := true; l.waitRandom(20 * time.Minute); open = !open {
		if shaky && l.rng.IntN(20) == 0 && !l.away(Drop, 5*time.Minute) {
			return
		}
		state := "closed"
		if open {
			state = "open"
		}
		l.publish("door", 1, true, fmt.Appendf(nil, `{"state":"%s","n":%d}`, state, l.n))
	}
}

// counter counts pieces: each report must arrive exactly once, so QoS 2.
func counter(l *life) {
	l.begin("count", device{version: wire.V5, kept: true})
	l.device.commands = l.topic("command")
	l.connect()
	for l.wait(10 * time.Minute) {
		if l.rng.IntN(100) == 0 && !l.away(Drop, 10*time.Minute) {
			return
		}
		l.publish("pieces", 2, false, fmt.Appendf(nil, `{"pieces":%d,"scrap":%d,"n":%d}`, l.rng.IntN(400), l.rng.IntN(5), l.n))
	}
}

// badLink is at the edge of the radio's range: it comes, says little, and
// goes in every way there is.
func badLink(l *life) {
	v := []wire.Version{wire.V31, wire.V311, wire.V5}[l.index/4%3]
	l.begin("flap", device{version: v, kept: l.index/2%2 == 0})
	l.withStatus()
	l.connect()
	for {
		for range 3 + l.rng.IntN(8) {
			if !l.wait(time.Minute) {
				return
			}
			// One topic per QoS: order holds within a QoS only.
			qos := byte(l.rng.IntN(2))
			l.publish(fmt.Sprintf("level%d", qos), qos, false, fmt.Appendf(nil, `{"level":%d,"n":%d}`, l.rng.IntN(100), l.n))
		}
		ok := true
		switch k := l.rng.IntN(20); {
		case k < 14:
			ok = l.away(Drop, 10*time.Minute)
		case k < 17:
			ok = l.away(Leave, 10*time.Minute)
		default:
			l.do(TakeOver, Message{})
		}
		if !ok {
			return
		}
	}
}
