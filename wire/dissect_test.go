package wire_test

import (
	"bytes"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// judge is what the decoders say of a frame from either side.
func judge(f wire.Frame, v wire.Version, server bool) error {
	switch {
	case server && f.Type == wire.PUBLISH:
		_, err := wire.DecodeDelivery(f, v)
		return err
	case server && f.Type == wire.DISCONNECT:
		_, err := wire.DecodeServerDisconnect(f, v)
		return err
	case f.Type == wire.CONNACK:
		_, err := wire.DecodeConnack(f, v)
		return err
	}
	_, err := decode(f, v)
	return err
}

// checkDissection holds a dissection against the decoders.
func checkDissection(t *testing.T, f wire.Frame, v wire.Version, server bool) wire.Dissection {
	t.Helper()
	kept := bytes.Clone(f.Raw)
	d := wire.Dissect(f.Raw, v, server)
	if !bytes.Equal(f.Raw, kept) {
		t.Fatal("dissecting has changed the packet")
	}
	err := judge(f, v, server)
	if (err == nil) != (d.Err == nil) || err != nil && err.Error() != d.Err.Error() {
		t.Fatalf("%v %x of MQTT %v: %v, the decoder says %v", f.Type, f.Raw, v, d.Err, err)
	}
	if d.At < -1 || d.At > len(f.Raw) || d.Err == nil && d.At != -1 {
		t.Fatalf("offset %d in %x, %v", d.At, f.Raw, d.Err)
	}
	if d.Err != nil {
		return d
	}
	switch f.Type {
	case wire.PUBLISH:
		p, err := wire.DecodeDelivery(f, v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Topic, d.Topic) || !bytes.Equal(p.Payload, d.Payload) || p.PacketID != d.PacketID || p.Alias != d.Alias ||
			p.QoS != d.QoS || p.Dup != d.Dup || p.Retain != d.Retain {
			t.Fatalf("%+v, the decoder reads %+v", d, p)
		}
		// Cut anywhere in its payload it reads the same up to there.
		head := len(f.Raw) - len(p.Payload)
		for _, n := range []int{head, head + len(p.Payload)/2} {
			if part := wire.Dissect(f.Raw[:n], v, true); part.Err != nil || !bytes.Equal(part.Topic, d.Topic) || len(part.Payload) != n-head {
				t.Fatalf("%d of %d bytes: %+v", n, len(f.Raw), part)
			}
		}
	case wire.CONNECT:
		c, err := wire.DecodeConnect(f)
		if err != nil {
			t.Fatal(err)
		}
		if c.Version != d.Version || c.ClientID != string(d.ClientID) || c.KeepAlive != d.KeepAlive || c.HasUsername != d.HasUsername ||
			c.Username != string(d.Username) || c.HasPassword != d.HasPassword || len(c.Password) != d.PasswordSize ||
			(c.Will == nil) != (d.Will == nil) || c.Will != nil && c.Will.Topic != string(d.Will.Topic) {
			t.Fatalf("%+v, the decoder reads %+v", d, c)
		}
	case wire.SUBSCRIBE:
		s, err := wire.DecodeSubscribe(f, v)
		if err != nil || len(s.Filters) != len(d.Filters) || s.Filters[0] != d.Filters[0] || s.PacketID != d.PacketID {
			t.Fatalf("%+v, the decoder reads %+v, %v", d, s, err)
		}
	}
	return d
}

func TestDissectSamples(t *testing.T) {
	for _, s := range samples() {
		f := scan(t, s.raw)
		for _, server := range []bool{false, true} {
			checkDissection(t, f, s.v, server)
			for i := range s.raw { // any byte of it wrong
				if i == 0 {
					continue
				}
				for _, change := range []byte{0x01, 0x80, 0xFF} {
					raw := bytes.Clone(s.raw)
					raw[i] ^= change
					if bad, n, err := wire.Scan(raw, 0); err == nil && n > 0 {
						checkDissection(t, bad, s.v, server)
					}
				}
			}
		}
	}
}

func TestDissectSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		v   wire.Version
		raw []byte
		at  int
	}{
		"topic":             {wire.V311, []byte{0x30, 4, 0, 9, 'a', 'b'}, 2},
		"topic, large":      {wire.V311, append([]byte{0x30, 0x80, 2, 0, 3, 'a', '/', '#'}, make([]byte, 251)...), 3},
		"identifier":        {wire.V311, []byte{0x32, 5, 0, 1, 'a', 0, 0}, 5},
		"property":          {wire.V5, []byte{0x30, 8, 0, 1, 'a', 2, 0x24, 0, 'p', 'p'}, 6},
		"second property":   {wire.V5, []byte{0x30, 8, 0, 1, 'a', 4, 0x01, 0, 0x01, 0}, 8},
		"payload":           {wire.V5, []byte{0x30, 8, 0, 1, 'a', 2, 0x01, 1, 0xFF, 0xFE}, 8},
		"options":           {wire.V5, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x30}, 8},
		"missing filter":    {wire.V311, []byte{0x82, 2, 0, 1}, 4},
		"reason":            {wire.V5, []byte{0x40, 3, 0, 1, 0x04}, 4},
		"tail":              {wire.V311, []byte{0x40, 4, 0, 1, 0, 0}, 4},
		"connect flags":     {wire.V311, []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 1, 0, 0, 0, 0}, 9},
		"protocol name":     {wire.V311, []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'X', 4, 2, 0, 0, 0, 0}, 2},
		"cut password":      {wire.V311, []byte{0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 0xC2, 0, 0, 0, 0, 0, 0, 0, 9, 's'}, 16},
		"authentication":    {wire.V5, []byte{0xF0, 9, 0x18, 7, 0x15, 0, 1, 'm', 0x16, 0, 9}, 8},
		"where is not told": {wire.V31, []byte{0x10, 14, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 0, 0, 0}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			if d := checkDissection(t, scan(t, c.raw), c.v, false); d.Err == nil || d.At != c.at {
				t.Errorf("%v at %d, want %d", d.Err, d.At, c.at)
			}
		})
	}
}

// FuzzDissect holds dissections against the decoders.
func FuzzDissect(f *testing.F) {
	f.Add(byte(wire.V5), false, []byte{})
	for _, s := range samples() {
		f.Add(byte(s.v), true, s.raw)
		f.Add(byte(s.v), false, s.raw)
	}
	f.Fuzz(func(t *testing.T, version byte, server bool, raw []byte) {
		v := versions[int(version)%len(versions)]
		for packet := range wire.Frames(raw) {
			fr, _, err := wire.Scan(packet, 0)
			if err != nil {
				t.Fatal(err)
			}
			checkDissection(t, fr, v, server)
		}
		wire.Dissect(raw, v, server) // whatever it is, it must not panic
	})
}
