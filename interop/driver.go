package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// driver is a process that drives a library of another language. It reads one
// call per line and writes one answer to each, and, in between, what clients
// receive:
//
//	{"library": {"name": "MQTT.js 5", "versions": ["5"], "transports": ["tcp"], ...}}    once, first
//	> {"call": 1, "do": "connect", "client": "c1", "options": {...}}
//	< {"call": 1}
//	> {"call": 2, "do": "subscribe", "client": "c1", "id": 7, "filters": [{"filter": "a/#", "qos": 1}]}
//	< {"call": 2, "error": "connection lost"}
//	< {"client": "c1", "message": {"topic": "a/b", ...}}
//
// It ends when its standard input does.
type driver struct {
	library *Library
	process *exec.Cmd
	stdin   io.WriteCloser
	ended   chan struct{} // closed when the process writes no more

	mu      sync.Mutex // guards stdin and everything that follows
	last    int
	calls   map[int]chan answer
	clients map[string]chan Message
}

type call struct {
	Call     int       `json:"call"`
	Do       string    `json:"do"`
	Client   string    `json:"client"`
	Options  *Options  `json:"options,omitempty"`
	ID       int       `json:"id,omitempty"`
	Filters  []Filter  `json:"filters,omitempty"`
	Messages []Message `json:"messages,omitempty"`
}

type answer struct {
	Call    int      `json:"call"`
	Error   string   `json:"error"`
	Cannot  bool     `json:"cannot"` // the error is errCannot
	Present bool     `json:"present"`
	Client  string   `json:"client"`
	Message *Message `json:"message"`
	Library *struct {
		Name       string   `json:"name"`
		Versions   []string `json:"versions"`
		Transports []string `json:"transports"`
		SeveralIDs bool     `json:"severalIDs"`
	} `json:"library"`
}

// startTime bounds what a driver needs to load its library.
const startTime = 20 * time.Second

func startDriver(ctx context.Context, stderr io.Writer, program ...string) (*driver, error) {
	d := &driver{process: exec.CommandContext(ctx, program[0], program[1:]...), ended: make(chan struct{}),
		calls: map[int]chan answer{}, clients: map[string]chan Message{}}
	d.process.Stderr = stderr
	var err error
	if d.stdin, err = d.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	hello := make(chan answer, 1)
	d.calls[0] = hello
	go d.read(stdout)
	select {
	case a := <-hello:
		l := a.Library
		if l == nil {
			break
		}
		d.library = &Library{Name: l.Name, Versions: l.Versions, Transports: l.Transports, SeveralIDs: l.SeveralIDs, Open: d.open}
		return d, nil
	case <-d.ended:
	case <-time.After(startTime):
	}
	d.close()
	return nil, errors.New("the driver did not introduce itself; see its messages above")
}

func (d *driver) read(stdout io.Reader) {
	defer close(d.ended)
	for in := json.NewDecoder(stdout); ; {
		var a answer
		if err := in.Decode(&a); err != nil {
			return
		}
		d.mu.Lock()
		got, waiting := d.clients[a.Client], d.calls[a.Call]
		delete(d.calls, a.Call)
		d.mu.Unlock()
		if a.Message != nil {
			select {
			case got <- *a.Message:
			default: // far more than any case sends: the case has noticed
			}
		} else if waiting != nil {
			waiting <- a
		}
	}
}

func (d *driver) close() {
	d.mu.Lock()
	_ = d.stdin.Close()
	d.mu.Unlock()
	select {
	case <-d.ended:
	case <-time.After(3 * time.Second):
		_ = d.process.Process.Kill()
	}
	_ = d.process.Wait()
}

// do is one call. An answer that comes after ctx has ended goes nowhere.
func (d *driver) do(ctx context.Context, c call) (answer, error) {
	answered := make(chan answer, 1)
	d.mu.Lock()
	d.last++
	c.Call = d.last
	d.calls[c.Call] = answered
	err := json.NewEncoder(d.stdin).Encode(c)
	d.mu.Unlock()
	if err != nil {
		return answer{}, fmt.Errorf("write to driver: %w", err)
	}
	select {
	case a := <-answered:
		switch {
		case a.Cannot:
			return a, fmt.Errorf("%s: %w", a.Error, errCannot)
		case a.Error != "":
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-d.ended:
		return answer{}, errors.New("the driver has ended; see its messages")
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (d *driver) open(o Options) Client {
	c := &driverClient{driver: d, options: o, got: make(chan Message, received)}
	d.mu.Lock()
	d.clients[o.ID] = c.got
	d.mu.Unlock()
	return c
}

// driverClient is a client in the driver's process, known there by its id.
type driverClient struct {
	driver  *driver
	options Options
	got     chan Message
}

func (c *driverClient) Messages() <-chan Message { return c.got }

func (c *driverClient) call(ctx context.Context, what call) (answer, error) {
	what.Client = c.options.ID
	return c.driver.do(ctx, what)
}

func (c *driverClient) Connect(ctx context.Context) (bool, error) {
	a, err := c.call(ctx, call{Do: "connect", Options: &c.options})
	return a.Present, err
}

func (c *driverClient) Subscribe(ctx context.Context, id int, filters ...Filter) error {
	_, err := c.call(ctx, call{Do: "subscribe", ID: id, Filters: filters})
	return err
}

func (c *driverClient) Publish(ctx context.Context, messages ...Message) error {
	_, err := c.call(ctx, call{Do: "publish", Messages: messages})
	return err
}

func (c *driverClient) Disconnect(ctx context.Context) error {
	_, err := c.call(ctx, call{Do: "disconnect"})
	return err
}

func (c *driverClient) Kill(ctx context.Context) error {
	_, err := c.call(ctx, call{Do: "kill"})
	return err
}
