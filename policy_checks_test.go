package edgebroker_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// arrows says which parts of this module each part may import. A part that is
// not listed is refused, so a new one is added here on purpose.
func arrows() map[string][]string {
	return map[string][]string{
		// The command line is also a client of the control socket, whose
		// protocol is statsd's, and speaks MQTT for pub, sub and bench. It reads
		// and copies stores that no broker has open.
		"cmd":       {"appliance", "handover", "rest", "certs", "statsd", "store", "journal", "systemd", "bench", "wire", "events", "auth", "acl", "doctor", "moving", "recorder", "top", "trace", "demo", "internal/configkeys", "internal/dial", "internal/manpage", "internal/screen", "memory"},
		"appliance": {"handover", "auth", "acl", "certs", "listen", "hooks", "relay", "store", "journal", "statsd", "web", "recorder", "trace", "sinks", "bridge", "systemd", "wire", "events", "memory", "rest", "hint", "internal/unixsocket", "internal/dial", "internal/post"},
		// examples show what a program of somebody else's can do.
		"examples": {"appliance", "auth", "events"},
		// demo runs brokers, and is their clients over sockets.
		"demo": {"appliance", "auth", "statsd", "events", "wire", "internal/link"},
		// top sees a broker by its control socket alone.
		"top": {"statsd", "events", "internal/screen"},
		// moving makes files that appliance, auth and acl read.
		"moving": {"appliance", "auth", "acl", "wire", "internal/atomicfile"},
		// doctor looks at what appliance is told, and at the machine.
		"doctor": {"appliance", "certs", "statsd"},
		// handover writes down what each part says it is in the middle of, and
		// carries that to another process; only appliance knows when.
		"handover": {"hooks", "listen", "relay", "auth", "wire"},
		// hooks binds what listen accepts to what relay keeps.
		"hooks":  {"auth", "acl", "listen", "relay", "wire", "events", "internal/peer"},
		"listen": {"wire", "events", "rest", "internal/peer", "internal/unixsocket"},
		"relay":  {"wire", "events", "rest"},
		"statsd": {"events", "recorder", "trace", "rest", "internal/unixsocket", "internal/post"},
		// trace knows packets; whoever has connections shows them to it.
		"trace": {"wire"},
		// web judges people, and answers what statsd does; its page is files.
		"web": {"auth", "statsd", "internal/peer"},
		// recorder keeps events; whoever has them hands them in.
		"recorder": {"events"},
		// sinks hand events on; where MQTT is needed, it is handed in.
		"sinks": {"events", "systemd", "internal/post"},
		// bridge is a client of relay, as hooks makes devices be.
		"bridge": {"relay", "wire", "events"},
		// bench loads any broker over the network, so it knows only the wire.
		"bench": {"wire", "internal/dial"},
		// auth knows who somebody is, and nothing of what they then do.
		"auth": {"internal/atomicfile", "internal/peer"},
		// store puts relay's changes into the journal's records.
		"store":   {"relay", "journal", "rest", "wire"},
		"journal": {},
		// acl judges topics by names; whoever has both asks it.
		"acl":    {"wire", "internal/atomicfile"},
		"memory": {"rest"},
		"certs":  {"rest"},
		"rest":   {},
		// hint knows files, not who looks at them when, nor why.
		"hint":    {},
		"systemd": {},
		"wire":    {},
		"events":  {},
		".":       {},

		"e2e":                  {},
		"interop":              {},                // sees the broker as its clients do
		"scripts":              {"wire", "bench"}, // what edgebroker is compared with
		"internal/atomicfile":  {},
		"internal/certtest":    {}, // for tests alone
		"internal/child":       {},
		"internal/dial":        {},
		"internal/faultdisk":   {"journal"},
		"internal/link":        {"wire", "internal/dial"},
		"internal/generated":   {},
		"internal/growth":      {}, // reads what go test prints
		"internal/manpage":     {},
		"internal/peer":        {},
		"internal/post":        {},
		"internal/sbom":        {}, // reads the modules in a binary, and their licences
		"internal/screen":      {},
		"internal/unixsocket":  {},
		"internal/brokertest":  {"appliance", "statsd", "wire", "events", "internal/dial"},
		"internal/schema":      {},
		"internal/schematest":  {},                                                                            // for tests alone
		"internal/apidoc":      {"statsd", "web", "events", "trace", "internal/schema", "internal/generated"}, // reads the comments of these, too
		"internal/configkeys":  {},
		"internal/reference":   {"appliance", "statsd", "relay", "internal/configkeys", "internal/generated"}, // and reads the source of cmd, events and listen
		"internal/conformance": {"internal/generated"},                                                        // reads the source of all others
		"internal/lab":         {"wire", "internal/brokertest"},                                               // sees a gateway as its devices do
		"internal/torture":     {"wire", "internal/dial", "internal/link", "internal/child"},                  // sees the broker as its clients do
		"internal/flood":       {"wire", "internal/link", "internal/child"},                                   // likewise
		"internal/many":        {"wire", "internal/dial", "internal/child"},                                   // likewise
		"internal/outage":      {"wire", "internal/dial", "internal/link", "internal/child"},                  // likewise
	}
}

