package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Headers of what is in a bucket, besides those of messages.
const (
	headerPublished = "Edgebroker-Published" // when it was published, by the clock of the NATS system, RFC 3339
	headerExpires   = "Edgebroker-Expires"   // when it expires, by that clock; counts before headerExpiry, which is of when it was stored
	headerOperation = "KV-Operation"         // DEL or PURGE; or not there: a value
	headerTTL       = jetstream.MsgTTLHeader // after which the server removes it
	headerAfterSeq  = jetstream.ExpectedLastSubjSeqHeader
)

// bucketEntry is what a bucket has at a key, or once had.
type bucketEntry struct {
	rev     uint64    // 0: it has nothing
	gone    bool      // it is a mark of deletion, has expired, or is empty
	own     bool      // this gateway has put it there
	stamp   time.Time // when it was published, by the clock of the NATS system
	expires time.Time // by that clock; zero: never
	digest  uint64    // of what is in it, for comparison with that of bucketLocal
	whole   bool      // header and data are there
	header  nats.Header
	data    []byte
}

// sameExpiry is how far apart two times may be to count as one: seconds are all
// that a message says of when it expires.
const sameExpiry = 2 * time.Second

// sameMoment is how much later than what the bucket has something may seem to
// have been published that is the same.
const sameMoment = 10 * time.Millisecond

// entry makes a bucketEntry of what the bucket has; now is by the clock of the
// NATS system.
func (b *mirror) entry(rev uint64, at time.Time, h nats.Header, data []byte, now time.Time) bucketEntry {
	u := b.s.up
	e := bucketEntry{rev: rev, stamp: at, whole: true, header: h, data: data, own: h.Get(headerGateway) == headerText(u.cfg.gateway())}
	if t, err := time.Parse(time.RFC3339Nano, h.Get(headerPublished)); err == nil && t.Before(at) {
		e.stamp = t
	}
	op := h.Get(headerOperation)
	e.gone = op == "DEL" || op == "PURGE" || h.Get(jetstream.MarkerReasonHeader) != "" || len(data) == 0
	if n, err := strconv.ParseUint(h.Get(headerExpiry), 10, 32); err == nil && n > 0 {
		e.expires = at.Add(time.Duration(n) * time.Second)
		if t, err := time.Parse(time.RFC3339Nano, h.Get(headerExpires)); err == nil {
			e.expires = t
		}
		e.gone = e.gone || !now.Before(e.expires)
	}
	if e.own && u.cfg.Origin != "" {
		e.header = withoutMark(h, u.cfg.Origin)
	}
	if !e.gone {
		out := publication(e.header, data, 2)
		e.digest, _ = b.digest(out.Payload, out.Props) // which publication has made
	}
	return e
}

// withoutMark is h without the last mark that says it has passed origin.
func withoutMark(h nats.Header, origin string) nats.Header {
	list := h[headerUser]
	at := len(list) - 1
	if at < 0 || list[at] != url.QueryEscape(viaKey)+"="+url.QueryEscape(origin) { // a client may have said so before
		return h
	}
	without := make(nats.Header, len(h))
	for k, v := range h {
		without[k] = v
	}
	without[headerUser] = list[:at:at]
	return without
}

// digest is a sum of what a message says to whoever gets it by a bucket, whatever
// the order of its properties; bad reports that they cannot be read.
func (b *mirror) digest(payload, props []byte) (sum uint64, bad bool) {
	var h nats.Header
	for range 2 { // the second time without what headers cannot say
		var err error
		if h, err = headers("", relay.Delivery{Message: &relay.Message{}}, false, props, time.Time{}); err != nil {
			return 0, true
		}
		props = publication(h, payload, 0).Props
	}
	var d maphash.Hash
	d.SetSeed(b.memory.seed)
	for _, key := range []string{headerFormat, headerContentType, headerResponse, headerCorrelation, headerUser} {
		for _, v := range h[key] {
			_, _ = fmt.Fprintf(&d, "%s %d:%s", key, len(v), v)
		}
	}
	_, _ = fmt.Fprintf(&d, " %d:", len(payload))
	_, _ = d.Write(payload)
	return d.Sum64(), false
}

