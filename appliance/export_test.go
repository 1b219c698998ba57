package appliance

// ServerClients is how many clients the embedded MQTT server believes it has.
func (b *Broker) ServerClients() int { return b.server.Clients.Len() }

// ParseBlockBytes reads what is in /proc/self/io.
func ParseBlockBytes(text []byte) uint64 { return parseBlockBytes(text) }
