package wire_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

// Generators of values that encode and decode to themselves.
var (
	textRunes = rapid.RuneFrom([]rune("ab/ \x01\x7fü€😀\ufeff\uffff$"))
	text      = rapid.StringOfN(textRunes, 0, 20, -1)
	topic     = rapid.StringOfN(textRunes, 1, 40, -1)
	filter    = rapid.StringOfN(rapid.RuneFrom([]rune("ab/+#$ü")), 0, 20, -1)
	bytesGen  = rapid.SliceOfN(rapid.Byte(), 0, 300)
	version   = rapid.SampledFrom(versions)
	packetID  = rapid.Uint16Min(1)
	userProp  = rapid.Custom(func(t *rapid.T) wire.UserProperty {
		return wire.UserProperty{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")}
	})
	users = rapid.Custom(func(t *rapid.T) []wire.UserProperty {
		return orNil(rapid.SliceOfN(userProp, 0, 3).Draw(t, "users"))
	})
)

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func maybe[T any](t *rapid.T, name string, g *rapid.Generator[T]) (v T) {
	if rapid.Bool().Draw(t, "has "+name) {
		v = g.Draw(t, name)
	}
	return v
}

// forwardable draws properties that a PUBLISH passes on, in any order.
func forwardable(t *rapid.T) []byte {
	var parts []any
	add := func(p ...any) { parts = append(parts, body(p...)) }
	if rapid.Bool().Draw(t, "has format") {
		add(1, 0)
	}
	if rapid.Bool().Draw(t, "has content type") {
		add(3, str(text.Draw(t, "content type")))
	}
	if rapid.Bool().Draw(t, "has response topic") {
		add(8, str(topic.Draw(t, "response topic")))
	}
	if rapid.Bool().Draw(t, "has correlation") {
		add(9, str(bytesGen.Draw(t, "correlation")))
	}
	for _, u := range users.Draw(t, "users") {
		add(0x26, str(u.Key), str(u.Value))
	}
	return body(rapid.Permutation(parts).Draw(t, "order")...)
}

// roundTrip encodes x, decodes it again and wants the same value back.
func roundTrip(t *rapid.T, x any, v wire.Version) {
	t.Helper()
	raw := encode(x, v)
	got, err := decode(scan(t, raw), v)
	if err != nil {
		t.Fatalf("%v\n% x", err, clip(raw))
	}
	if !reflect.DeepEqual(got, x) {
		t.Fatalf("got  %+v\nwant %+v", got, x)
	}
	if prefixed := encode(x, v); !slices.Equal(prefixed, raw) {
		t.Fatal("encoding is not deterministic")
	}
}

func TestConnectRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := wire.Connect{Version: version.Draw(t, "version"), CleanStart: rapid.Bool().Draw(t, "clean"),
			KeepAlive: rapid.Uint16().Draw(t, "keep alive"), ClientID: topic.Draw(t, "id"), ReceiveMaximum: 65535, RequestProblemInfo: true}
		c.HasUsername = rapid.Bool().Draw(t, "has user name")
		if c.HasUsername {
			c.Username = text.Draw(t, "user name")
		}
		if (c.HasUsername || c.Version == wire.V5) && rapid.Bool().Draw(t, "has password") {
			c.HasPassword, c.Password = true, bytesGen.Draw(t, "password")
		}
		if rapid.Bool().Draw(t, "has will") {
			c.Will = &wire.Will{QoS: rapid.ByteRange(0, 2).Draw(t, "will QoS"), Retain: rapid.Bool().Draw(t, "will retain"),
				Topic: topic.Draw(t, "will topic"), Payload: bytesGen.Draw(t, "will payload")}
		}
		switch {
		case c.Version == wire.V5:
			connectV5(t, &c)
		case !c.CleanStart:
			c.SessionExpiry = wire.NoExpiry
		}
		roundTrip(t, c, c.Version)
	})
}