// imported is one import of a file.
type imported struct {
	path string
	pos  token.Pos
}

func (f *sourceFile) imports() []imported {
	var out []imported
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out = append(out, imported{p, spec.Pos()})
		}
	}
	return out
}

// within reports whether import path p is root or lies below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func checkArrows(t tree) (found []violation) {
	allowed := arrows()
	unlisted := map[string]bool{}
	for _, f := range t.goFiles() {
		targets, known := allowed[f.part()]
		if !known && !f.isTest() {
			if !unlisted[f.part()] {
				found = append(found, violation{f.part(), 0, "has no arrows; list what it may import"})
			}
			unlisted[f.part()] = true
			continue
		}
		for _, imp := range f.imports() {
			if !within(imp.path, module) {
				continue
			}
			target := partOf(strings.TrimPrefix(strings.TrimPrefix(imp.path, module), "/"))
			switch {
			case target == f.part():
			case target == "cmd":
				found = append(found, f.at(imp.pos, "imports a command"))
			case !f.isTest() && target != "internal/brokertest" && !slices.Contains(targets, target):
				found = append(found, f.at(imp.pos, "%s must not import %s", f.part(), target))
			}
		}
	}
	return found
}

func checkOnlyIn(root string, parts ...string) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, f := range t.goFiles() {
			for _, imp := range f.imports() {
				if within(imp.path, root) && !slices.Contains(parts, f.part()) {
					found = append(found, f.at(imp.pos, "%s must not import %s", f.part(), imp.path))
				}
			}
		}
		return found
	}
}

func checkNowhere(roots ...string) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, root := range roots {
			found = append(found, checkOnlyIn(root)(t)...)
		}
		return found
	}
}

func checkStdOnly(parts ...string) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, f := range t.goFiles() {
			if f.isTest() || !slices.Contains(parts, f.part()) {
				continue
			}
			for _, imp := range f.imports() {
				host, _, _ := strings.Cut(imp.path, "/")
				if strings.Contains(host, ".") && !within(imp.path, module) {
					found = append(found, f.at(imp.pos, "%s imports %s", f.part(), imp.path))
				}
			}
		}
		return found
	}
}

// checkModules allows a part to import the standard library, this module and
// the modules named, and nobody else those of them that are its own.
func checkModules(part string, own []string, also ...string) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, f := range t.goFiles() {
			for _, imp := range f.imports() {
				host, _, _ := strings.Cut(imp.path, "/")
				allowed := !strings.Contains(host, ".") || within(imp.path, module)
				isOwn := slices.ContainsFunc(own, func(m string) bool { return within(imp.path, m) })
				allowed = allowed || isOwn || slices.ContainsFunc(also, func(m string) bool { return within(imp.path, m) })
				switch {
				case f.part() == part && !allowed && !f.isTest():
					found = append(found, f.at(imp.pos, "%s imports %s", part, imp.path))
				case f.part() != part && isOwn:
					found = append(found, f.at(imp.pos, "%s imports %s, which is for %s alone", f.part(), imp.path, part))
				}
			}
		}
		return found
	}
}

func checkBrokertest(t tree) (found []violation) {
	const part = "internal/brokertest"
	for _, f := range t.goFiles() {
		for _, imp := range f.imports() {
			if within(imp.path, module+"/"+part) && !f.isTest() && f.part() != part {
				found = append(found, f.at(imp.pos, "imported outside a test"))
			}
		}
	}
	return found
}

func checkPackageComment(t tree) (found []violation) {
	for dir, all := range t.folders() {
		own := slices.DeleteFunc(slices.Clone(all), (*sourceFile).isTest)
		if len(own) == 0 {
			own = all
		}
		var documented []*sourceFile
		for _, f := range own {
			if f.syntax.Doc != nil {
				documented = append(documented, f)
			}
		}
		switch {
		case len(documented) == 0:
			found = append(found, violation{dir, 0, "no package comment"})
		case len(documented) > 1:
			for _, f := range documented {
				found = append(found, f.at(f.syntax.Doc.Pos(), "one of %d package comments in %s", len(documented), dir))
			}
		default:
			f := documented[0]
			name := f.syntax.Name.Name
			if want := "Package " + name + " "; name != "main" && !strings.HasPrefix(f.syntax.Doc.Text(), want) {
				found = append(found, f.at(f.syntax.Doc.Pos(), "package comment does not start with %q", want))
			}
		}
	}
	return found
}

