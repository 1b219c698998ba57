package moving

import (
	"path/filepath"
	"strings"

	"github.com/synthetism/edgebroker/acl"
)

// dynamicOption is the setting that names the file of the plugin for dynamic
// security.
const dynamicOption = "plugin_opt_config_file"

func (c *conversion) addPlugin(at *security, s *setting) {
	p := &plugin{setting: s, options: map[string]*setting{}}
	at.plugins = append(at.plugins, p)
	c.last = p
	s.lost("plugins of mosquitto cannot run here, so nobody gets in by it and, without an acl_file, nothing is allowed; access.http asks a server of yours")
}

func (c *conversion) pluginOption(s *setting) {
	if c.last == nil {
		s.lost("stands before any plugin; mosquitto does not start with it")
		return
	}
	_, key, _ := strings.Cut(s.Name, "_opt_")
	c.last.options[key] = s
	s.says(NotNeeded, "", "is for the plugin")
}

// isDynamic reports whether p is mosquitto's own for dynamic security.
func (p *plugin) isDynamic() bool {
	return strings.HasPrefix(filepath.Base(p.Value), "mosquitto_dynamic_security.")
}

func (c *conversion) readPlugins() error { return nil }

func (c *conversion) dynamic(s *security) *plugin { return nil }

func (c *conversion) dynamicUsers() []*userLine { return nil }

func (c *conversion) dynamicGroups(user string) string { return "" }

func (c *conversion) dynamicRules(p *plugin, s scope) []acl.Rule { return nil }
