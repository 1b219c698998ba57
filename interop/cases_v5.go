package main

import (
	"slices"
	"time"
)

func properties(s *stage) {
	sub, pub := s.connect("sub"), s.connect("pub")
	sub.subscribe(1, s.topic("+"))
	full := Message{Topic: s.topic("full"), Payload: "ja", QoS: 1, Properties: Properties{
		User:            [][2]string{{"site", "north"}, {"site", "south"}, {"ключ", "значение"}, {"empty", ""}},
		ResponseTopic:   s.topic("answer"),
		CorrelationData: "request 7",
		ContentType:     "text/plain; charset=utf-8",
		Text:            true,
	}}
	bare := Message{Topic: s.topic("bare"), Payload: "nein", QoS: 1}
	pub.publish(full, bare)
	sub.expect([]Message{sub.next(), sub.next()}, full, bare)

	// The request's receiver answers where and with what it was told.
	answer := Message{Topic: full.Properties.ResponseTopic, Payload: "done", QoS: 1,
		Properties: Properties{CorrelationData: full.Properties.CorrelationData}}
	pub.publish(answer)
	sub.expect([]Message{sub.next()}, answer)
}

// The expiry case waits this long for a message of one second to expire: the
// broker rounds what remains, never past this.
const expiryWait = 2100 * time.Millisecond

func expiry(s *stage) {
	// Its will tells when the broker knows that it has gone: a message before
	// that is on its way to the client, and then is sent again even if late.
	gone := Message{Topic: s.topic("gone", "sub"), Payload: "gone", QoS: 1}
	sub := s.open("sub", Options{Kept: true, Will: &gone})
	sub.connect()
	sub.subscribe(1, s.topic("+"))
	watcher, pub := s.connect("watch"), s.connect("pub")
	watcher.subscribe(1, gone.Topic)
	message := func(payload string, seconds uint32) Message {
		return Message{Topic: s.topic("t"), Payload: payload, QoS: 1, Properties: Properties{Expiry: seconds}}
	}
	within := func(m Message, least uint32) {
		if left := m.Properties.Expiry; left < least || left > 3600 {
			s.fail("sub: %q, with an expiry of 3600 s, came with %d", m.Payload, left)
		}
	}
	pub.publish(message("direct", 3600))
	within(sub.next(), 3590)
	sub.kill()
	watcher.expect([]Message{watcher.next()}, gone)
	pub.publish(message("spoils", 1), message("keeps", 3600))
	select {
	case <-time.After(expiryWait):
	case <-s.ctx.Done():
		s.fail("no time left")
	}
	sub.connect()
	end := message("end", 0)
	pub.publish(end)
	var kept bool
	for _, m := range sub.until(end) {
		switch m.Payload {
		case "direct": // again: the kill came before its acknowledgement
		case "keeps":
			kept = true
			// What waited is not worth what it was.
			if within(m, 3580); m.Properties.Expiry > 3599 {
				s.fail("sub: the expiry did not count down: %d", m.Properties.Expiry)
			}
		default:
			s.fail("sub: %s came, which has expired", brief(m))
		}
	}
	if !kept {
		s.fail("sub: what had not expired did not come")
	}
}

func subscriptionIDs(s *stage) {
	// One, two and four bytes on the wire.
	a, b, pub := s.connect("a"), s.connect("b"), s.connect("pub")
	a.subscribeID(7, 1, s.topic("one"))
	b.subscribeID(268_435_455, 1, s.topic("+"))
	m := Message{Topic: s.topic("one"), Payload: "x", QoS: 1}
	pub.publish(m)
	for id, sub := range map[int]*actor{7: a, 268_435_455: b} {
		want := m
		want.Properties.IDs = []int{id}
		sub.expect([]Message{sub.next()}, want)
	}
	if !s.row.library.SeveralIDs {
		return
	}
	both := s.connect("both")
	both.subscribeID(300, 1, s.topic("two", "#"))
	both.subscribeID(20_000, 1, s.topic("two", "+"))
	both.subscribe(1, s.topic("end"))
	end := Message{Topic: s.topic("end"), Payload: "end", QoS: 1}
	pub.publish(Message{Topic: s.topic("two", "x"), Payload: "y", QoS: 1}, end)
	// One copy with both or two copies with one each. [MQTT-3.3.4-3], [MQTT-3.3.4-5]
	var ids []int
	for _, got := range both.until(end) {
		ids = append(ids, got.Properties.IDs...)
	}
	if slices.Sort(ids); !slices.Equal(ids, []int{300, 20_000}) {
		s.fail("both: overlapping subscriptions 300 and 20000 gave identifiers %v", ids)
	}
}

func topicAlias(s *stage) {
	sub, pub := s.connect("sub"), s.connect("pub")
	sub.subscribe(1, s.topic("#"))
	first := func(topic, payload string) Message {
		return Message{Topic: s.topic(topic), Payload: payload, QoS: 1, Properties: Properties{Alias: 5}}
	}
	again := func(payload string) Message {
		return Message{Payload: payload, QoS: 1, Properties: Properties{Alias: 5}}
	}
	pub.publish(first("a", "1"), again("2"), again("3"), first("b", "4"), again("5"))
	for _, want := range []Message{
		{Topic: s.topic("a"), Payload: "1", QoS: 1},
		{Topic: s.topic("a"), Payload: "2", QoS: 1},
		{Topic: s.topic("a"), Payload: "3", QoS: 1},
		{Topic: s.topic("b"), Payload: "4", QoS: 1},
		{Topic: s.topic("b"), Payload: "5", QoS: 1},
	} {
		sub.expect([]Message{sub.next()}, want)
	}
}
