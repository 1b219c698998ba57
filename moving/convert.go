package moving

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/moving/mosquitto"
)

// Options say what is to be converted.
type Options struct {
	File    string  // mosquitto.conf
	Dir     string  // absolute: where mosquitto was started, for relative paths
	Out     string  // absolute: the folder in which the files will lie
	Data    string  // absolute: where edgebroker keeps its state, if mosquitto does so
	Host    string  // name of the machine, part of what its bridges are called
	Version Version // of mosquitto
}

// The names of the files that are made.
const (
	ConfigName = "edgebroker.yml"
	UsersName  = "users"
	RulesName  = "acl"
)

// File is one that has been made, not yet written.
type File struct {
	Name string
	Data []byte
}

// Result is what a configuration of mosquitto comes to.
type Result struct {
	Report Report
	Files  []File // the config first
	Config appliance.Config
}

// setting is a line, and its entry in the report.
type setting struct {
	mosquitto.Line
	entry *Outcome
	below []*Outcome // of the lines of a file that it names
}

// says sets the verdict of a line. The last one counts, but a line that somebody
// has to look at stays one.
func (s *setting) says(v Verdict, to, note string) {
	s.entry.Verdict, s.entry.To, s.entry.Note = v, to, note
}

// lost says that a line cannot be converted and bears on security.
func (s *setting) lost(note string) {
	s.says(Impossible, "", note)
	s.entry.Security = true
}

// conversion is one in progress.
type conversion struct {
	o        Options
	settings []*setting
	yml      doc
	listen   []*listener
	uplinks  []*uplink
	global   security // of all listeners, unless each has its own
	perEach  bool     // per_listener_settings
	prefix   string   // clientid_prefixes
	last     *plugin  // whose options follow
	dynamics map[*security]*dynamic
	rules    []acl.Rule
	secrets  []File
	bounds   bounds
	logging  logging

	persistence bool
	expiry      bool
}

// security is who gets in and may do what, of one listener or of all.
type security struct {
	passwords, acl, psk *setting
	anonymous           *setting
	plugins             []*plugin
}

// plugin is a program that mosquitto asks, and its options.
type plugin struct {
	*setting
	options map[string]*setting
}

// Convert reads what o says and converts it. It writes nothing. An error says
// that there is no result; what cannot be converted is no error but stands in
// the report.
func Convert(o Options) (*Result, error) {
	lines, err := mosquitto.ReadConf(o.File, o.Dir)
	if err != nil {
		return nil, err
	}
	c := &conversion{o: o}
	for _, l := range lines {
		c.settings = append(c.settings, &setting{Line: l, entry: &Outcome{File: l.File, Line: l.Number, Setting: shown(l)}})
	}
	c.read()
	if err := c.makeAccess(); err != nil {
		return nil, err
	}
	c.makeListeners()
	c.makeUplinks()
	c.makeBounds()
	c.makeLog()
	return c.result()
}

// read hands each line to what it is for.
func (c *conversion) read() {
	known := options()
	fallback := &listener{fallback: true}
	c.listen = []*listener{fallback}
	type place struct {
		*listener
		*uplink
	}
	reading, at, before := 0, place{listener: fallback}, place{}
	for _, s := range c.settings {
		if s.Reading != reading {
			// An included file begins with neither listener nor bridge; after it the
			// one that includes it goes on as before.
			if reading == 0 {
				before = at
			}
			at = place{listener: fallback}
			if s.Reading == 0 {
				at = before
			}
			reading = s.Reading
		}
		l, u := at.listener, at.uplink
		o, found := known[s.Name]
		if !found {
			o, found = prefixed(s.Name)
		}
		switch {
		case !found:
			if s.Value != "" {
				s.entry.Setting = s.Name + " ***" // it could be a secret
			}
			s.lost("is no setting of mosquitto that is known here, so nobody knows what it does")
		case s.Value == "":
			s.lost("has no value; mosquitto does not start with it")
		case s.Name == "listener":
			at.listener = c.newListener(s)
		case s.Name == "connection":
			at.uplink = c.newUplink(s)
		case o.note != "":
			s.says(o.verdict, "", o.note)
		case o.global != nil:
			o.global(c, s)
		case o.listener != nil:
			l.settings = append(l.settings, s)
			o.listener(c, l, s)
		case o.security != nil:
			at := &c.global
			if c.perEach {
				at = &l.security
			}
			o.security(c, at, s)
		case u == nil:
			s.lost("stands before any connection; mosquitto does not start with it")
		default:
			u.settings = append(u.settings, s)
			o.uplink(c, u, s)
		}
	}
}