func checkLength(limit int, applies func(*sourceFile) bool) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, f := range t.goFiles() {
			if n := f.lines(); n > limit && applies(f) {
				found = append(found, violation{f.path, 0, fmt.Sprintf("%d lines, the limit is %d; split it by idea", n, limit)})
			}
		}
		return found
	}
}

func checkInit(t tree) (found []violation) {
	for _, f := range t.goFiles() {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, f.at(fn.Pos(), "init function"))
			}
		}
	}
	return found
}

func checkExit(t tree) (found []violation) {
	for _, f := range t.goFiles() {
		if f.isTest() {
			continue
		}
		inMain := f.syntax.Name.Name == "main" && path.Base(f.path) == "main.go"
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f.calls(call, "os", "Exit") && !inMain {
					found = append(found, f.at(call.Pos(), "os.Exit outside main.go"))
				}
				for _, name := range []string{"Fatal", "Fatalf", "Fatalln"} {
					if f.calls(call, "log", name) {
						found = append(found, f.at(call.Pos(), "log.%s", name))
					}
				}
			}
			return true
		})
	}
	return found
}

// calls reports whether call is pkg.name, where pkg is an import path.
func (f *sourceFile) calls(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	for _, spec := range f.syntax.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == pkg {
			local := path.Base(pkg)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			return x.Name == local
		}
	}
	return false
}

func checkFolderNames(banned ...string) func(tree) []violation {
	return func(t tree) (found []violation) {
		for _, f := range t {
			for _, element := range strings.Split(f.dir(), "/") {
				if slices.Contains(banned, element) {
					found = append(found, violation{f.path, 0, fmt.Sprintf("folder %q says nothing", element)})
				}
			}
		}
		return found
	}
}

// find is what FindAllStringSubmatchIndex finds in the lines that hold literal, as
// offsets in the text. re meets one line at a time. A search of whole files for an
// expression that begins anywhere takes a hundred times as long.
func (f *sourceFile) find(literal string, re *regexp.Regexp) (found [][]int) {
	for from := 0; ; {
		hit := strings.Index(f.text[from:], literal)
		if hit < 0 {
			return found
		}
		begin := 1 + strings.LastIndexByte(f.text[:from+hit], '\n')
		line, _, _ := strings.Cut(f.text[begin:], "\n")
		for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
			for i := range m {
				m[i] += begin
			}
			found = append(found, m)
		}
		if from = begin + len(line); from == len(f.text) {
			return found
		}
	}
}

func checkMachinePaths(t tree) (found []violation) {
	re := regexp.MustCompile(`(?:^|[^\w./:-])(/(?:work|root|home/\w+|Users/\w+|tm` + `p)/)`)
	for _, f := range t {
		starts := []string{"/work", "/root", "/home", "/Users"}
		if ext := path.Ext(f.path); ext == ".go" || ext == ".sh" {
			starts = append(starts, "/tm"+"p/")
		}
		for _, start := range starts {
			for _, m := range f.find(start, re) {
				if !strings.HasPrefix(f.text[m[2]:], start) {
					continue // another on the same line
				}
				if strings.HasPrefix(f.text[m[3]:], "edgebroker-") { // where a user's own broker keeps its socket
					continue
				}
				found = append(found, violation{f.path, f.lineAt(m[2]), "names " + f.text[m[2]:m[3]]})
			}
		}
	}
	return found
}