func connectV5(t *rapid.T, c *wire.Connect) {
	c.SessionExpiry = maybe(t, "session expiry", rapid.Uint32())
	c.ReceiveMaximum = rapid.Uint16Min(1).Draw(t, "receive maximum")
	c.MaximumPacketSize = maybe(t, "maximum packet size", rapid.Uint32())
	c.TopicAliasMaximum = maybe(t, "topic alias maximum", rapid.Uint16())
	c.RequestResponseInfo = rapid.Bool().Draw(t, "response info")
	c.RequestProblemInfo = rapid.Bool().Draw(t, "problem info")
	if rapid.Bool().Draw(t, "has method") {
		c.HasAuthMethod, c.AuthMethod = true, text.Draw(t, "method")
		c.AuthData = maybe(t, "data", bytesGen)
	}
	c.User = users.Draw(t, "users")
	if w := c.Will; w != nil {
		w.Delay = maybe(t, "will delay", rapid.Uint32())
		if rapid.Bool().Draw(t, "has will expiry") {
			w.HasExpiry, w.Expiry = true, rapid.Uint32().Draw(t, "will expiry")
		}
		w.Props = orNil(forwardable(t))
	}
}

func TestConnackRoundTrip(t *testing.T) {
	reasons := rapid.SampledFrom([]wire.Reason{wire.Success, wire.NotAuthorized, wire.ClientIDNotValid,
		wire.UnsupportedProtocolVersion, wire.ServerUnavailable, wire.BadUserNameOrPassword})
	rapid.Check(t, func(t *rapid.T) {
		v := version.Draw(t, "version")
		c := wire.Connack{Reason: reasons.Draw(t, "reason")}
		c.SessionPresent = v != wire.V31 && c.Reason == wire.Success && rapid.Bool().Draw(t, "present")
		if v == wire.V5 {
			connackV5(t, &c)
		}
		roundTrip(t, c, v)
	})
}

func connackV5(t *rapid.T, c *wire.Connack) {
	if rapid.Bool().Draw(t, "has session expiry") {
		c.HasSessionExpiry, c.SessionExpiry = true, rapid.Uint32().Draw(t, "session expiry")
	}
	if rapid.Bool().Draw(t, "has maximum QoS") {
		c.HasMaximumQoS, c.MaximumQoS = true, rapid.ByteRange(0, 1).Draw(t, "maximum QoS")
	}
	if rapid.Bool().Draw(t, "has server keep alive") {
		c.HasServerKeepAlive, c.ServerKeepAlive = true, rapid.Uint16().Draw(t, "server keep alive")
	}
	c.ReceiveMaximum = maybe(t, "receive maximum", rapid.Uint16())
	c.MaximumPacketSize = maybe(t, "maximum packet size", rapid.Uint32())
	c.TopicAliasMaximum = maybe(t, "topic alias maximum", rapid.Uint16())
	c.RetainUnavailable = rapid.Bool().Draw(t, "retain")
	c.WildcardUnavailable = rapid.Bool().Draw(t, "wildcard")
	c.SubIDsUnavailable = rapid.Bool().Draw(t, "subscription ids")
	c.SharedUnavailable = rapid.Bool().Draw(t, "shared")
	c.AssignedClientID = maybe(t, "assigned id", text)
	c.ReasonString = maybe(t, "reason string", text)
	c.ResponseInfo = maybe(t, "response info", text)
	c.ServerReference = maybe(t, "server reference", text)
	c.AuthMethod = maybe(t, "auth method", text)
	c.AuthData = maybe(t, "auth data", bytesGen)
	c.User = users.Draw(t, "users")
}

func TestPublishRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := version.Draw(t, "version")
		o := wire.Out{Version: v, QoS: rapid.ByteRange(0, 2).Draw(t, "QoS"), Retain: rapid.Bool().Draw(t, "retain"),
			Topic: []byte(topic.Draw(t, "topic")), Payload: bytesGen.Draw(t, "payload")}
		o.Dup = o.QoS > 0 && rapid.Bool().Draw(t, "dup")
		var id uint16
		if o.QoS > 0 {
			id = packetID.Draw(t, "packet id")
		}
		if v == wire.V5 {
			o.Props = forwardable(t)
			o.Alias = maybe(t, "alias", rapid.Uint16())
			if rapid.Bool().Draw(t, "has expiry") {
				o.HasExpiry, o.Expiry = true, rapid.Uint32().Draw(t, "expiry")
			}
			o.SubIDs = rapid.SliceOfN(rapid.Uint32Range(1, 268435455), 0, 4).Draw(t, "subscription ids")
			if o.Alias != 0 && rapid.Bool().Draw(t, "alias alone") {
				o.Topic = []byte{}
			}
		}
		raw := wire.AppendPublish(nil, &o, id)
		if wire.PublishSize(&o) != len(raw) {
			t.Fatalf("PublishSize %d of %d bytes", wire.PublishSize(&o), len(raw))
		}
		d, err := wire.DecodeDelivery(scan(t, raw), v)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(d.SubIDs, o.SubIDs) {
			t.Fatalf("subscription ids %v, want %v", d.SubIDs, o.SubIDs)
		}
		// Without subscription identifiers it is what a client may send.
		o.SubIDs = nil
		want := delivery{o.Dup, o.Retain, o.QoS, string(o.Topic), id, o.Alias, o.Expiry, o.HasExpiry, string(o.Props), string(o.Payload)}
		roundTrip(t, want, v)
	})
}

func TestAckRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := version.Draw(t, "version")
		a := ack{typ: wire.Type(rapid.ByteRange(4, 7).Draw(t, "type")), id: packetID.Draw(t, "id")}
		if v == wire.V5 {
			reasons := []wire.Reason{wire.Success, wire.PacketIDNotFound}
			if a.typ <= wire.PUBREC {
				reasons = []wire.Reason{wire.Success, wire.NoMatchingSubscribers, wire.NotAuthorized, wire.QuotaExceeded}
			}
			a.reason = rapid.SampledFrom(reasons).Draw(t, "reason")
		}
		roundTrip(t, a, v)
	})
}

func TestSubscribeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := version.Draw(t, "version")
		one := rapid.Custom(func(t *rapid.T) wire.Filter {
			f := wire.Filter{Filter: filter.Draw(t, "filter"), QoS: rapid.ByteRange(0, 2).Draw(t, "QoS")}
			if v == wire.V5 {
				_, _, shared := wire.SplitShare(f.Filter)
				f.NoLocal = !shared && rapid.Bool().Draw(t, "no local")
				f.RetainAsPublished = rapid.Bool().Draw(t, "retain as published")
				f.RetainHandling = rapid.ByteRange(0, 2).Draw(t, "retain handling")
			}
			return f
		})
		s := wire.Subscribe{PacketID: packetID.Draw(t, "id"), Filters: rapid.SliceOfN(one, 1, 5).Draw(t, "filters")}
		if v == wire.V5 {
			s.SubscriptionID = maybe(t, "subscription id", rapid.Uint32Range(1, 268435455))
			s.User = users.Draw(t, "users")
		}
		roundTrip(t, s, v)
		u := wire.Unsubscribe{PacketID: s.PacketID}
		for _, f := range s.Filters {
			u.Filters = append(u.Filters, f.Filter)
		}
		roundTrip(t, u, v)
	})
}

func TestSubackRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, id := version.Draw(t, "version"), packetID.Draw(t, "id")
		codes := []wire.Reason{0, 1, 2, wire.UnspecifiedError}
		if v == wire.V5 {
			codes = append(codes, wire.NotAuthorized, wire.TopicFilterInvalid)
		}
		roundTrip(t, suback{id, rapid.SliceOfN(rapid.SampledFrom(codes), 1, 300).Draw(t, "codes")}, v)
		u := unsuback{id: id}
		if v == wire.V5 {
			u.codes = rapid.SliceOfN(rapid.SampledFrom([]wire.Reason{0, wire.NoSubscriptionExisted, wire.NotAuthorized}), 1, 300).Draw(t, "unsuback codes")
		}
		roundTrip(t, u, v)
	})
}

func TestDisconnectAndAuthRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := wire.Disconnect{ReasonString: text.Draw(t, "reason string"), ServerReference: maybe(t, "reference", text), User: users.Draw(t, "users"),
			Reason: rapid.SampledFrom([]wire.Reason{wire.Success, wire.DisconnectWithWill, wire.ServerMoved}).Draw(t, "reason")}
		if rapid.Bool().Draw(t, "has expiry") {
			d.HasExpiry, d.SessionExpiry = true, rapid.Uint32().Draw(t, "expiry")
		}
		roundTrip(t, d, wire.V5)
		a := wire.Auth{Method: text.Draw(t, "method"), Data: maybe(t, "data", bytesGen),
			Reason: rapid.SampledFrom([]wire.Reason{wire.Success, wire.ContinueAuthentication, wire.ReAuthenticate}).Draw(t, "auth reason")}
		roundTrip(t, a, wire.V5)
	})
}