// get asks the leader of the bucket what it has at key, since others may not
// know it yet.
func (b *mirror) get(key string) (bucketEntry, error) {
	question, err := json.Marshal(struct {
		Subject string `json:"last_by_subj"`
	}{b.stored + key})
	if err != nil {
		return bucketEntry{}, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Headers  []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	reply, err := b.s.request("STREAM.MSG.GET."+b.name, question)
	if err == nil {
		err = json.Unmarshal(reply.Data, &answer)
	}
	switch {
	case err != nil:
		return bucketEntry{}, fmt.Errorf("ask bucket %q: %w", b.s.cfg.Retained, err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return bucketEntry{whole: true}, nil
	case answer.Error != nil:
		return bucketEntry{}, fmt.Errorf("ask bucket %q: %w", b.s.cfg.Retained, answer.Error)
	}
	m := &answer.Message
	h, err := nats.DecodeHeadersMsg(m.Headers)
	if err != nil && len(m.Headers) > 0 && !errors.Is(err, nats.ErrBadHeaderMsg) {
		return bucketEntry{}, fmt.Errorf("ask bucket %q: %w", b.s.cfg.Retained, err)
	}
	return b.entry(m.Sequence, m.Time, h, m.Data, b.clock()), nil
}

// bucketLocal is what this broker has on a topic.
type bucketLocal struct {
	has     bool
	made    bool      // clients have made it so; else it is a copy of what the bucket had, or nothing
	stamp   time.Time // when it was made so, by the clock of the NATS system; zero: that is not known
	expires time.Time // by that clock; zero: never
	digest  uint64
	known   relay.Known
}

// local is what this broker has on the topic of a; now is by the clock of the
// NATS system.
func (b *mirror) local(a *affair, now time.Time) (l bucketLocal, err error) {
	k, ok := b.s.up.near.relay.Known(a.local)
	if !ok {
		return l, nil
	}
	l, err = b.localOf(k, now)
	l.made = k.Publisher != SessionPrefix+b.s.up.cfg.upper() // by which all comes in
	if k.Age >= 0 {
		l.stamp = b.clock().Add(-k.Age) // rather later than earlier
	} else if l.made {
		l.stamp = a.since // or zero
	}
	return l, err
}

func (b *mirror) localOf(k relay.Known, now time.Time) (l bucketLocal, err error) {
	l = bucketLocal{has: len(k.Payload) > 0, known: k}
	if k.Expiry > 0 {
		l.expires = now.Add(time.Duration(k.Expiry) * time.Second)
	}
	var bad bool
	if l.digest, bad = b.digest(k.Payload, k.Props); bad {
		err = errUnfit
	}
	return l, err
}

// latest is what clients have made of the topic of a the last time, where this
// broker has a copy of what the bucket had, or nothing: that has come between, or
// it was removed.
func (b *mirror) latest(a *affair, now time.Time) (l bucketLocal, err error) {
	d := &a.last
	l, err = b.localOf(relay.Known{Topic: a.local, Payload: d.Message.Payload, Props: d.Message.Props, Publisher: d.Message.Publisher, QoS: d.Message.QoS, Expiry: d.Expiry}, now)
	l.made, l.stamp = true, a.since
	return l, err
}

// message is k as if it were to be delivered at qos or less.
func message(k *relay.Known, qos byte) relay.Delivery {
	m := &relay.Message{Topic: k.Topic, Payload: k.Payload, Props: k.Props, Publisher: k.Publisher, QoS: k.QoS, Retain: true}
	return relay.Delivery{Message: m, QoS: min(k.QoS, qos), Retain: true, Expiry: k.Expiry}
}

// publish makes a PUBLISH of e, which is on topic here by rule; now is by the
// clock of the NATS system.
func (e *bucketEntry) publish(topic string, rule *Rule, now time.Time) wire.Out {
	if e.gone {
		return wire.Out{Version: wire.V5, Topic: []byte(topic), Retain: true, QoS: min(rule.QoS, 1)}
	}
	out := publication(e.header, e.data, min(rule.QoS, 1))
	out.Topic, out.Retain = []byte(topic), true
	given := out.Expiry
	if out.HasExpiry = !e.expires.IsZero(); out.HasExpiry {
		left := uint32(max(1, (e.expires.Sub(now)+time.Second-1)/time.Second))
		out.Expiry = min(left, given) // clocks agree to a moment only; it is never more than was given [MQTT-3.3.2-6]
	}
	return out
}
