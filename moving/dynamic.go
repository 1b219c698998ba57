package moving

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/moving/mosquitto"
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

// dynamic is the users and roles of the plugin for dynamic security.
type dynamic struct {
	*mosquitto.Dynamic
	users    []*userLine
	outcomes map[*mosquitto.DynamicACL]*Outcome
	roles    map[string]*mosquitto.DynamicRole
	closed   *Outcome // the entry of the file
}

// readDynamic reads what mosquitto's own plugin keeps, where it alone decides.
func (c *conversion) readDynamic() {
	c.dynamics = map[*security]*dynamic{}
	list := c.parts()
	if !c.perEach {
		list = []*security{&c.global}
	}
	for _, at := range list {
		if len(at.plugins) != 1 || at.acl != nil || c.perEach && len(c.global.plugins) > 0 {
			continue
		}
		p := at.plugins[0]
		file := p.options["config_file"]
		if !strings.HasPrefix(filepath.Base(p.Value), "mosquitto_dynamic_security.") || file == nil {
			continue
		}
		data, err := mosquitto.ReadFile(c.absolute(file))
		if err != nil {
			file.lost("cannot be read, so that nobody gets in: " + err.Error())
			continue
		}
		parsed, err := mosquitto.ParseDynamic(data)
		if err != nil {
			file.lost(err.Error())
			continue
		}
		p.entry.Security = false
		p.says(Changed, RulesName, "users, roles and groups are in files now; edgebroker users and acl take the place of mosquitto_ctrl")
		c.copied(file, RulesName, "reading goes by what may be subscribed to and by what may be received")
		c.dynamics[at] = newDynamic(parsed, file, c.absolute(file))
	}
}

// parts are the security of each listener.
func (c *conversion) parts() (list []*security) {
	for _, l := range c.listen {
		list = append(list, &l.security)
	}
	return list
}

func newDynamic(parsed *mosquitto.Dynamic, file *setting, path string) *dynamic {
	d := &dynamic{Dynamic: parsed, outcomes: map[*mosquitto.DynamicACL]*Outcome{}, roles: map[string]*mosquitto.DynamicRole{}, closed: file.entry}
	tell := func(setting string) *Outcome {
		o := &Outcome{File: path, Setting: setting, Verdict: Converted}
		file.below = append(file.below, o)
		return o
	}
	for i := range d.Clients {
		u := &d.Clients[i]
		o := tell("user " + u.Username)
		o.To = UsersName
		err := (&auth.PasswordEdit{}).Add(u.Username, u.Hash(), nil)
		switch {
		case u.Disabled:
			o.Verdict, o.To, o.Note = NotNeeded, "", "is disabled"
		case u.Hash() == "":
			o.Verdict, o.To, o.Note = NotNeeded, "", "has no password, so that mosquitto lets nobody in by this name"
		case err != nil:
			o.Verdict, o.To, o.Note, o.Security = Impossible, "", err.Error()+"; edgebroker users add sets a password anew", true
		default:
			if u.ClientID != nil {
				o.Verdict, o.Note = Changed, "may connect with other client identifiers, but does nothing then"
			}
			d.users = append(d.users, &userLine{u.Username, u.Hash(), o})
		}
	}
	for i := range d.Roles {
		r := &d.Roles[i]
		d.roles[r.Name] = r
		for j := range r.ACLs {
			a := &r.ACLs[j]
			o := tell(fmt.Sprintf("role %s: %s %s %s", r.Name, map[bool]string{true: "allow", false: "deny"}[a.Allow], a.Type, a.Topic))
			o.Verdict, o.Note = NotNeeded, "nobody has this role"
			d.outcomes[a] = o
		}
	}
	return d
}

func (c *conversion) dynamicUsers() (list []*userLine) {
	for _, at := range append([]*security{&c.global}, c.parts()...) {
		if d := c.dynamics[at]; d != nil {
			list = append(list, d.users...)
		}
	}
	return list
}

