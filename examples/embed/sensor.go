package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// patience bounds each step of the sensor's.
const patience = 10 * time.Second

// simulate is a day of sensor-1, and a stranger who tries to come in. It is here
// for the show: a program of yours has real sensors.
func simulate(ctx context.Context, c *controller, keys tokens) error {
	address := "tcp://" + c.broker.Addr("sensors")
	options := func(name, password string) *mqtt.ClientOptions {
		return mqtt.NewClientOptions().AddBroker(address).SetClientID(name).SetUsername(name).SetPassword(password).
			SetProtocolVersion(4).SetConnectTimeout(patience).SetAutoReconnect(false)
	}
	stranger := mqtt.NewClient(options("stranger", "let me in"))
	if err := done(ctx, stranger.Connect()); err == nil {
		stranger.Disconnect(0)
		return errors.New("the stranger was let in")
	}
	told := make(chan string, 10)
	sensor := mqtt.NewClient(options("sensor-1", keys.of("sensor-1")))
	if err := done(ctx, sensor.Connect()); err != nil {
		return fmt.Errorf("connect sensor-1: %w", err)
	}
	defer sensor.Disconnect(250) // milliseconds, for what is on its way; a second one does nothing
	if err := done(ctx, sensor.Subscribe("greenhouse/sensor-1/window", 1, func(_ mqtt.Client, m mqtt.Message) { told <- string(m.Payload()) })); err != nil {
		return fmt.Errorf("subscribe sensor-1: %w", err)
	}
	for _, degrees := range []string{"21.5", "29.0", "26.5"} {
		if err := done(ctx, sensor.Publish("greenhouse/sensor-1/temperature", 1, false, degrees)); err != nil {
			return fmt.Errorf("publish a temperature: %w", err)
		}
		select {
		case window := <-told:
			c.say("sensor-1 hears: window %s", window)
		case <-time.After(patience):
			return errors.New("sensor-1 was told nothing")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// It may not speak for others. MQTT 3.1.1 has no way to say so; MQTT 5 has.
	if err := done(ctx, sensor.Publish("greenhouse/sensor-2/temperature", 0, false, "99")); err != nil {
		return err
	}
	sensor.Disconnect(250)
	select {
	case <-c.gone:
		return nil
	case <-time.After(patience):
		return errors.New("the broker has not noticed that sensor-1 left")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// done waits for what paho does.
func done(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-time.After(patience):
		return errors.New("no answer from the broker")
	case <-ctx.Done():
		return ctx.Err()
	}
}
