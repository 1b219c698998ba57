package acl_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/acl"
)

// plant is n rules as an operator might have them: half of them for the lines
// of a plant, read and written by groups, the others with wildcards and names.
func plant(n int) []acl.Rule {
	rules := make([]acl.Rule, 0, n)
	for i := len(rules); i < n; i++ {
		r := acl.Rule{Allow: i%5 != 0, Action: acl.All}
		switch i % 4 {
		case 0:
			r.Filters = []string{fmt.Sprintf("plant/line%d/secret/#", i)}
		case 1:
			r.Filters = []string{fmt.Sprintf("plant/line%d/+/temperature", i)}
		case 2:
			r.Filters = []string{fmt.Sprintf("site/+/area%d/#", i)}
		default:
			r.Filters = []string{fmt.Sprintf("up/%%u/kind%d/#", i)}
		}
		rules = append(rules, r)
	}
	return rules
}

func mustNew(t testing.TB, rules []acl.Rule) *acl.Policy {
	t.Helper()
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		r := mustNew(b, plant(n)).Resolve(acl.Subject{User: "alice", ClientID: "c"})
		last := n - 1
		for last%4 != 1 {
			last--
		}
		for _, c := range []struct{ name, topic string }{
			{"last", fmt.Sprintf("plant/line%d/press/temperature", last)},
			{"name", "up/alice/kind3/x"},
			{"none", "plant/line1/press/pressure"},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Publish(c.topic)
				}
			})
		}
	}
}

func BenchmarkSubscribe(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		rules := append([]acl.Rule{{Action: acl.All, Filters: []string{"plant/#", "site/#", "up/#"}}}, plant(n)...)
		r := mustNew(b, rules).Resolve(acl.Subject{User: "alice", ClientID: "c"})
		b.Run(fmt.Sprintf("%d/hopeless", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Subscribe("#")
			}
		})
	}
}

// fleet is a policy of shared rules and, for each of its devices, two own ones.
func fleet(devices int) []acl.Rule {
	rules := plant(200)
	for i := range devices {
		rules = append(rules, device(fmt.Sprintf("device%d", i))...)
	}
	return rules
}

// groups is a policy of shared rules, and two for each of many groups.
func groups(n int) []acl.Rule {
	rules := fleet(n)
	for i := range rules {
		rules[i].Group, rules[i].User = rules[i].User, ""
	}
	return rules
}

func BenchmarkResolve(b *testing.B) {
	p := mustNew(b, fleet(10000))
	i := 0
	for b.Loop() {
		i = (i + 1) % 10000
		p.Resolve(acl.Subject{User: fmt.Sprintf("device%d", i), ClientID: "c"})
	}
}

func BenchmarkNew(b *testing.B) {
	rules := fleet(10000)
	for b.Loop() {
		mustNew(b, rules)
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(acl.Format(fleet(10000)))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := acl.Parse("f", text); err != nil {
			b.Fatal(err)
		}
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	for _, n := range []int{1, 10, 1000} {
		r := mustNew(t, append(plant(n), device("alice")...)).Resolve(acl.Subject{User: "alice", ClientID: "c"})
		for _, topic := range []string{"plant/line1/press/temperature", "up/alice/kind3/x", "down/alice/x", "$SYS/x", strings.Repeat("/", 65535)} {
			if a := testing.AllocsPerRun(100, func() { r.Publish(topic); r.Receive(topic) }); a != 0 {
				t.Errorf("%d rules, %.30q: %v allocations", n, topic, a)
			}
		}
	}
}

// heap is the memory in use after make has returned what it returns.
func heap[T any](make func() T) (uint64, T) {
	var before, after runtime.MemStats
	for range 3 { // what is held weakly takes its time
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	made := make()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc, made
}

// Many clients do not cost many times the rules: names are not
// put into copies of them, and what clients have in common is there once.
func TestMemoryOfSubjects(t *testing.T) {
	const clients = 1000
	users := make([]string, clients)
	for i := range users {
		users[i] = fmt.Sprintf("device%d", i)
	}
	for _, c := range []struct {
		name  string
		rules []acl.Rule
		most  uint64 // bytes for each subject
	}{
		{"shared rules with %u", plant(1000), 200},
		{"a group of its own each", groups(1000), 700},
		{"two own rules each", fleet(2000), 400},
		{"shared rules and an own one", append(plant(1000), acl.Rule{Allow: true, User: "device*", Action: acl.All, Filters: []string{"x/%u"}}), 300},
	} {
		var p *acl.Policy
		size, _ := heap(func() *acl.Policy { p = mustNew(t, c.rules); return p })
		shared, first := heap(func() *acl.Rights { return p.Resolve(acl.Subject{User: "device", ClientID: "device"}) })
		per, all := heap(func() []*acl.Rights {
			all := make([]*acl.Rights, clients)
			for i, u := range users {
				all[i] = p.Resolve(acl.Subject{User: u, ClientID: u, Groups: users[i : i+1]})
			}
			return all
		})
		per /= clients
		t.Logf("%s: %d rules in %d KiB, %d KiB more for subjects, and %d bytes for each", c.name, len(c.rules), size>>10, shared>>10, per)
		if per > c.most {
			t.Errorf("%s: %d bytes for each subject, more than %d", c.name, per, c.most)
		}
		for i, r := range all {
			if r.Publish("up/"+users[(i+1)%clients]+"/kind3/x").Allow || !r.Publish("up/"+users[i]+"/kind3/x").Allow {
				t.Fatalf("%s: wrong rights for %s", c.name, users[i])
			}
		}
		runtime.KeepAlive(first)
	}
}
