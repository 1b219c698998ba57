package appliance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
)

// exampleConfig is that of a broker on any free port.
func exampleConfig() appliance.Config {
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	return cfg
}

func Example() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("clients:", b.Stats().ClientCount)
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: clients: 0
}

// Monitoring events: who comes and goes, and what happens in the application
// whose messages pass.
func Example_monitoringEvents() {
	server, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := server.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("server started")

	// Handlers run on goroutines of their own. This example waits for each, so
	// that its output has an order.
	line := make(chan string)
	var all []events.Type

	// Listen to all events
	unsubscribe := server.On("*", func(e events.Event) {
		if all = append(all, e.Type); e.Type == events.Disconnection {
			line <- fmt.Sprint("all events: ", all)
		}
	})
	// Listen to clients that connect
	server.On("connection", func(e events.Event) {
		c := e.Data.(events.ConnectionData)
		line <- fmt.Sprintf("client connected: %s, MQTT %s", c.ClientID, c.Protocol)
	})
	// Listen to clients that disconnect
	server.On("disconnection", func(e events.Event) {
		c := e.Data.(events.DisconnectionData)
		line <- fmt.Sprintf("client disconnected: %s, %s, %d message", c.ClientID, c.Reason, c.Received)
	})
	// Listen to an event of the application
	server.On("users.created", func(e events.Event) {
		var user struct{ Name string }
		if err := json.Unmarshal(e.Data.(json.RawMessage), &user); err != nil {
			log.Fatal(err)
		}
		line <- fmt.Sprintf("user created: %s, event %s of %s at %s", user.Name, e.ID, e.Source, e.Time.Format(time.DateOnly))
	})

	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + server.Addr("local")).SetClientID("app-1").SetProtocolVersion(4))
	wait(client.Connect())
	fmt.Println(<-line)
	wait(client.Publish("users", 1, false, `{"type":"users.created","id":"1","source":"app","timestamp":"2026-03-01T12:00:00Z","data":{"name":"Ann"}}`))
	fmt.Println(<-line)

	stats := server.Stats()
	fmt.Println("clients:", stats.ClientCount)
	fmt.Println("messages:", stats.MessageCount)

	client.Disconnect(250)
	first, second := <-line, <-line // of two handlers, in any order
	fmt.Println(min(first, second))
	fmt.Println(max(first, second))

	unsubscribe()
	if err := server.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("server stopped")
	// Output:
	// server started
	// client connected: app-1, MQTT 3.1.1
	// user created: Ann, event 1 of app at 2026-03-01
	// clients: 1
	// messages: 1
	// all events: [connection message drop disconnection]
	// client disconnected: app-1, normal, 1 message
	// server stopped
}

func wait(t mqtt.Token) {
	if t.Wait(); t.Error() != nil {
		log.Fatal(t.Error())
	}
}

func ExampleBroker_OnTopic() {
	b, err := appliance.New(exampleConfig(), appliance.WithoutControl())
	if err != nil {
		log.Fatal(err)
	}
	got := make(chan string)
	if _, err := b.OnTopic("plant/+/temp", func(e events.Event) {
		m := e.Data.(events.MessageData)
		got <- fmt.Sprintf("%s is %s", m.Topic, m.Payload)
	}); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	for _, m := range []appliance.Message{
		{Topic: "plant/3/humidity", Payload: []byte("40")},
		{Topic: "plant/7/temp", Payload: []byte("21.5"), QoS: 1, Retain: true},
	} {
		if err := b.Publish(ctx, m); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(<-got)
	fmt.Println("retained:", b.Stats().Retained.Messages)
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// plant/7/temp is 21.5
	// retained: 1
}
