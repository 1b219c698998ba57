package listen

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// toldWhatToDo is an AuthStep that lets in who says "done", refuses who says
// "no", and otherwise repeats what was said.
func toldWhatToDo(_ context.Context, data []byte) ([]byte, bool, error) {
	switch string(data) {
	case "done":
		return []byte("welcome"), true, nil
	case "no":
		return nil, false, errors.New("no")
	}
	return data, false, nil
}

func withAuth(data string) wire.Connect {
	con := v5("c")
	con.HasAuthMethod, con.AuthMethod, con.AuthData = true, "m", []byte(data)
	return con
}

func auth(r wire.Reason, data string) []byte {
	return wire.AppendAuth(nil, &wire.Auth{Reason: r, Method: "m", Data: []byte(data)})
}

// The server is told of an AUTH, but neither of its data nor of CONNECT's.
func TestConnAuthKeepsSecrets(t *testing.T) {
	for _, kind := range []string{TypeTCP, "pipe"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, Options{Limits: Limits{MaxUnauthenticatedBytes: 1000}}, &fakeServer{auth: toldWhatToDo})
			var c *client
			if kind != "pipe" {
				c = r.dial(r.listen(TypeTCP))
			} else {
				c = r.pipe()
			}
			c.send(connectFrame(withAuth("secret 1")))
			if f := c.frame(); !bytes.Equal(f.Raw, auth(wire.ContinueAuthentication, "secret 1")) {
				t.Fatalf("got %x", f.Raw)
			}
			if held := r.gate.unauthBytes.Load(); held != int64(len(connectFrame(withAuth("secret 1")))) {
				t.Errorf("%d bytes are on the books", held)
			}
			c.send(auth(wire.ContinueAuthentication, "done"))
			ack, err := wire.DecodeConnack(c.frame(), wire.V5)
			if err != nil || ack.AuthMethod != "m" || string(ack.AuthData) != "welcome" {
				t.Fatalf("%+v, %v", ack, err)
			}
			conn := r.conn()
			if held := r.gate.unauthBytes.Load(); held != 0 || conn.authData != nil {
				t.Errorf("%d bytes are still on the books", held)
			}
			c.send(auth(wire.ReAuthenticate, "secret 2"))
			if f := c.frame(); !bytes.Equal(f.Raw, auth(wire.ContinueAuthentication, "secret 2")) {
				t.Fatalf("got %x", f.Raw)
			}
			c.send(auth(wire.ContinueAuthentication, "no"))
			if got := c.disconnected(); got != wire.NotAuthorized {
				t.Errorf("disconnected with %v", got)
			}
			if e := r.end(); e.word != EndNotAuthorized {
				t.Errorf("ended with %q", e.word)
			}
			for _, line := range r.log.all() {
				for _, secret := range []string{"736563726574" /* secret */, "646f6e65" /* done */} {
					if bytes.Contains([]byte(line), []byte(secret)) {
						t.Errorf("the server saw %s", line)
					}
				}
			}
		})
	}
}

// The time for CONNECT is that for the exchange, from accept to CONNACK.
func TestConnAuthTimeout(t *testing.T) {
	const limit = 5 * time.Second
	for _, name := range []string{"silence", "drip", "round and round"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{Limits: Limits{ConnectTimeout: limit}}, &fakeServer{auth: toldWhatToDo})
				began := time.Now()
				c := r.pipe()
				time.Sleep(limit / 2) // before CONNECT
				c.send(connectFrame(withAuth("x")))
				c.frame()
				var doing sync.WaitGroup
				doing.Go(func() {
					long := auth(wire.ContinueAuthentication, "done and done and done")
					for err := error(nil); err == nil && name != "silence"; {
						time.Sleep(time.Second)
						if name == "drip" {
							_, err = c.Write(long[:1])
							long = long[1:]
							continue
						}
						if _, err = c.Write(auth(wire.ContinueAuthentication, "again")); err == nil {
							_, err = readFrame(c.br)
						}
					}
				})
				e := r.end()
				if d := time.Since(began); d != limit || e.word != EndSlowConnect || <-r.refused != RefusedSlowConnect {
					t.Errorf("ended with %q after %v", e.word, d)
				}
				if len(r.log.all()) != 1 {
					t.Errorf("the server saw %v", r.log.all())
				}
				c.Close()
				doing.Wait()
			})
		})
	}
}

// Once let in, a client may be silent for ever, in the midst of a
// re-authentication too.
func TestConnAuthDeadlineLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectTimeout: time.Second}}, &fakeServer{auth: toldWhatToDo})
		c := r.pipe()
		c.send(connectFrame(withAuth("x")))
		c.frame()
		c.send(auth(wire.ContinueAuthentication, "done"))
		c.frame()
		time.Sleep(time.Hour)
		c.send(auth(wire.ReAuthenticate, "x"))
		c.frame()
		time.Sleep(time.Hour)
		c.send(auth(wire.ContinueAuthentication, "done"))
		if f := c.frame(); !bytes.Equal(f.Raw, auth(wire.Success, "welcome")) {
			t.Errorf("got %x", f.Raw)
		}
		c.send(disconnect)
		if e := r.end(); e.word != EndNormal {
			t.Errorf("ended with %q", e.word)
		}
	})
}

// A step that thinks hears at once that its connection has ended.
func TestConnAuthStepEnds(t *testing.T) {
	for name, first := range map[string]string{"at first": "think", "again": "done"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				thinking := make(chan *Conn, 1)
				s := &fakeServer{}
				r := newRig(t, Options{}, s)
				var conn *Conn
				s.auth = func(ctx context.Context, data []byte) ([]byte, bool, error) {
					if string(data) != "think" {
						return toldWhatToDo(ctx, data)
					}
					thinking <- conn
					<-ctx.Done()
					return nil, true, nil
				}
				c := r.pipe2(func(nc *Conn) error { conn = nc; return s.establish("pipe", nc) })
				c.send(connectFrame(withAuth(first)))
				if first == "done" {
					c.frame()
					c.send(auth(wire.ReAuthenticate, "think"))
				}
				began := time.Now()
				(<-thinking).Kick(wire.ServerShuttingDown, EndServerShutdown)
				c.rest()
				if e := r.end(); e.word != EndServerShutdown || time.Since(began) != 0 {
					t.Errorf("ended with %q after %v", e.word, time.Since(began))
				}
			})
		})
	}
}
