package main

import (
	"fmt"
	"slices"
	"strings"
)

// cases is the columns of the table.
func cases() []testCase {
	return []testCase{
		{"QoS 0", "messages sent at QoS 0 reach subscriptions of QoS 0, 1 and 2, in order, each once, at the lower QoS of the two", false, roundTrip(0)},
		{"QoS 1", "the same, sent at QoS 1", false, roundTrip(1)},
		{"QoS 2", "the same, sent at QoS 2", false, roundTrip(2)},
		{"versions", "messages of every QoS to and from a 3.1, a 3.1.1 and a 5 client of another library", false, acrossVersions},
		{"retained", "a retained message reaches who subscribes later, marked; those subscribed already get it unmarked; an empty one removes it", false, retained},
		{"will", "a client that is killed leaves its will (with its properties in 5), one that disconnects does not (unless it says so, in 5); the will is retained if asked", false, will},
		{"shared", "each message to a shared subscription reaches one of two members, and both get some", false, shared},
		{"session", "what was sent to a kept session arrives after a disconnect, and after a kill, in order, with no new subscription needed", false, keptSession},
		{"200 KB", "a payload of 200,000 bytes arrives unchanged at every QoS", false, bigPayload},
		{"unicode", "topics, filters and payloads in many scripts, with spaces, U+FEFF and letters beyond 16 bits", false, unicodeTopics},
		{"properties", "user properties in order, response topic, correlation data, content type and payload format arrive as sent", true, properties},
		{"expiry", "message expiry counts down; an expired message is not delivered", true, expiry},
		{"sub. ids", "a message carries the subscription identifiers of the subscriptions that it matches", true, subscriptionIDs},
		{"alias", "a topic alias stands for the topic, also after it was redefined", true, topicAlias},
	}
}

// numbered is n messages, followed by one that no other is like.
func numbered(n int, m Message) (out []Message, end Message) {
	for i := range n {
		m.Payload = fmt.Sprintf("message %d", i)
		out = append(out, m)
	}
	end = m
	end.Payload = "end"
	return out, end
}

// at is copies of messages at QoS qos.
func at(qos byte, messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].QoS = qos
	}
	return out
}

func roundTrip(qos byte) func(*stage) {
	return func(s *stage) {
		var subs []*actor
		for granted := range byte(3) {
			sub := s.connect(fmt.Sprintf("sub%d", granted))
			sub.subscribe(granted, s.topic("+"))
			subs = append(subs, sub)
		}
		messages, end := numbered(5, Message{Topic: s.topic("t"), QoS: qos})
		s.connect("pub").publish(append(messages, end)...)
		for granted, sub := range subs {
			sub.expect(sub.until(end), at(min(qos, byte(granted)), messages)...)
		}
	}
}

// acrossVersions uses libraries in this process as peers. They are the ones
// that are rows of their own as well.
func acrossVersions(s *stage) {
	self := s.connect("self")
	self.subscribe(2, s.topic("self", "#"))
	pub := s.connect("pub")
	for i, peer := range []row{{pahoMQTT(), v31, tcp}, {pahoMQTT(), v311, tcp}, {pahoV5(), v5, tcp}} {
		other := s.openAs(peer, fmt.Sprintf("peer%d", i), Options{})
		other.connect()
		other.subscribe(2, s.topic("peer", "#"))
		for qos := range byte(3) {
			there := Message{Topic: s.topic("peer", peer.version), QoS: qos, Payload: fmt.Sprintf("to %s at %d", peer.version, qos)}
			pub.publish(there)
			other.expect([]Message{other.next()}, there)
			back := Message{Topic: s.topic("self", peer.version), QoS: qos, Payload: fmt.Sprintf("from %s at %d", peer.version, qos)}
			other.publish(back)
			self.expect([]Message{self.next()}, back)
		}
		other.leave()
	}
}

func retained(s *stage) {
	live, pub := s.connect("live"), s.connect("pub")
	live.subscribe(1, s.topic("+"))
	old := Message{Topic: s.topic("state"), Payload: "old", QoS: 1, Retain: true}
	state := Message{Topic: s.topic("state"), Payload: "on", QoS: 1, Retain: true}
	pub.publish(old, state)
	unmarked := func(m Message) Message { m.Retain = false; return m }
	live.expect([]Message{live.next(), live.next()}, unmarked(old), unmarked(state))

	end := Message{Topic: s.topic("end"), Payload: "end", QoS: 1}
	late := s.connect("late")
	late.subscribe(1, s.topic("+"))
	late.expect([]Message{late.next()}, state)

	removal := Message{Topic: s.topic("state"), QoS: 1, Retain: true}
	pub.publish(removal)
	live.expect([]Message{live.next()}, unmarked(removal))
	after := s.connect("after")
	after.subscribe(1, s.topic("+"))
	pub.publish(end)
	after.expect(after.until(end))
}

