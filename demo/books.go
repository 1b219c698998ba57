package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/synthetism/edgebroker/statsd"
)

// books are the counts of the plant, beside what the brokers say.
type books struct {
	rows    []row
	readers []reading
	refused [2]uint64 // publishes: as the plant counted, and as the broker says
	lives   int       // of the gateway
	uneven  int       // accounts of brokers that have a difference
	notes   []string
	faults  []string // what does not agree
}

// row is what one client has published and read.
type row struct {
	client              string
	published, accepted uint64 // as it counted, and as brokers say
	read, sent          uint64 // likewise
}

// reading is whether one reader has got what was meant for it.
type reading struct {
	client string
	account
	lost map[string]uint64 // by reason, as brokers say
}

func (b *books) fault(format string, a ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, a...))
}

// close makes the books. Everybody has left, and the brokers have stopped.
func (p *plant) close(g *gateway, far statsd.Balance, intruder *client) *books {
	b := &books{lives: len(g.lives)}
	for _, c := range p.clients() {
		b.enter(c, g.tallies.of(c.id))
	}
	for _, r := range p.readers() {
		b.read(r, p.ledger, g)
	}
	b.refused = [2]uint64{intruder.count().refused, g.tallies.of(intruder.id).refused}
	if b.refused[0] != b.refused[1] {
		b.fault("%s was refused %d publishes, the broker says %d", intruder.id, b.refused[0], b.refused[1])
	}
	for i, life := range g.lives {
		b.balance(fmt.Sprintf("the gateway, life %d", i+1), life.balance)
	}
	b.balance("the head office", far)
	return b
}

// enter compares what a client has counted with what brokers say of it. Where a
// connection broke, nobody but the broker can know what became of the packets
// that were on their way: it may have got those, and may have sent those that it
// sent again.
func (b *books) enter(c *client, t tally) {
	n := c.count()
	r := row{c.id, n.sent - n.refused, t.published, n.read, t.sent}
	b.rows = append(b.rows, r)
	chance := n.broken > 0
	if chance {
		b.notes = append(b.notes, fmt.Sprintf("%s was disconnected %s by somebody: what it sent or was sent at QoS 0 just then is not known", c.id, times(n.broken)))
	}
	if r.accepted > r.published || r.accepted+n.limbo < r.published && !chance {
		b.fault("%s published %d, the broker says %d", c.id, r.published, r.accepted)
	} else if unknown := r.published - r.accepted; unknown > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%s sent %s that the broker did not get before it stopped, and sent it again", c.id, count(unknown, "message")))
	}
	if r.read > r.sent || r.read+n.again < r.sent && !chance {
		b.fault("%s read %d, the broker says %d", c.id, r.read, r.sent)
	} else if unread := r.sent - r.read; unread > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%s was sent %s that it did not read before its connection broke, and got it again", c.id, count(unread, "message")))
	}
}

func (b *books) read(r *reader, l *ledger, g *gateway) {
	e := reading{r.id, r.receipts.compare(l.matching(atGateway(r))), g.lost(r.id)}
	b.readers = append(b.readers, e)
	var lost uint64
	for _, n := range e.lost {
		lost += n
	}
	if e.missing != lost && r.count().broken == 0 {
		b.fault("%s misses %d messages, the broker says it lost %d", r.id, e.missing, lost)
	}
	if e.twice2 > 0 {
		b.fault("%s got %d messages twice at QoS 2", r.id, e.twice2)
	}
	if e.disorder > 0 {
		b.fault("%s got %d messages out of order", r.id, e.disorder)
	}
}

// balance notes the accounts of a broker that do not balance.
func (b *books) balance(who string, s statsd.Balance) {
	for _, a := range s.Accounts {
		if a.Difference != 0 {
			b.uneven++
			b.fault("%s: the account %q has a difference of %d", who, a.Name, a.Difference)
		}
	}
	if len(s.Accounts) == 0 {
		b.fault("%s has no accounts", who)
	}
}

// String is the books for people to read.
func (b *books) String() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tPUBLISHED\tBROKER SAYS\tREAD\tBROKER SAYS\t")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", r.client, dash(r.published), dash(r.accepted), dash(r.read), dash(r.sent))
	}
	w.Flush()
	out.WriteByte('\n')
	w = tabwriter.NewWriter(&out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tMEANT FOR IT\tARRIVED\tTWICE\tOUT OF ORDER\tMISSING\tBROKER SAYS\t")
	for _, r := range b.readers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.client, comma(r.meant), comma(r.got), dash(r.twice1+r.twice2), dash(r.disorder), dash(r.missing), reasons(r.lost))
	}
	w.Flush()
	return out.String()
}

// reasons is what was lost, by why.
func reasons(lost map[string]uint64) string {
	var list []string
	for _, why := range slices.Sorted(maps.Keys(lost)) {
		list = append(list, comma(lost[why])+" "+why)
	}
	if list == nil {
		return "-"
	}
	return strings.Join(list, ", ")
}

func comma(n uint64) string { return humanize.Comma(int64(n)) }

func dash(n uint64) string {
	if n == 0 {
		return "-"
	}
	return comma(n)
}

// count words a number of what noun names.
func count(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return comma(n) + " " + noun + "s"
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
