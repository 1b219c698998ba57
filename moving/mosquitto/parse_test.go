package mosquitto

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

func TestParseConf(t *testing.T) {
	text := "# comment\nlistener 1883\r\n   allow_anonymous   true \n\n \n\tnot 1\nuser a b  c \nlog_type\npersistence true\x00false\n#listener 1884\nlast"
	var got []string
	for _, l := range ParseConf("f", []byte(text)) {
		got = append(got, l.Name+"="+l.Value)
		if strings.Split(text, "\n")[l.Number-1] == "" || l.File != "f" {
			t.Errorf("%+v is no line of it", l)
		}
	}
	want := []string{"listener=1883", "allow_anonymous=true", "\tnot=1", "user=a b  c", "log_type=", "persistence=true", "last="}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// The order is the one of the manual: capitals before the same letter that is
// none.
func TestIncludedFilesAreInOrder(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "d")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf", "x.txt", "conf"} {
		text := "pid_file " + name + "\ninclude_dir " + inner + "\n"
		if err := os.WriteFile(filepath.Join(inner, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main := filepath.Join(dir, "m.conf")
	for _, path := range []string{inner, "d"} {
		if err := os.WriteFile(main, []byte("user first\ninclude_dir "+path+"\nuser last\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		lines, err := ReadConf(main, dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		readings := map[int]string{}
		for _, l := range lines {
			if l.Name != "include_dir" {
				got = append(got, l.Value)
			}
			if of, found := readings[l.Reading]; found && of != l.File {
				t.Errorf("reading %d is of %s and of %s", l.Reading, of, l.File)
			}
			readings[l.Reading] = l.File
		}
		want := []string{"first", "00.conf", "01.conf", "A.conf", "a.conf", "B.conf", "b.conf", "last"}
		if !slices.Equal(got, want) || len(readings) != 7 {
			t.Errorf("got %q, %v", got, readings)
		}
	}
}

func TestReadConfErrors(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct{ file, want string }{
		{filepath.Join(dir, "none"), "no such file"},
		{dir, "not a regular file"},
		{path("a", "user x\ninclude_dir /nowhere/d\n"), "a:2: open /nowhere/d"},
		{path("b", "include_dir\n"), "b:1: include_dir names no folder"},
		{path("c", strings.Repeat("#", MaxFileBytes+1)), "larger than 4 MiB"},
	} {
		if _, err := ReadConf(c.file, dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.file, err)
		}
	}
}

func TestParseACL(t *testing.T) {
	for _, c := range []struct {
		line string
		want ACLLine
	}{
		{"topic a/b", ACLLine{Rule: true, Access: ReadWrite, Topic: "a/b"}},
		{"topic read a/b \r", ACLLine{Rule: true, Access: Read, Topic: "a/b"}},
		{"  topic  write   a b/+/c ", ACLLine{Rule: true, Access: Write, Topic: "a b/+/c"}},
		{"topic readwrite #", ACLLine{Rule: true, Access: ReadWrite, Topic: "#"}},
		{"topic deny a/#", ACLLine{Rule: true, Access: Deny, Topic: "a/#"}},
		{"topic deny", ACLLine{Rule: true, Access: ReadWrite, Topic: "deny"}},
		{"topic # comment", ACLLine{Rule: true, Problem: "has a topic with a space, which needs read, write, readwrite or deny before it"}},
		{"topic READ a", ACLLine{Rule: true, Problem: "has a topic with a space, which needs read, write, readwrite or deny before it"}},
		{"topic", ACLLine{Rule: true, Problem: "names no topic"}},
		{"topic a#", ACLLine{Rule: true, Problem: "has no topic filter: + stands for a whole level, # for the last ones"}},
		{"topic read a/+b", ACLLine{Rule: true, Problem: "has no topic filter: + stands for a whole level, # for the last ones"}},
		{"topic #/a", ACLLine{Rule: true, Problem: "has no topic filter: + stands for a whole level, # for the last ones"}},
		{"pattern read %u/x", ACLLine{Rule: true, Pattern: true, Access: Read, Topic: "%u/x"}},
		{"user mary ann", ACLLine{Named: true, User: "mary ann"}},
		{"user", ACLLine{Problem: "names no user"}},
		{"allow x", ACLLine{Problem: "does not begin with topic, pattern or user"}},
		{"\ttopic a", ACLLine{Problem: "does not begin with topic, pattern or user"}},
	} {
		got := ParseACL([]byte("# x\n\n" + c.line + "\n"))
		c.want.Number, c.want.Text = 3, strings.TrimRight(c.line, blanks)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%q: got %+v", c.line, got)
		}
	}
	got := ParseACL([]byte("topic a\nuser u\ntopic b\npattern c\nuser v\ntopic d\n"))
	var whose []string
	for _, l := range got {
		whose = append(whose, l.User)
	}
	if !slices.Equal(whose, []string{"", "u", "u", "", "v", "v"}) {
		t.Errorf("got %q", whose)
	}
}

func TestParsePasswords(t *testing.T) {
	got := ParsePasswords([]byte("# x\n\nann:$6$a$b\r\n bob : $7$1$a$b :rest\nx\n:y:\nz:\nclear:text\n::\n"))
	want := []PasswordLine{
		{Number: 3, User: "ann", Hash: "$6$a$b"}, {Number: 4, User: "bob", Hash: "$7$1$a$b"},
		{Number: 5, Problem: "has no colon"}, {Number: 6, Problem: "has no password"}, {Number: 7, Problem: "has no password"},
		{Number: 8, User: "clear", Hash: "text", Problem: "has a password that is not hashed; mosquitto_passwd -U hashes it"},
		{Number: 9, Problem: "has no password"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Names are ordered, whatever they are.
func TestCompareNamesIsAnOrder(t *testing.T) {
	err := quick.Check(func(a, b, c string) bool {
		sign := func(n int) int { return max(-1, min(1, n)) }
		list := []string{a, b, c}
		slices.SortFunc(list, compareNames)
		return sign(compareNames(a, b)) == -sign(compareNames(b, a)) && (compareNames(a, b) != 0 || a == b) && compareNames(list[0], list[2]) <= 0
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func seeds(f *testing.F) {
	for _, s := range []string{"", "listener 1883\n", "user a\ntopic read a/#\npattern deny %u/x\n", "a:$6$b$c\n", "\x00\r\n \n# x", "topic read \xff", "{\"clients\":[]}"} {
		f.Add([]byte(s))
	}
}

// Each line that is told is one of the file, in their order, and holds nothing
// that is not in it.
func FuzzParseConf(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		text := strings.Split(string(data), "\n")
		last := 0
		for _, l := range ParseConf("f", data) {
			if l.Number <= last || l.Name == "" || l.Name[0] == ' ' || strings.Contains(l.Name, " ") {
				t.Fatalf("%+v", l)
			}
			last = l.Number
			if line := text[l.Number-1]; line[0] == '#' || !strings.Contains(line, l.Name) || !strings.Contains(line, l.Value) {
				t.Fatalf("%+v of %q", l, line)
			}
			for _, w := range l.Words() {
				if w == "" || !strings.Contains(l.Value, w) {
					t.Fatalf("%q of %+v", w, l)
				}
			}
		}
	})
}

func FuzzParseACL(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		text := strings.Split(string(data), "\n")
		last := 0
		for _, l := range ParseACL(data) {
			line := text[l.Number-1]
			if l.Number <= last || line[0] == '#' || !strings.Contains(line, l.Topic) {
				t.Fatalf("%+v of %q", l, line)
			}
			last = l.Number
			if l.Problem == "" && l.Rule && (l.Topic == "" || !validFilter(l.Topic)) || l.Problem == "" && !l.Rule && l.User == "" || l.Problem != "" && l.Topic != "" {
				t.Fatalf("%+v", l)
			}
		}
	})
}

func FuzzParsePasswords(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range ParsePasswords(data) {
			if l.Problem == "" && (l.User == "" || strings.ContainsAny(l.User+l.Hash, ":\n") || l.Hash[0] != '$') {
				t.Fatalf("%+v", l)
			}
		}
	})
}

// What was read is what is read again of what it says.
func FuzzParseDynamic(f *testing.F) {
	seeds(f)
	f.Add([]byte(`{"clients":[{"username":"a","password":"YQ==","salt":"Yg==","iterations":1,"roles":[{"rolename":"r","priority":1}]}],"roles":[{"rolename":"r","acls":[{"acltype":"subscribePattern","topic":"#","allow":true}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDynamic(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDynamic(text)
		if err != nil || len(again.Clients) != len(d.Clients) || len(again.Roles) != len(d.Roles) {
			t.Fatalf("%s: %v", text, err)
		}
		for i := range d.Clients {
			if a, b := d.Clients[i].Hash(), again.Clients[i].Hash(); a != b {
				t.Fatalf("%q and %q", a, b)
			}
		}
	})
}