// acls are the rules of roles, in the order in which they are asked. Of those
// that are asked at the same time, those that deny come first.
func (d *dynamic) acls(refs []mosquitto.RoleRef) (list []*mosquitto.DynamicACL) {
	type ranked struct {
		role int
		*mosquitto.DynamicACL
	}
	var all []ranked
	for _, r := range refs {
		if role := d.roles[r.Name]; role != nil {
			for i := range role.ACLs {
				all = append(all, ranked{r.Priority, &role.ACLs[i]})
			}
		}
	}
	denies := map[bool]int{true: 1}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.role, a.role), cmp.Compare(b.Priority, a.Priority), cmp.Compare(denies[a.Allow], denies[b.Allow]))
	})
	for _, a := range all {
		list = append(list, a.DynamicACL)
	}
	return list
}

// of are the rules of one user, those of groups after the user's own.
func (d *dynamic) of(u *mosquitto.DynamicClient) []*mosquitto.DynamicACL {
	type member struct {
		priority int
		roles    []mosquitto.RoleRef
	}
	var groups []member
	for _, g := range d.Groups {
		for _, c := range g.Clients {
			if c.Username == u.Username {
				groups = append(groups, member{c.Priority, g.Roles})
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b member) int { return cmp.Compare(b.priority, a.priority) })
	list := d.acls(u.Roles)
	for len(groups) > 0 { // groups of the same priority are asked as one
		n := 1
		for n < len(groups) && groups[n].priority == groups[0].priority {
			n++
		}
		var refs []mosquitto.RoleRef
		for _, g := range groups[:n] {
			refs = append(refs, g.roles...)
		}
		list, groups = append(list, d.acls(refs)...), groups[n:]
	}
	return list
}

// rules makes rules of all of it, which allow what the plugin does, or less.
func (d *dynamic) rules(sc scope) (rules []acl.Rule) {
	for i := range d.Clients {
		u := &d.Clients[i]
		if !slices.ContainsFunc(d.users, func(l *userLine) bool { return l.name == u.Username }) {
			continue
		}
		who := acl.Rule{User: acl.Literal(u.Username), Listener: sc.listenerPattern()}
		if only := u.ClientID; only != nil {
			if *only == "" || !acceptable(*only) || !strings.HasPrefix(*only, sc.prefix) {
				continue // there is no such client: it may do nothing
			}
			who.Client = acl.Literal(*only)
		} else if sc.prefix != "" {
			who.Client = acl.Literal(sc.prefix) + "*"
		}
		rules = append(rules, d.rulesFor(d.of(u), who, sc)...)
	}
	var refs []mosquitto.RoleRef
	for _, g := range d.Groups {
		if g.Name == d.Anonymous && d.Anonymous != "" {
			refs = append(refs, g.Roles...)
		}
	}
	who := acl.Rule{Listener: sc.listenerPattern()}
	if sc.prefix != "" {
		who.Client = acl.Literal(sc.prefix) + "*"
	}
	nameless := d.rulesFor(d.acls(refs), who, sc)
	rules = append(rules, sc.nothing(acl.Rule{User: "*"}, everything([]made{{rule: acl.Rule{Filters: topics(nameless)}}}))...)
	return append(rules, nameless...)
}

// rulesFor makes rules for whom who is for, which has no topics yet.
//
// What is received has been subscribed to, and both are judged there. Here
// reading is judged by topic: what list denies to receive comes first, then what
// it says of subscriptions, each taken for all topics of it. A topic that is
// allowed so could be subscribed to by itself there.
func (d *dynamic) rulesFor(list []*mosquitto.DynamicACL, who acl.Rule, sc scope) (rules []acl.Rule) {
	var publish, deny, read []acl.Rule
	for _, a := range list {
		o := d.outcomes[a]
		switch a.Type {
		case "publishClientSend":
			publish = append(publish, d.rule(a, who, acl.Publish, sc, o)...)
		case "publishClientReceive":
			if a.Allow && d.Defaults.Receive {
				o.Verdict, o.To, o.Note = Changed, "", "is allowed anyway; but it is no exception from what is denied there"
				continue
			} else if a.Allow {
				continue // see below
			}
			deny = append(deny, d.rule(a, who, acl.Subscribe, sc, o)...)
		case "subscribeLiteral", "subscribePattern":
			read = append(read, d.rule(a, who, acl.Subscribe, sc, o)...)
			if !a.Allow && o.Verdict == Converted {
				o.Verdict, o.Note = Changed, "counts for each topic, also of wider subscriptions"
			}
		case "unsubscribeLiteral", "unsubscribePattern":
			o.Verdict, o.Note = NotNeeded, "whoever is subscribed may unsubscribe"
		default:
			o.Verdict, o.Note, o.Security = Impossible, "is no type of rule that is known here", true
		}
	}
	if d.Defaults.Send {
		publish = append(publish, with(who, true, acl.Publish, "#"))
	}
	if d.Defaults.Subscribe {
		read = append(read, with(who, true, acl.Subscribe, "#", "$SYS/#"))
	}
	if !d.Defaults.Receive && len(read) > 0 {
		d.closed.Verdict, d.closed.Security = Impossible, true
		d.closed.Note = "where nothing is received by default (publishClientReceive), nobody may read; write rules for that"
		read = nil
	}
	return slices.Concat(publish, deny, read)
}

func with(who acl.Rule, allow bool, action acl.Action, filters ...string) acl.Rule {
	who.Allow, who.Action, who.Filters = allow, action, filters
	if !allow {
		who.Client = "" // for any
	}
	return who
}

// rule is that of a, none if it allows what cannot be said here.
func (d *dynamic) rule(a *mosquitto.DynamicACL, who acl.Rule, action acl.Action, sc scope, o *Outcome) []acl.Rule {
	o.Verdict, o.To, o.Note = Converted, RulesName, ""
	refuse := func(note string, security bool) []acl.Rule {
		o.Verdict, o.To, o.Note, o.Security = Impossible, "", note, security
		return nil
	}
	if a.Topic == "$CONTROL" || strings.HasPrefix(a.Topic, "$CONTROL/") || strings.HasPrefix(a.Topic, "$share/") {
		o.Verdict, o.To, o.Note = NotNeeded, "", "there are no such topics"
		return nil
	}
	if action == acl.Publish && strings.HasPrefix(a.Topic, "$") {
		o.Verdict, o.To, o.Note = NotNeeded, "", "clients cannot publish to topics that begin with $"
		return nil
	}
	literal := with(who, a.Allow, action, literalTopic(a.Topic))
	var m made
	text, partial := sc.pattern(a.Topic, &m)
	named := with(who, a.Allow, action, text)
	list := []acl.Rule{literal}
	switch {
	case !m.user && !m.client:
	case a.Allow && (sc.version == Unknown || partial):
		return refuse("since 2.1 %u and %c stand for names; say with --mosquitto which version this is for, and give names a level of their own", true)
	case a.Allow && sc.version == V21:
		list = []acl.Rule{named}
	case !a.Allow:
		list = []acl.Rule{literal, named}
	}
	for i := range list {
		if sound(&list[i]) {
			continue
		}
		if a.Allow {
			return refuse("cannot be written as a rule, so that it allows nothing", true)
		}
		list[i].Filters = []string{"#"}
		if first, _, _ := strings.Cut(a.Topic, "/"); strings.HasPrefix(first, "$") {
			list[i].Filters = []string{literalTopic(first) + "/#"}
		}
		if !sound(&list[i]) {
			list[i].Filters = []string{"#"}
		}
		o.Verdict, o.Note, o.Security = Changed, "denies more: the topic has characters, or more levels, that no rule may have", true
	}
	return list
}
