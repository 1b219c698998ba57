package statsd

import (
	"context"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
)

// Look makes p find out where the server is, if it is time, and wait for the
// answer.
func (p *Pusher) Look(ctx context.Context) {
	p.target.look(ctx)
	if t, ok := p.target.(*udpTarget); ok && t.looking != nil {
		<-t.looking
		select {
		case at := <-t.answers:
			t.adopt(at)
		default:
		}
	}
}

// SetLookup replaces the resolver of a Pusher to a name.
func (p *Pusher) SetLookup(f func(ctx context.Context, network, host string) ([]netip.Addr, error)) {
	p.target.(*udpTarget).lookup = f
}

// ClosePush gives up the socket.
func (p *Pusher) ClosePush() { p.target.close() }

// Pack packs texts and returns the datagrams.
func Pack(texts []string, limit int) (datagrams []string, ranges [][2]int, left int) {
	units := make([]unit, len(texts))
	for i, t := range texts {
		units[i].text = t
	}
	left = pack(units, limit, func(d []byte, from, to int) {
		datagrams = append(datagrams, string(d))
		ranges = append(ranges, [2]int{from, to})
	})
	return datagrams, ranges, left
}

// StatsdName is what stands before the colon, and after the type, of a line for a
// metric with these labels.
func StatsdName(prefix string, style TagStyle, labels map[string]string, name string, keys, values []string) (head, tail string) {
	d := describe(name, "", keys...)
	return newNamer(prefix, style, labels).name(&d, values)
}

// GaugeText is the text that sets a gauge called name.
func GaugeText(name string, value float64) string { return gaugeText(&series{head: name}, value) }

// TagText is tagText.
func TagText(s string) string { return tagText(s) }

// MetricRow is a metric as a document describes it.
type MetricRow struct {
	Name, Help string
	Labels     []string
	Counter    bool
}

// MetricRows lists all metrics but the histograms.
func MetricRows() []MetricRow {
	var out []MetricRow
	for _, m := range allMetrics() {
		out = append(out, MetricRow{"edgebroker_" + m.desc.name, m.desc.help, m.desc.labels, isCounter(m)})
	}
	return out
}

// HistogramRow is a histogram as a document describes it.
type HistogramRow struct {
	Name, Help  string
	First, Last float64 // of the bounds
	Step        float64 // between them
}

// HistogramRows lists all histograms.
func HistogramRows() []HistogramRow {
	var out []HistogramRow
	for _, h := range histogramTable() {
		b := h.bounds
		out = append(out, HistogramRow{"edgebroker_" + h.desc.name, h.desc.help, b.of(b.first), b.of(b.last), b.of(b.first+1) / b.of(b.first)})
	}
	return out
}

func isCounter(m metric) bool { return m.kind == prometheus.CounterValue }

// SetSend makes f the network of p.
func (p *Pusher) SetSend(f func(datagram []byte) error) { p.target = fakeTarget{deliver: f} }

type fakeTarget struct {
	noFound
	deliver func([]byte) error
}

func (t fakeTarget) send(b []byte) error { return t.deliver(b) }
func (fakeTarget) close()                {}
