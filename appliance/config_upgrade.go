package appliance

import "time"

// UpgradeConfig is about the moment in which another process takes the broker's
// place, see docs/UPGRADE.md.
type UpgradeConfig struct {
	// Spread is over which time clients are disconnected that cannot be handed
	// over.
	Spread time.Duration `yaml:"spread"`
}

// maxSpread leaves time within TimeoutStopSec of the unit.
const maxSpread = 15 * time.Second

func defaultUpgrade() UpgradeConfig { return UpgradeConfig{Spread: 2 * time.Second} }

func (c UpgradeConfig) findings() []finding {
	return within[time.Duration]{"upgrade.spread", c.Spread, 0, maxSpread, false}.findings()
}
