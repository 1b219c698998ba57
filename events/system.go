package events

// The words of SystemData.What. docs/REFERENCE.md lists them by these comments.
const (
	SystemStarted        = "started"               // every listener is bound, and what was stored has been read
	SystemStopping       = "stopping"              // the broker stops
	SystemHandingOver    = "handing_over"          // another process takes over, see docs/UPGRADE.md
	SystemHandedOver     = "handed_over"           // this process has taken over; `detail` says how many clients
	SystemReloaded       = "reloaded"              // a changed configuration is in force, or changed files of users and rules
	SystemReloadFailed   = "reload_failed"         // it was not good, so nothing has changed; `detail` says what is wrong
	SystemClockSet       = "clock_set"             // somebody, or the network, has set the clock; `detail` says by how much: times before are off by that
	SystemHTTPUsers      = "http_users_reloaded"   // a changed file of users of the HTTP address is in force
	SystemLogLevel       = "log_level"             // somebody has changed what is logged
	SystemListenerLost   = "listener_lost"         // an address could not be bound again; nobody can connect there
	SystemStorageOK      = "storage_ok"            // the store takes messages again
	SystemStorageFull    = "storage_full"          // what would have to be stored is refused until there is room, see docs/DURABILITY.md
	SystemStorageFailed  = "storage_failed"        // the disk has failed; nothing is acknowledged until all is written anew
	SystemStorageDamaged = "storage_damaged"       // a place of the store could not be read at the start; what could be read was kept
	SystemStorageLost    = "storage_lost"          // so much of what was stored is lost by that
	SystemWriteBudget    = "write_budget_exceeded" // more has been written in this day than storage.daily_write_budget
	SystemMemoryCalm     = "memory_calm"           // there is enough memory again, see docs/MEMORY.md
	SystemMemoryGuarded  = "memory_guarded"        // memory gets short: few strangers at a time
	SystemMemoryShedding = "memory_shedding"       // shorter: QoS 0 is dropped for clients that do not keep up
	SystemMemorySevere   = "memory_severe"         // shortest: queues are cut or go to the disk, new retained topics are refused
	SystemCertReloaded   = "certificate_reloaded"  // changed certificates are in use for new connections
	SystemCertRejected   = "certificate_rejected"  // changed ones are not good; those before stay in use
	SystemCertExpiring   = "certificate_expiring"  // a certificate or revocation list ends soon
	SystemCertExpired    = "certificate_expired"   // it has ended
	SystemBridgeFailed   = "bridge_failed"         // an uplink could not be made as configured
	SystemBridgeRemoved  = "bridge_removed"        // an uplink is gone from the configuration, and what waited for it is dropped
	SystemRetainedClear  = "retained_cleared"      // somebody has cleared so many retained messages
	SystemEventsMissed   = "events_missed"         // only in a stream of events: its reader was too slow, or what it asks for is not recorded any more
)
