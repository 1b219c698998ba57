package statsd

// Reloaded is what a reload has put in force or, if it was only tried, would.
type Reloaded struct {
	DryRun  bool     `json:"dryRun"`
	Changes []Change `json:"changes"` // of the configuration
	Users   int      `json:"users"`   // in the password file
	Rules   int      `json:"rules"`   // of access control
	People  int      `json:"people"`  // who may use the HTTP address

	// Affected is for how many connected clients something is different, and
	// Disconnected how many of these it has cost their connections. The first
	// MaxAffected of them are in Clients, those before the others.
	Affected     int              `json:"affected"`
	Disconnected int              `json:"disconnected"`
	Clients      []AffectedClient `json:"clients"`
}

// MaxAffected is the most clients that a Reloaded names.
const MaxAffected = 100

// Change is one key of the configuration that has another value.
type Change struct {
	Key    string `json:"key"`    // such as "limits.publish_rate" or "listeners[plant].address"
	From   string `json:"from"`   // "": it was not set, or is a listener that is new
	To     string `json:"to"`     // "": it is not set any more, or is a listener that is gone
	Effect string `json:"effect"` // when it counts; "": at once
}

// AffectedClient is a client for which a reload makes a difference.
type AffectedClient struct {
	ID           string `json:"id"`
	Why          string `json:"why"`
	Disconnected bool   `json:"disconnected"`
}
