package appliance_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
)

// connectAs connects a client, which logs in if it has a password.
func connectAs(b *appliance.Broker, name, password string) (mqtt.Client, error) {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.Addr("local")).SetClientID(name).SetProtocolVersion(4)
	if password != "" {
		o.SetUsername(name).SetPassword(password)
	}
	c := mqtt.NewClient(o)
	t := c.Connect()
	t.Wait()
	return c, t.Error()
}

// A broker whose state survives, made of a configuration in Go. LoadConfig reads
// one from a file.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{{Name: "plant", Address: "127.0.0.1:0"}}
	cfg.Storage.Directory = filepath.Join(dir, "data")
	cfg.Storage.MaxBytes = 256 * appliance.MiB

	ctx := context.Background()
	for range 2 { // a Broker is used once; the second goes on with the folder
		b, err := appliance.New(cfg, appliance.WithoutControl())
		if err != nil {
			log.Fatal(err)
		}
		if err := b.Start(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println("retained messages:", b.Stats().Retained.Messages)
		if err := b.Publish(ctx, appliance.Message{Topic: "plant/state", Payload: []byte("running"), QoS: 1, Retain: true}); err != nil {
			log.Fatal(err)
		}
		if err := b.Stop(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// retained messages: 0
	// retained messages: 1
}

// Errors of a configuration say all that is wrong with it.
func ExampleNew_mistakes() {
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "1883"
	cfg.Storage.Directory = "data"
	_, err := appliance.New(cfg)
	fmt.Println(err)
	// Output:
	// listeners[0].address: "1883" is not host:port; write it like 127.0.0.1:1883 or "[::1]:1883"
	// storage.directory: "data" is not an absolute path; write the path of the folder from / on
}

// Run is Start, a wait, and Stop.
func ExampleBroker_Run() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.On("system", func(e events.Event) {
		what := e.Data.(events.SystemData).What
		fmt.Println(what)
		if what == "started" {
			cancel() // a program waits for a signal instead
		}
	})
	fmt.Println(b.Run(ctx))
	// Output:
	// started
	// stopping
	// <nil>
}

func ExampleBroker_On() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	gone := make(chan events.DisconnectionData)
	unsubscribe := b.On("disconnection", func(e events.Event) { gone <- e.Data.(events.DisconnectionData) })
	defer unsubscribe()
	ctx := context.Background()
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	client, err := connectAs(b, "pump-7", "")
	if err != nil {
		log.Fatal(err)
	}
	wait(client.Publish("plant/pump-7/flow", 1, false, "41.3"))
	client.Disconnect(250)
	d := <-gone
	fmt.Printf("%s has left (%s) after %d message\n", d.ClientID, d.Reason, d.Received)
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: pump-7 has left (normal) after 1 message
}

func ExampleBroker_Stats() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	client, err := connectAs(b, "pump-7", "")
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		wait(client.Publish("plant/pump-7/flow", 1, false, "41.3"))
	}
	s := b.Stats()
	fmt.Println("clients:", s.ClientCount)
	fmt.Println("messages:", s.MessageCount)
	fmt.Println("received at QoS 1:", s.Received.QoS1)
	fmt.Println("nobody had subscribed:", s.Dropped.ByReason["no_subscribers"])
	fmt.Println("every message is accounted for:", b.Balance().Balanced)
	client.Disconnect(250)
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// clients: 1
	// messages: 3
	// received at QoS 1: 3
	// nobody had subscribed: 3
	// every message is accounted for: true
}

// The program itself says who clients are. What they may do is a matter of rules,
// which speak of the names and groups that it has answered with.
func ExampleWithAuthSource() {
	badges := map[string]string{"ann": "blue"}
	source := auth.SourceFunc(func(_ context.Context, a *appliance.AuthAttempt) (appliance.AuthIdentity, error) {
		if color, known := badges[a.Username]; !known || string(a.Password.Reveal()) != color {
			return appliance.AuthIdentity{}, auth.ErrRefused
		}
		return appliance.AuthIdentity{Name: a.Username, Groups: []string{"people"}, Source: "badge"}, nil
	})
	b, err := appliance.New(exampleConfig(), appliance.WithAuthSource(source), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	for _, badge := range []string{"red", "blue"} {
		client, err := connectAs(b, "ann", badge)
		if err != nil {
			fmt.Printf("ann with a %s badge is turned away\n", badge)
			continue
		}
		who, _ := b.Client("ann")
		fmt.Printf("ann with a %s badge is in, as %s\n", badge, who.Username)
		client.Disconnect(250)
	}
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ann with a red badge is turned away
	// ann with a blue badge is in, as ann
}

// What the state of a broker does not allow is an error that can be told apart.
func ExampleBroker_Publish() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	m := appliance.Message{Topic: "plant/order", Payload: []byte("start"), QoS: 1}
	ctx := context.Background()
	fmt.Println(errors.Is(b.Publish(ctx, m), appliance.ErrState))
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Publish(ctx, m))
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true
	// <nil>
}
