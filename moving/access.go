package moving

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/moving/mosquitto"
)

// set reports whether a line has said anything.
func (s *security) set() bool {
	return s.passwords != nil || s.acl != nil || s.psk != nil || s.anonymous != nil || len(s.plugins) > 0
}

func once(at **setting, s *setting) {
	if *at != nil {
		s.lost("is there twice; mosquitto does not start with it")
		return
	}
	*at = s
}

func (c *conversion) aclFile(at *security, s *setting)      { once(&at.acl, s) }
func (c *conversion) passwordFile(at *security, s *setting) { once(&at.passwords, s) }

func (c *conversion) pskFile(at *security, s *setting) {
	at.psk = s
	s.lost("there are no pre-shared keys; give the devices certificates (edgebroker device add --cert), or passwords over TLS")
}

func (c *conversion) allowAnonymous(at *security, s *setting) {
	if _, ok := truth(s); ok {
		at.anonymous = s
		s.says(Converted, "listeners", "")
	}
}

func (c *conversion) listenerAnonymous(l *listener, s *setting) {
	if _, ok := truth(s); ok {
		l.anonymous = s
		s.says(Converted, "listeners", "")
	}
}

// securityOf is what counts for a listener.
func (c *conversion) securityOf(l *listener) *security {
	if c.perEach {
		return &l.security
	}
	return &c.global
}

// anonymousAt reports whether clients without a user name come in at l.
func (c *conversion) anonymousAt(l *listener) bool {
	s := c.securityOf(l)
	said := cmp.Or(l.anonymous, s.anonymous)
	switch {
	case l.nameAsID:
		return false
	case said != nil:
		return said.Word() == "true" || said.Word() == "1"
	case l.fallback && !l.bound && len(c.listen) == 1, c.o.Version == V1:
		return s.passwords == nil && s.acl == nil && s.psk == nil && len(s.plugins) == 0
	}
	return false
}

// userFile is a file of passwords, read.
type userFile struct {
	lines []*userLine
	names map[string]bool
}

type userLine struct {
	name, hash string
	entry      *Outcome
}

// makeAccess decides which listeners there will be, reads the files of
// passwords and rules, and makes those of edgebroker.
func (c *conversion) makeAccess() error {
	c.keepListeners()
	c.readDynamic()
	c.dropEmptyListeners()
	kept, files := c.kept(), c.readUsers()
	union, err := c.makeUsers(files, kept)
	if err != nil {
		return err
	}
	return c.makeRules(kept, files, union)
}

// dropEmptyListeners leaves out those by which mosquitto lets nobody in, where
// users of other listeners would come in.
func (c *conversion) dropEmptyListeners() {
	if !c.perEach || len(c.all(func(s *security) *setting { return s.passwords })) == 0 && len(c.dynamics) == 0 {
		return
	}
	for _, l := range c.listen {
		if s := &l.security; l.why == "" && s.passwords == nil && len(s.plugins) == 0 && l.identity == nil && !c.anonymousAt(l) {
			l.why, l.nobody = "mosquitto 2 lets nobody in there, without password_file and allow_anonymous", c.o.Version != Unknown
		}
	}
}

