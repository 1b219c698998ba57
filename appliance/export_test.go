package appliance

// ServerClients is how many clients the embedded MQTT server believes it has.
func (b *Broker) ServerClients() int { return b.server.Clients.Len() }