func will(s *stage) {
	watcher := s.connect("watch")
	watcher.subscribe(1, s.topic("will", "+"))
	last := Message{Topic: s.topic("will", "killed"), Payload: "gone", QoS: 1, Retain: true}
	if s.row.version == v5 {
		last.Properties = Properties{User: [][2]string{{"site", "north"}, {"line", "2"}}}
		if !s.row.library.PlainWill {
			last.Properties.ContentType, last.Properties.ResponseTopic, last.Properties.CorrelationData = "text/plain", s.topic("answer"), "7"
		}
	}
	// They subscribe because some libraries connect only then.
	victim := s.open("victim", Options{Will: &last})
	victim.connect()
	victim.subscribe(0, s.topic("other"))
	left := last
	left.Topic, left.Retain = s.topic("will", "left"), false
	leaver := s.open("leaver", Options{Will: &left})
	leaver.connect()
	leaver.subscribe(0, s.topic("other"))

	leaver.leave()
	if s.row.version == v5 && s.row.library.LeavesWill {
		watcher.expect([]Message{watcher.next()}, left)
	}
	victim.kill()
	live := last
	live.Retain = false
	watcher.expect([]Message{watcher.next()}, live)
	late := s.connect("late")
	late.subscribe(1, s.topic("will", "+"))
	late.expect([]Message{late.next()}, last)
	end := Message{Topic: s.topic("will", "end"), Payload: "end", QoS: 1}
	pub := s.connect("pub")
	pub.publish(end, Message{Topic: last.Topic, QoS: 1, Retain: true}) // tidies up
	watcher.expect(watcher.until(end))
}

func shared(s *stage) {
	group := "$share/" + s.id("group") + "/" + s.topic("work")
	a, b := s.connect("a"), s.connect("b")
	a.subscribe(1, group)
	b.subscribe(1, group)
	messages, _ := numbered(20, Message{Topic: s.topic("work"), QoS: 1})
	s.connect("pub").publish(messages...)
	times := map[string]int{}
	share := map[*actor]int{}
	for range messages {
		var m Message
		var by *actor
		select {
		case m = <-a.Messages():
			by = a
		case m = <-b.Messages():
			by = b
		case <-s.ctx.Done():
			s.fail("%d and %d messages came, not %d together", share[a], share[b], len(messages))
		}
		share[by]++
		if times[m.Payload]++; times[m.Payload] > 1 {
			s.fail("%q came twice", m.Payload)
		}
	}
	if share[a] == 0 || share[b] == 0 {
		s.fail("one member got all: %d and %d", share[a], share[b])
	}
}

func keptSession(s *stage) {
	sub := s.open("sub", Options{Kept: true})
	sub.connect()
	sub.subscribe(2, s.topic("+"))
	pub := s.connect("pub")
	for round, depart := range []func(){sub.leave, sub.kill} {
		depart()
		topic1, topic2 := s.topic(fmt.Sprintf("one%d", round)), s.topic(fmt.Sprintf("two%d", round))
		one, _ := numbered(5, Message{Topic: topic1, QoS: 1})
		two, end := numbered(5, Message{Topic: topic2, QoS: 2})
		pub.publish(append(one, two...)...)
		present := sub.connect()
		// 3.1 has no such flag.
		if s.row.version != v31 && !s.row.library.HidesPresent && !present {
			s.fail("round %d: no session present in CONNACK", round)
		}
		pub.publish(end)
		got := map[string][]Message{}
		// The end says nothing about the other topic: order is per topic. What
		// comes again from the first round was cut off before its handshake was
		// complete, and some libraries forget with the connection.
		for len(got[topic1])+len(got[topic2]) < len(one)+len(two)+1 {
			m := sub.next()
			got[m.Topic] = append(got[m.Topic], m)
		}
		sub.expect(got[topic1], one...)
		sub.expect(got[topic2], append(two, end)...)
	}
}

func bigPayload(s *stage) {
	const size = 200_000
	sub, pub := s.connect("sub"), s.connect("pub")
	sub.subscribe(2, s.topic("+"))
	for qos := range byte(3) {
		line := fmt.Sprintf("at QoS %d, 0123456789 abcdefghijklmnopqrstuvwxyz ", qos)
		big := Message{Topic: s.topic("big"), QoS: qos, Payload: strings.Repeat(line, size/len(line)+1)[:size]}
		pub.publish(big)
		sub.expect([]Message{sub.next()}, big)
	}
}

func unicodeTopics(s *stage) {
	sub, pub := s.connect("sub"), s.connect("pub")
	sub.subscribe(1, s.topic("größe", "+"), s.topic("水位", "#"))
	want := []Message{
		{Topic: s.topic("größe", "Ä ö"), Payload: "ein Maß", QoS: 1},
		{Topic: s.topic("größe", "\ufeffbom"), Payload: "\ufeff", QoS: 1},
		{Topic: s.topic("größe", "e\u0301 is not \u00e9"), Payload: "e\u0301", QoS: 1},
		{Topic: s.topic("水位", "ポンプ", "🚰"), Payload: "𝟙𝟚 ﷽", QoS: 1},
		{Topic: s.topic("水位", "مضخة", ""), Payload: "نعم", QoS: 1},
	}
	pub.publish(Message{Topic: s.topic("grosse", "x"), Payload: "not subscribed", QoS: 1})
	pub.publish(want...)
	for _, w := range want {
		sub.expect([]Message{sub.next()}, w)
	}
}
