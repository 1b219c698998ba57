package e2e_test

import (
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// bad is a packet that breaks a rule.
type bad struct {
	name string
	b    []byte
	want wire.Reason // of DISCONNECT or, for a CONNECT, of CONNACK
}

const (
	malformed = wire.MalformedPacket
	protocol  = wire.ProtocolError
	topicName = wire.TopicNameInvalid
)

const (
	id1      = "\x00\x01" // packet identifier 1
	none     = "\x00"     // no properties
	overlong = "\xC0\xAF" // "/" in more bytes than it needs
	half     = "\xED\xA0\x80"
)

// TestMalformedPackets sends one bad packet on a good connection, which the
// broker then ends. [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.4-1]
// [MQTT-3.14.4-2] [MQTT-3.14.2-1] [MQTT3-4.8.0-1]
func TestMalformedPackets(t *testing.T) {
	cases := map[wire.Version][]bad{
		wire.V5: {
			// [MQTT-2.1.3-1]
			{"type 0", frame(0x00), malformed},
			{"PUBREL flags", frame(0x60, id1), malformed},             // [MQTT-3.6.1-1]
			{"SUBSCRIBE flags", frame(0x80, id1, none), malformed},    // [MQTT-3.8.1-1]
			{"UNSUBSCRIBE flags", frame(0xA0, id1, none), malformed},  // [MQTT-3.10.1-1]
			{"PINGREQ flags", frame(0xC4), malformed},                 //
			{"DISCONNECT flags", frame(0xE1, 0, none), malformed},     // [MQTT-3.14.1-1]
			{"AUTH flags", frame(0xF1, 0x18, none), malformed},        // [MQTT-3.15.1-1]
			{"QoS 3", frame(0x36, text("a"), id1, none), malformed},   // [MQTT-3.3.1-4]
			{"DUP at QoS 0", frame(0x38, text("a"), none), malformed}, // [MQTT-3.3.1-2]
			// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.2-1] [MQTT-4.7.3-2]
			{"topic overlong", frame(0x30, text(overlong), none), malformed},
			{"topic with half a pair", frame(0x30, text(half), none), malformed},
			{"topic with U+0000", frame(0x30, text("a\x00b"), none), malformed},
			{"topic empty", frame(0x30, text(""), none), protocol},      // [MQTT-4.7.3-1]
			{"topic with +", frame(0x30, text("a/+"), none), topicName}, // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
			{"topic with #", frame(0x30, text("#"), none), topicName},
			{"topic cut", frame(0x30, "\x00\x05a"), malformed},
			{"PUBLISH without identifier", frame(0x32, text("a")), malformed}, // [MQTT-2.2.1-3]
			{"PUBLISH with identifier 0", frame(0x32, text("a"), "\x00\x00", none), protocol},
			{"PUBLISH without property length", frame(0x30, text("a")), malformed},               // [MQTT-2.2.2-1]
			{"property length in too many bytes", frame(0x30, text("a"), "\x80\x00"), malformed}, // [MQTT-1.5.5-1]
			{"remaining length in five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, malformed},
			{"unknown property", frame(0x30, text("a"), props("\x7F\x00")), malformed},
			{"property of CONNECT in PUBLISH", frame(0x30, text("a"), props("\x21\x00\x01")), malformed},
			{"content type twice", frame(0x30, text("a"), props("\x03"+text("x"), "\x03"+text("x"))), protocol},
			{"content type overlong", frame(0x30, text("a"), props("\x03"+text(overlong))), malformed},                // [MQTT-3.3.2-19]
			{"user property key overlong", frame(0x30, text("a"), props("\x26"+text(overlong)+text("v"))), malformed}, // [MQTT-1.5.7-1]
			{"user property value with U+0000", frame(0x30, text("a"), props("\x26"+text("k")+text("\x00"))), malformed},
			{"response topic overlong", frame(0x30, text("a"), props("\x08"+text(overlong))), malformed},   // [MQTT-3.3.2-13]
			{"response topic with wildcard", frame(0x30, text("a"), props("\x08"+text("r/#"))), topicName}, // [MQTT-3.3.2-14]
			{"payload format 2", frame(0x30, text("a"), props("\x01\x02")), protocol},
			{"payload not of its format", frame(0x30, text("a"), props("\x01\x01"), overlong), wire.PayloadFormatInvalid},
			{"topic alias 0", frame(0x30, text("a"), props("\x23\x00\x00")), wire.TopicAliasInvalid},                // [MQTT-3.3.2-8]
			{"topic alias that is too high", frame(0x30, text("a"), props("\x23\xFF\xFF")), wire.TopicAliasInvalid}, // [MQTT-3.3.2-9] [MQTT-3.2.2-17]
			{"topic alias that was not set", frame(0x30, text(""), props("\x23\x00\x05")), protocol},
			{"subscription identifier from a client", frame(0x30, text("a"), props("\x0B\x01")), protocol}, // [MQTT-3.3.4-6]
			{"PUBACK of 0", frame(0x40, "\x00\x00"), protocol},
			{"PUBACK reason", frame(0x40, id1, 0x01), protocol},  // [MQTT-3.4.2-1]
			{"PUBREC reason", frame(0x50, id1, 0x04), protocol},  // [MQTT-3.5.2-1]
			{"PUBREL reason", frame(0x62, id1, 0x80), protocol},  // [MQTT-3.6.2-1]
			{"PUBCOMP reason", frame(0x70, id1, 0x10), protocol}, // [MQTT-3.7.2-1]
			{"SUBSCRIBE of 0", frame(0x82, "\x00\x00", none, text("a"), 0), protocol},
			{"SUBSCRIBE to nothing", frame(0x82, id1, none), protocol}, // [MQTT-3.8.3-2]
			{"SUBSCRIBE without options", frame(0x82, id1, none, text("a")), malformed},
			{"SUBSCRIBE with QoS 3", frame(0x82, id1, none, text("a"), 3), protocol},
			{"SUBSCRIBE with retain handling 3", frame(0x82, id1, none, text("a"), 0x30), protocol},
			{"SUBSCRIBE with reserved bits", frame(0x82, id1, none, text("a"), 0x80), malformed}, // [MQTT-3.8.3-5]
			{"SUBSCRIBE to a bad string", frame(0x82, id1, none, text(overlong), 0), malformed},  // [MQTT-3.8.3-1]
			{"SUBSCRIBE with identifier 0", frame(0x82, id1, props("\x0B\x00"), text("a"), 0), protocol},
			{"no local on a share", frame(0x82, id1, none, text("$share/g/a"), 4), protocol}, // [MQTT-3.8.3-4]
			{"UNSUBSCRIBE of 0", frame(0xA2, "\x00\x00", none, text("a")), protocol},
			{"UNSUBSCRIBE from nothing", frame(0xA2, id1, none), protocol},                       // [MQTT-3.10.3-2]
			{"UNSUBSCRIBE from a bad string", frame(0xA2, id1, none, text(overlong)), malformed}, // [MQTT-3.10.3-1]
			{"PINGREQ with a body", frame(0xC0, 0), malformed},
			{"DISCONNECT reason", frame(0xE0, 0x01), protocol},
			{"DISCONNECT that revives the session", frame(0xE0, 0x00, props("\x11\x00\x00\x00\x05")), protocol},
			{"AUTH without a method in CONNECT", frame(0xF0, 0x18, props("\x15"+text("m"))), protocol}, // [MQTT-4.12.0-7]
			{"second CONNECT", frame(0x10, text("MQTT"), 5, 2, 0, 0, none, text("c")), protocol},       // [MQTT-3.1.0-2]
			{"CONNACK", frame(0x20, 0, 0, none), protocol},
			{"SUBACK", frame(0x90, id1, none, 0), protocol},
			{"PINGRESP", frame(0xD0), protocol},
		},
		wire.V311: {
			// [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
			{name: "type 0", b: frame(0x00)},
			{name: "type 15", b: frame(0xF0)},
			{name: "remaining length in five bytes", b: []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}},
			{name: "PUBREL flags", b: frame(0x60, id1)},                  // [MQTT3-3.6.1-1]
			{name: "SUBSCRIBE flags", b: frame(0x80, id1, text("a"), 0)}, // [MQTT3-3.8.1-1]
			{name: "UNSUBSCRIBE flags", b: frame(0xA0, id1, text("a"))},  // [MQTT3-3.10.1-1]
			{name: "PINGREQ flags", b: frame(0xC4)},
			{name: "DISCONNECT flags", b: frame(0xE1)}, // [MQTT3-3.14.1-1]
			{name: "DISCONNECT with a body", b: frame(0xE0, 0)},
			{name: "QoS 3", b: frame(0x36, text("a"), id1)},   // [MQTT3-3.3.1-4]
			{name: "DUP at QoS 0", b: frame(0x38, text("a"))}, // [MQTT3-3.3.1-2]
			// [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT3-3.3.2-1] [MQTT3-4.7.3-2]
			{name: "topic overlong", b: frame(0x30, text(overlong))},
			{name: "topic with half a pair", b: frame(0x30, text(half))},
			{name: "topic with U+0000", b: frame(0x30, text("a\x00b"))},
			{name: "topic empty", b: frame(0x30, text(""))},                            // [MQTT3-4.7.3-1]
			{name: "topic with +", b: frame(0x30, text("a/+"))},                        // [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]
			{name: "PUBLISH with identifier 0", b: frame(0x32, text("a"), "\x00\x00")}, // [MQTT3-2.3.1-1]
			{name: "SUBSCRIBE of 0", b: frame(0x82, "\x00\x00", text("a"), 0)},
			{name: "SUBSCRIBE to nothing", b: frame(0x82, id1)},               // [MQTT3-3.8.3-3]
			{name: "SUBSCRIBE with QoS 3", b: frame(0x82, id1, text("a"), 3)}, // [MQTT3-3.8.3-4]
			{name: "SUBSCRIBE with reserved bits", b: frame(0x82, id1, text("a"), 4)},
			{name: "SUBSCRIBE to a bad string", b: frame(0x82, id1, text(overlong), 0)}, // [MQTT3-3.8.3-1]
			{name: "UNSUBSCRIBE of 0", b: frame(0xA2, "\x00\x00", text("a"))},
			{name: "UNSUBSCRIBE from nothing", b: frame(0xA2, id1)},                       // [MQTT3-3.10.3-2]
			{name: "UNSUBSCRIBE from a bad string", b: frame(0xA2, id1, text(half))},      // [MQTT3-3.10.3-1]
			{name: "second CONNECT", b: frame(0x10, text("MQTT"), 4, 2, 0, 0, text("c"))}, // [MQTT3-3.1.0-2]
			{name: "SUBACK", b: frame(0x90, id1, 0)},
		},
	}
	b := start(t, nil)
	watch := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "watch"))
	watch.Subscribe(0, "#")
	for v, list := range cases {
		facts := map[string]fact{}
		for _, c := range list {
			facts[c.name] = func(s *stage) {
				client := s.clean("c")
				client.Send(c.b)
				s.ended(client, c.want)
			}
		}
		conformOn(t, b, []wire.Version{v}, facts)
	}
	watch.ExpectNothing() // of all the bad messages none was published
}