// readUsers reads all files of passwords, by the line that names them.
func (c *conversion) readUsers() map[*setting]*userFile {
	files := map[*setting]*userFile{}
	for _, s := range c.all(func(s *security) *setting { return s.passwords }) {
		f := &userFile{names: map[string]bool{}}
		files[s] = f
		path := c.absolute(s)
		data, err := mosquitto.ReadFile(path)
		if err != nil {
			s.lost("cannot be read, so that there are no users: " + err.Error())
			continue
		}
		c.copied(s, UsersName, "hashes stay as they are, so that passwords do; set new ones in time (edgebroker users passwd)")
		count := map[string]int{}
		lines := mosquitto.ParsePasswords(data)
		for _, l := range lines {
			count[l.User]++
		}
		for _, l := range lines {
			e := &Outcome{File: path, Line: l.Number, Setting: "user " + l.User, Verdict: Converted, To: UsersName}
			s.below = append(s.below, e)
			err := (&auth.PasswordEdit{}).Add(l.User, l.Hash, nil)
			switch {
			case l.Problem == "has no colon":
				e.Setting, e.Verdict, e.To, e.Note = "(a line)", NotNeeded, "", "has no colon; mosquitto passes over it"
			case l.Problem != "":
				e.Verdict, e.To, e.Note = Impossible, "", "mosquitto does not use it either: it "+l.Problem
			case count[l.User] > 1:
				e.Verdict, e.To, e.Note, e.Security = Impossible, "", "is there twice, and it is not known which one counts; keep one", true
			case err != nil:
				e.Verdict, e.To, e.Note, e.Security = Impossible, "", err.Error()+"; edgebroker users add sets a password anew", true
			default:
				if strings.ContainsAny(l.User, "+#/") || l.User[0] == '$' {
					e.Verdict, e.Note = Changed, "a name with + # or /, or that begins with $, fits no %u in rules"
				}
				f.lines, f.names[l.User] = append(f.lines, &userLine{l.User, l.Hash, e}), true
			}
		}
	}
	return files
}