// checkWallClock finds times without the monotonic clock in what runs a broker.
func checkWallClock(t tree) (found []violation) {
	why := map[string]string{
		"appliance/clock.go":         "what is asked is by how much it was set",
		"appliance/clock_linux.go":   "a time that never comes",
		"appliance/storage_stats.go": "for people",
		"demo/ledger.go":             "for people, within two minutes",
		"demo/plant.go":              "for people, within two minutes",
		"appliance/sys.go":           "a moment to begin with, by half an interval at most",
		"appliance/sys_clients.go":   "for people",
		"appliance/watch.go":         "of files, compared for being the same",
		"certs/source.go":            "of certificates, compared for being the same",
		"handover/layout.go":         "for people",
		"internal/torture/main.go":   "a seed",
		"rest/rest.go":               "a moment to begin with",
		"sinks/signature.go":         "for another machine",
		"statsd/certificates.go":     "of certificates, for people",
		"statsd/sampler.go":          "for people",
		"statsd/otlp_report.go":      "for another machine",
	}
	re := regexp.MustCompile(`\.(?:Unix(?:Nano|Micro|Milli)?\(\)|Round\(0\))`)
	for _, f := range t {
		if path.Ext(f.path) != ".go" || strings.HasSuffix(f.path, "_test.go") || why[f.path] != "" || strings.HasPrefix(f.path, "bench/") {
			continue
		}
		for _, m := range f.find(".", re) {
			found = append(found, violation{f.path, f.lineAt(m[0]), "takes " + f.text[m[0]+1:m[1]]})
		}
	}
	return found
}

func checkDocuments(t tree) (found []violation) {
	have := map[string]bool{}
	for _, f := range t {
		have[f.path] = true
	}
	named := regexp.MustCompile(`[\w./:-]+\.md\b`)
	for _, f := range t {
		ext := path.Ext(f.path)
		if ext != ".go" && ext != ".md" && ext != ".sh" || strings.HasPrefix(path.Base(f.path), "policy_") {
			continue
		}
		for _, m := range f.find(".md", named) {
			name := f.text[m[0]:m[1]]
			if strings.Contains(name, "://") || have[path.Clean(name)] || have[path.Join(f.dir(), name)] {
				continue
			}
			found = append(found, violation{f.path, f.lineAt(m[0]), name + " is not in the repository"})
		}
	}
	return found
}

// checkNamedTests finds tests that a document names and nobody has written.
func checkNamedTests(t tree) (found []violation) {
	have := map[string]bool{}
	written := regexp.MustCompile(`^func (Test\w+)\(`)
	for _, f := range t {
		for _, m := range f.find("func Test", written) {
			have[f.text[m[2]:m[3]]] = true
		}
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w*)`")
	for _, f := range t {
		if path.Ext(f.path) != ".md" {
			continue
		}
		for _, m := range f.find("`Test", named) {
			if name := f.text[m[2]:m[3]]; !have[name] {
				found = append(found, violation{f.path, f.lineAt(m[0]), name + " is no test"})
			}
		}
	}
	return found
}

// checkLessons finds entries of docs/LESSONS.md without a thread or without a
// test that is where they say it is, and counts them.
func checkLessons(t tree) (found []violation) {
	const doc = "docs/LESSONS.md"
	tests := map[string]bool{} // folder and name
	written := regexp.MustCompile(`^func (Test\w+)\(`)
	for _, f := range t {
		for _, m := range f.find("func Test", written) {
			tests[path.Base(f.dir())+" "+f.text[m[2]:m[3]]] = true
		}
	}
	entry := regexp.MustCompile(`^\| (\d+) \|`)
	thread := regexp.MustCompile(`\[[\w-]+#(\d+)\]\(https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/(\d+)\)`)
	shown := regexp.MustCompile("(\\w+): ((?:`Test\\w+`(?:, )?)+)")
	named := regexp.MustCompile("`(Test\\w+)`")
	for _, f := range t {
		if f.path != doc {
			continue
		}
		n := 0
		for i, line := range strings.Split(f.text, "\n") {
			m := entry.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			wrong := func(text string) { found = append(found, violation{f.path, i + 1, "entry " + m[1] + " " + text}) }
			if n++; m[1] != strconv.Itoa(n) {
				wrong("is number " + strconv.Itoa(n))
			}
			threads := thread.FindAllStringSubmatch(line, -1)
			if len(threads) == 0 {
				wrong("names no thread")
			}
			for _, th := range threads {
				if th[1] != th[2] {
					wrong("names #" + th[1] + " and links to #" + th[2])
				}
			}
			cells := strings.Split(strings.Trim(line, "| "), " | ")
			last := cells[len(cells)-1]
			if !shown.MatchString(last) {
				wrong("names no test")
			}
			for _, s := range shown.FindAllStringSubmatch(last, -1) {
				for _, name := range named.FindAllStringSubmatch(s[2], -1) {
					folder := s[1]
					if folder == "root" {
						folder = "."
					}
					if !tests[folder+" "+name[1]] {
						wrong("names " + name[1] + ", which is not in " + s[1])
					}
				}
			}
		}
		if n != 50 {
			found = append(found, violation{doc, 1, "has " + strconv.Itoa(n) + " entries, not fifty"})
		}
	}
	return found
}