// TestMalformedConnect sends a CONNECT that breaks a rule. MQTT 5 says why in
// a CONNACK; 3.1.1 closes without one, except for what it has a return code
// for. [MQTT-3.1.4-1] [MQTT-3.2.2-7] [MQTT-3.14.0-1] [MQTT-4.13.2-1]
// [MQTT3-3.1.4-1] [MQTT3-3.2.2-5] [MQTT3-3.2.2-6]
func TestMalformedConnect(t *testing.T) {
	connect5 := func(flags byte, parts ...any) []byte {
		return frame(0x10, append([]any{text("MQTT"), 5, flags, 0, 0}, parts...)...)
	}
	connect3 := func(flags byte, parts ...any) []byte {
		return frame(0x10, append([]any{text("MQTT"), 4, flags, 0, 0}, parts...)...)
	}
	const silent = wire.Success
	cases := map[wire.Version][]bad{
		wire.V5: {
			{"another name", frame(0x10, text("HTTP"), 5, 2, 0, 0, none, text("c")), silent}, // [MQTT-3.1.2-1]
			{"flags of the packet", append([]byte{0x11}, connect5(2, none, text("c"))[1:]...), malformed},
			{"reserved flag", connect5(3, none, text("c")), malformed},                            // [MQTT-3.1.2-3]
			{"will QoS 3", connect5(0x1E, none, text("c"), none, text("w"), text("")), malformed}, // [MQTT-3.1.2-12]
			{"will QoS without will", connect5(0x0A, none, text("c")), malformed},                 // [MQTT-3.1.2-11]
			{"will retain without will", connect5(0x22, none, text("c")), malformed},              // [MQTT-3.1.2-13]
			{"no will although announced", connect5(6, none, text("c")), malformed},               // [MQTT-3.1.2-9]
			{"will without payload", connect5(6, none, text("c"), none, text("w")), malformed},
			{"will topic overlong", connect5(6, none, text("c"), none, text(overlong), text("")), malformed}, // [MQTT-3.1.3-11]
			{"will topic with wildcard", connect5(6, none, text("c"), none, text("#"), text("")), topicName},
			{"user name not announced", connect5(2, none, text("c"), text("u")), malformed},    // [MQTT-3.1.2-16] [MQTT-3.1.2-18]
			{"no user name although announced", connect5(0x82, none, text("c")), malformed},    // [MQTT-3.1.2-17]
			{"no password although announced", connect5(0x42, none, text("c")), malformed},     // [MQTT-3.1.2-19]
			{"user name overlong", connect5(0x82, none, text("c"), text(overlong)), malformed}, // [MQTT-3.1.3-12]
			{"no client id", connect5(2, none), malformed},                                     // [MQTT-3.1.3-3]
			{"client id overlong", connect5(2, none, text(overlong)), malformed},               // [MQTT-3.1.3-4]
			{"client id with U+0000", connect5(2, none, text("\x00")), malformed},
			{"receive maximum 0", connect5(2, props("\x21\x00\x00"), text("c")), protocol},
			{"maximum packet size 0", connect5(2, props("\x27\x00\x00\x00\x00"), text("c")), protocol},
			{"session expiry twice", connect5(2, props("\x11\x00\x00\x00\x05", "\x11\x00\x00\x00\x05"), text("c")), protocol},
			{"property of PUBLISH", connect5(2, props("\x03"+text("x")), text("c")), malformed},
			{"authentication data without method", connect5(2, props("\x16"+text("x")), text("c")), protocol},
			{"authentication method", connect5(2, props("\x15"+text("NONE")), text("c")), wire.BadAuthMethod}, // [MQTT-4.12.0-1] [MQTT-3.1.4-2]
			{"PUBLISH first", frame(0x30, text("a"), none), silent},                                           // [MQTT-3.1.0-1]
			{"PINGREQ first", frame(0xC0), silent},
			{"remaining length in five bytes", []byte{0x10, 0x80, 0x80, 0x80, 0x80, 1}, silent},
			{"AUTH first", frame(0xF0, 0x18, props("\x15"+text("m"))), silent},
		},
		wire.V311: {
			{"another name", frame(0x10, text("HTTP"), 4, 2, 0, 0, text("c")), silent},                     // [MQTT3-3.1.2-1]
			{"level 6", frame(0x10, text("MQTT"), 6, 2, 0, 0, text("c")), wire.UnsupportedProtocolVersion}, // [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
			{"reserved flag", connect3(3, text("c")), silent},                                              // [MQTT3-3.1.2-3]
			{"will QoS 3", connect3(0x1E, text("c"), text("w"), text("")), silent},                         // [MQTT3-3.1.2-14]
			{"will QoS without will", connect3(0x0A, text("c")), silent},                                   // [MQTT3-3.1.2-11] [MQTT3-3.1.2-13]
			{"will retain without will", connect3(0x22, text("c")), silent},                                // [MQTT3-3.1.2-15]
			{"no will although announced", connect3(6, text("c")), silent},                                 // [MQTT3-3.1.2-9]
			{"will topic overlong", connect3(6, text("c"), text(overlong), text("")), silent},              // [MQTT3-3.1.3-10]
			{"user name not announced", connect3(2, text("c"), text("u")), silent},                         // [MQTT3-3.1.2-18] [MQTT3-3.1.2-20]
			{"no user name although announced", connect3(0x82, text("c")), silent},                         // [MQTT3-3.1.2-19]
			{"no password although announced", connect3(0xC2, text("c"), text("u")), silent},               // [MQTT3-3.1.2-21]
			{"password without user name", connect3(0x42, text("c"), text("p")), silent},                   // [MQTT3-3.1.2-22]
			{"user name overlong", connect3(0x82, text("c"), text(overlong)), silent},                      // [MQTT3-3.1.3-11]
			{"no client id", connect3(2), silent},                                                          // [MQTT3-3.1.3-3]
			{"client id overlong", connect3(2, text(overlong)), silent},                                    // [MQTT3-3.1.3-4]
			{"empty client id to be kept", connect3(0, text("")), wire.ClientIDNotValid},                   // [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]
			{"SUBSCRIBE first", frame(0x82, id1, text("a"), 0), silent},                                    // [MQTT3-3.1.0-1]
		},
	}
	b := start(t, nil)
	for v, list := range cases {
		facts := map[string]fact{}
		for _, c := range list {
			facts[c.name] = func(s *stage) {
				client := s.raw()
				client.Send(c.b)
				rest := client.ReadRest()
				if c.want == silent {
					if len(rest) > 0 {
						s.Fatalf("got % x; want the end without a word", rest[0].Raw)
					}
					return
				}
				if len(rest) != 1 {
					s.Fatalf("got %d packets instead of CONNACK", len(rest))
				}
				// [MQTT-3.2.2-1] [MQTT-3.2.2-6] [MQTT-3.2.2-8] [MQTT3-3.2.2-4]: Decode sees to that.
				ack, err := wire.DecodeConnack(rest[0], s.v)
				if s.v < wire.V5 {
					if want := c.want.ConnackCode(s.v); err != nil || rest[0].Body[1] != want || rest[0].Body[0] != 0 {
						s.Fatalf("CONNACK is % x, %v; want return code %d", rest[0].Raw, err, want)
					}
				} else if err != nil || ack.Reason != c.want {
					s.Fatalf("CONNACK has %v, %v; want %v", ack.Reason, err, c.want)
				}
			}
		}
		conformOn(t, b, []wire.Version{v}, facts)
	}
}
