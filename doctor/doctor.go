// Package doctor looks for what will hurt a broker tomorrow: in its
// configuration, in the files that this names, and in the machine around it. It
// changes nothing, and needs no broker that runs. What it is to look at is
// handed in as a [Patient].
//
// Each check is a function that adds findings; checks lists them all. A check
// that finds nothing wrong says so with one finding of severity OK, so that a
// reader sees what was looked at.
package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/statsd"
)

// Severity is how bad a finding is.
type Severity string

// The severities, the mildest first.
const (
	OK      Severity = "ok"
	Warn    Severity = "warn"    // works, and may hurt some day
	Problem Severity = "problem" // does not work, or lets in who should stay out
)

// Finding is one thing that a check has found. It is a plain value; its JSON is
// a contract: fields are added, never renamed or removed.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Where    string   `json:"where,omitempty"` // file, key of the configuration or address
	What     string   `json:"what"`
	Mend     string   `json:"mend,omitempty"` // what to do; empty with OK
}

// Patient is what is looked at.
type Patient struct {
	ConfigFile string           // empty: there is none, and Config is all there is
	Config     appliance.Config // valid
	Host       Host

	// Daemon is what a broker that runs says of itself, nil if none does; Health
	// goes with it.
	Daemon *statsd.Snapshot
	Health statsd.Health
	Silent error // why a broker that seems to run has not answered; nil if it has, or if none runs

	Version string    // of this program
	Built   time.Time // when the source of this program was made; zero: unknown
}

// examination is one check at work.
type examination struct {
	*Patient
	check string
	found []Finding
}

func (x *examination) add(s Severity, where, what, mend string) {
	x.found = append(x.found, Finding{x.check, s, where, what, mend})
}

func (x *examination) warn(where, what, mend string)    { x.add(Warn, where, what, mend) }
func (x *examination) problem(where, what, mend string) { x.add(Problem, where, what, mend) }

// check is one of the things to look at. fine says what is good when it finds
// nothing; empty: nothing is said then.
type check struct {
	name    string
	examine func(*examination)
	fine    func(*Patient) string
}

func always(text string) func(*Patient) string { return func(*Patient) string { return text } }

// checks is everything that is looked at, in the order of the report.
func checks() []check {
	return []check{
		{"config", (*examination).configFile, configFine},
		{"files", (*examination).namedFiles, filesFine},
		{"certificates", (*examination).certificates, certificatesFine},
		{"access", (*examination).access, always("users, rules, keys and secrets can be read")},
		{"listeners", (*examination).listeners, always("nobody is let in by accident")},
		{"http", (*examination).httpAddress, httpFine},
		{"ports", (*examination).ports, portsFine},
		{"storage", (*examination).storage, storageFine},
		{"flash", (*examination).flash, flashFine},
		{"control", (*examination).controlSocket, always("the control socket is for its owner and group alone")},
		{"limits", (*examination).limits, always("there are descriptors for all connections")},
		{"kernel", (*examination).kernel, always("its limits leave room")},
		{"clock", (*examination).clock, clockFine},
		{"daemon", (*examination).daemon, daemonFine},
	}
}

// Examine does every check and returns the findings in their order.
func Examine(p Patient) []Finding {
	var all []Finding
	for _, c := range checks() {
		x := &examination{Patient: &p, check: c.name}
		c.examine(x)
		if len(x.found) == 0 {
			if text := c.fine(&p); text != "" {
				x.add(OK, "", text, "")
			}
		}
		all = append(all, x.found...)
	}
	return all
}

// Worst is the severity of the worst finding, OK for none.
func Worst(findings []Finding) Severity {
	for _, s := range []Severity{Problem, Warn} {
		if slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == s }) {
			return s
		}
	}
	return OK
}

// item is the path of an entry of a list of the configuration.
func item(list string, i int, key string) string { return fmt.Sprintf("%s[%d].%s", list, i, key) }