// all are the lines that pick finds in the security of all listeners, each once.
func (c *conversion) all(pick func(*security) *setting) (list []*setting) {
	parts := []*security{&c.global}
	for _, l := range c.listen {
		parts = append(parts, &l.security)
	}
	for _, p := range parts {
		if s := pick(p); s != nil && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// makeUsers makes the file of users, of which there is one for all listeners.
func (c *conversion) makeUsers(files map[*setting]*userFile, kept []*listener) ([]string, error) {
	hashes := map[string]string{}
	clash := map[string]bool{}
	var names []string
	list := c.all(func(s *security) *setting { return s.passwords })
	for _, s := range list {
		for _, u := range files[s].lines {
			if old, found := hashes[u.name]; !found {
				names, hashes[u.name] = append(names, u.name), u.hash
			} else if old != u.hash {
				clash[u.name] = true
			}
		}
	}
	for _, f := range files {
		for _, u := range f.lines {
			if clash[u.name] {
				u.entry.Verdict, u.entry.To, u.entry.Security = Impossible, "", true
				u.entry.Note = "has another password on another listener, and there is one file of users for all; edgebroker users add sets one"
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return clash[n] })
	for _, u := range c.dynamicUsers() {
		if _, found := hashes[u.name]; found {
			u.entry.Verdict, u.entry.To, u.entry.Note, u.entry.Security = Impossible, "", "is in another file, too, which counts", true
			continue
		}
		names, hashes[u.name] = append(names, u.name), u.hash
	}
	needed := len(list) > 0 || len(kept) == 0 || len(c.dynamics) > 0
	for _, l := range kept {
		needed = needed || l.identity == nil && (c.identities(kept) || !c.anonymousAt(l))
	}
	if !needed {
		return nil, nil
	}
	var b bytes.Buffer
	b.WriteString("# users of edgebroker: name:hash or name:hash:group,group\n")
	if len(names) == 0 {
		b.WriteString("# no users: nobody gets in\n")
	}
	for _, n := range names {
		fmt.Fprintf(&b, "%s:%s\n", n, hashes[n])
	}
	if b.Len() > auth.MaxPasswordFile {
		return nil, fmt.Errorf("%d users: %w", len(names), errTooMuch)
	}
	c.secrets = append(c.secrets, File{UsersName, b.Bytes()})
	c.yml.set("access.passwords", filepath.Join(c.o.Out, UsersName))
	return names, nil
}

// identities reports whether certificates name the clients of a listener.
func (c *conversion) identities(kept []*listener) bool {
	return slices.ContainsFunc(kept, func(l *listener) bool { return l.identity != nil })
}

// makeRules makes the file of rules.
func (c *conversion) makeRules(kept []*listener, files map[*setting]*userFile, union []string) error {
	signIn := c.yml.get("access.passwords") != nil || c.identities(kept)
	apart, some := c.perEach, signIn || c.prefix != ""
	for _, l := range kept {
		s := c.securityOf(l)
		apart = apart || l.nameAsID
		some = some || s.acl != nil || len(s.plugins)+len(c.global.plugins) > 0
	}
	read := map[*setting][]mosquitto.ACLLine{}
	for _, s := range c.all(func(s *security) *setting { return s.acl }) {
		read[s] = c.readACL(s)
	}
	if !some {
		return nil
	}
	parts := kept
	if !apart && len(kept) > 0 {
		parts = kept[:1]
	}
	for _, l := range parts {
		sc := scope{prefix: c.prefix, version: c.o.Version, userIsClient: l.nameAsID}
		if apart {
			sc.listener = l.name
		}
		c.rulesAt(l, sc, read, files, union)
	}
	if len(c.rules) > acl.MaxRules {
		return fmt.Errorf("%d rules: %w", len(c.rules), errTooMuch)
	}
	text := []byte("# Who may do what: docs/ACL.md. The first rule that fits decides.\n" + acl.Format(c.rules))
	if _, err := acl.Parse(RulesName, text); err != nil {
		return fmt.Errorf("rules that were made: %w", err)
	}
	c.secrets = append(c.secrets, File{RulesName, text})
	c.yml.set("access.rules", []string{filepath.Join(c.o.Out, RulesName)})
	return nil
}

// rulesAt adds the rules of one listener, or of all.
func (c *conversion) rulesAt(l *listener, sc scope, read map[*setting][]mosquitto.ACLLine, files map[*setting]*userFile, union []string) {
	s := c.securityOf(l)
	var rules []acl.Rule
	switch {
	case s.acl != nil:
		var verdicts []verdictOf
		rules, verdicts = rulesOf(read[s.acl], sc)
		for i, v := range verdicts {
			if e := s.acl.below[i]; e.Verdict == "" || v.verdict != Converted {
				e.Verdict, e.Note = v.verdict, v.note
				e.Security = e.Security || v.security
			}
			if e := s.acl.below[i]; e.Verdict == Converted || e.Verdict == Changed {
				e.To = RulesName
			}
		}
	case c.dynamics[s] != nil:
		rules = c.dynamics[s].rules(sc)
	case len(s.plugins)+len(c.global.plugins) > 0: // who knows what they would have denied
	default:
		all := acl.Rule{Allow: true, Action: acl.All, Filters: []string{"#"}, Listener: sc.listenerPattern()}
		if sc.prefix != "" {
			all.Client = acl.Literal(sc.prefix) + "*"
		}
		sys := all
		sys.Action, sys.Filters = acl.Subscribe, []string{"$SYS/#"}
		rules = []acl.Rule{all, sys}
	}
	if s.passwords != nil && sc.listener != "" {
		all := everything([]made{{rule: acl.Rule{Filters: topics(rules)}}})
		for _, u := range union {
			if !files[s.passwords].names[u] {
				const some = "users of other listeners may connect here, and do nothing"
				if e := s.passwords.entry; !strings.HasSuffix(e.Note, some) {
					s.passwords.says(Changed, UsersName, also(e.Note, some))
				}
				c.rules = append(c.rules, sc.nothing(acl.Rule{User: acl.Literal(u)}, all)...)
			}
		}
	}
	c.rules = append(c.rules, rules...)
}

// topics are the filters of rules.
func topics(rules []acl.Rule) (list []string) {
	for _, r := range rules {
		list = append(list, r.Filters...)
	}
	return list
}

// readACL reads the file that a line names.
func (c *conversion) readACL(s *setting) []mosquitto.ACLLine {
	path := c.absolute(s)
	data, err := mosquitto.ReadFile(path)
	if err != nil {
		s.lost("cannot be read, so that nothing is allowed: " + err.Error())
		return nil
	}
	c.copied(s, RulesName, "a subscription of which nothing could ever come is refused")
	lines := mosquitto.ParseACL(data)
	for _, l := range lines {
		s.below = append(s.below, &Outcome{File: path, Line: l.Number, Setting: l.Text})
	}
	return lines
}