// result puts together what has been made, and tries it.
func (c *conversion) result() (*Result, error) {
	r := &Result{}
	text := c.text()
	var err error
	r.Config, err = appliance.ParseConfig(ConfigName, text)
	if m := c.bounds.memory; err != nil && m != nil {
		m.says(Impossible, "", "the other bounds do not fit into it; memory: auto goes by the machine, and lowers those that are not set")
		c.yml.unset("memory")
		text = c.text()
		r.Config, err = appliance.ParseConfig(ConfigName, text)
	}
	r.Files = append([]File{{ConfigName, text}}, c.secrets...)
	for _, s := range c.settings {
		if s.entry.Verdict == "" {
			s.lost("was not converted")
		}
		r.Report = append(r.Report, *s.entry)
		for _, e := range s.below {
			if e.Verdict == "" {
				e.Verdict, e.Note = Impossible, "no listener is left for which it would count"
			}
			r.Report = append(r.Report, *e)
		}
	}
	r.Report = append(r.Report, c.defaults()...)
	if err != nil {
		err = fmt.Errorf("what was made is no valid configuration, so nothing is written: %w", err)
	}
	return r, err
}

// text is the config.
func (c *conversion) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by `edgebroker import mosquitto` of %q.\n# `edgebroker config example` explains every key.\n\n", c.o.File)
	c.yml.write(&b, "")
	return []byte(b.String())
}

// absolute is the path that a line of mosquitto.conf names.
func (c *conversion) absolute(s *setting) string {
	path := s.Value
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.o.Dir, path)
	}
	return filepath.Clean(path)
}

// copied says that what a line's file holds stands in another file now.
func (c *conversion) copied(s *setting, to, note string) {
	s.says(Converted, to, note)
	if !filepath.IsAbs(s.Value) {
		s.says(Changed, to, also(relative+c.o.Dir, note))
	}
}

const relative = "the path is relative to where mosquitto was started, which is taken to be "

// file says that a line's file stands at key now.
func (c *conversion) file(s *setting, key string) string {
	if filepath.IsAbs(s.Value) {
		s.says(Converted, key, "")
	} else {
		s.says(Changed, key, relative+c.o.Dir)
	}
	return c.absolute(s)
}

// shown is a line without what must not be seen.
func shown(l mosquitto.Line) string {
	value := l.Value
	secret := []string{"password", "remote_password", "local_password", "bridge_psk", "tls_engine_kpass_sha1"}
	if slices.Contains(secret, l.Name) || strings.HasPrefix(l.Name, "auth_opt_") || strings.HasPrefix(l.Name, "plugin_opt_") && l.Name != dynamicOption {
		value = "***"
	}
	return strings.TrimSpace(l.Name + " " + value)
}

// also is two notes in one.
func also(note, more string) string {
	if note == "" {
		return more
	}
	return note + "; " + more
}

// unused says why the settings of something that is left out have no verdict.
func unused(list []*setting, why string) {
	for _, s := range list {
		if s.entry.Verdict != Impossible {
			s.says(Impossible, "", why)
		}
	}
}

// oneName is a name made of parts that can stand where names have few
// characters, and is not taken.
func oneName(taken map[string]bool, parts ...string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || r == '.' || r == '-' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') {
			return r
		}
		return '-'
	}, strings.Join(parts, "-")), "-._")
	name = cmp.Or(name[:min(len(name), 50)], "unnamed")
	try := name
	for n := 2; taken[try]; n++ {
		try = fmt.Sprintf("%s-%d", name, n)
	}
	taken[try] = true
	return try
}

// errTooMuch is what rules or users beyond what a file may hold come to.
var errTooMuch = errors.New("too much for one file")
