package acl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/acl"
	"pgregory.net/rapid"
)

func file(t testing.TB, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acl.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alone checks that no temporary file is left beside path.
func alone(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("beside the file lie others: %v", entries)
	}
}

func device(name string) []acl.Rule {
	return []acl.Rule{
		{Allow: true, User: acl.Literal(name), Action: acl.Publish, Filters: []string{"up/%u/#"}},
		{Allow: true, User: acl.Literal(name), Action: acl.Subscribe, Filters: []string{"down/%u/#", "all"}},
	}
}

func TestAppendAndRemove(t *testing.T) {
	for _, before := range []string{"", "# mine\r\nallow user=a all x\r\n\n# end", "allow any all x\n", "\ufeffallow any all x"} {
		path := file(t, before, 0o640)
		if err := acl.Append(path, device("press 1*")...); err != nil {
			t.Fatal(err)
		}
		kept := before
		if kept != "" && !strings.HasSuffix(kept, "\n") {
			kept += "\n"
		}
		want := kept + `allow user="press 1\*" publish up/%u/#` + "\n" + `allow user="press 1\*" subscribe down/%u/# all` + "\n"
		if got := content(t, path); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		n, err := acl.Remove(path, func(r *acl.Rule) bool { return r.User == acl.Literal("press 1*") })
		if got := content(t, path); err != nil || n != 2 || got != kept {
			t.Errorf("%d, %v\ngot  %q\nwant %q", n, err, got, kept)
		}
		alone(t, path)
	}
}

// What is refused leaves the very file in its place.
func TestEditRefuses(t *testing.T) {
	full := strings.Repeat("allow any all x\n", acl.MaxRules)
	ok := acl.Rule{Allow: true, Action: acl.All, Filters: []string{"x"}}
	broken := ok
	broken.Filters = []string{"x\nallow any all #"}
	long := ok
	long.User = strings.Repeat("x", acl.MaxLineBytes)
	for _, c := range []struct {
		name, text string
		edit       func(path string) error
		want       string
	}{
		{"a file that does not parse", "alow any all x\n", func(p string) error { return acl.Append(p, ok) }, `acl.conf:1:1: "alow" is no beginning`},
		{"removal from one", "alow any all x\n", func(p string) error { _, err := acl.Remove(p, func(*acl.Rule) bool { return true }); return err }, "mend the file first"},
		{"one rule too many", full, func(p string) error { return acl.Append(p, ok) }, "one rule more"},
		{"a rule with another inside", "", func(p string) error { return acl.Append(p, ok, broken) }, "closed"},
		{"a long rule", "", func(p string) error { return acl.Append(p, ok, long) }, "longer than 4096 bytes"},
		{"a rule without topics", "", func(p string) error { return acl.Append(p, acl.Rule{Action: acl.All}) }, "no topics"},
		{"no rules", "alow", func(p string) error { return errors.Join(acl.Append(p), errors.New("nothing to do")) }, "nothing to do"},
		{"nothing to remove", "allow any all x", func(p string) error {
			n, err := acl.Remove(p, func(*acl.Rule) bool { return false })
			return fmt.Errorf("%d %v", n, err)
		}, "0 <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, c.text, 0o600)
			before, _ := os.Stat(path)
			if err := c.edit(path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.200v\n\tshould say: %s", err, c.want)
			}
			after, err := os.Stat(path)
			if err != nil || !os.SameFile(before, after) || content(t, path) != c.text {
				t.Error("the file was written")
			}
			alone(t, path)
		})
	}
}

func TestEditMissing(t *testing.T) {
	dir := t.TempDir()
	if err := acl.Append(filepath.Join(dir, "none"), device("x")...); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := acl.Remove(dir, func(*acl.Rule) bool { return true }); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := acl.Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make the file, or correct its path") {
		t.Error(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} {
		if _, err := acl.Read(path); err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
			t.Error(err)
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := acl.Read(large); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Error(err)
	}
}

// Who can write the rules can do everything, so everybody must not.
func TestRulesThatEverybodyMayWrite(t *testing.T) {
	path := file(t, "allow any all x\n", 0o600)
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	_, err := acl.Load(path)
	_, err2 := acl.Remove(path, func(*acl.Rule) bool { return true })
	for _, err := range []error{err, err2, acl.Append(path, acl.Rule{Allow: true, Action: acl.All, Filters: []string{"y"}})} {
		if err == nil || !strings.Contains(err.Error(), "everybody may write it (mode 0622)") || !strings.Contains(err.Error(), "run: chmod o-w "+path) {
			t.Error(err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if rules, err := acl.Read(path); err != nil || len(rules) != 1 {
		t.Errorf("%v, %v", rules, err)
	}
}

// Files are read in order, and all that is wrong in all of them is told.
func TestLoad(t *testing.T) {
	a, b := file(t, "deny any all x\n", 0o600), file(t, "allow any all x\nallow any all y\n", 0o600)
	p, err := acl.Load(a, b)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Resolve(acl.Subject{})
	if r.Publish("x").Allow || r.Publish("y").String() != "allowed by "+b+":2: allow any all y" {
		t.Error(r.Publish("x"), r.Publish("y"))
	}
	c := file(t, "x\n\ny\n", 0o600)
	_, err = acl.Load(c, a, c)
	if err == nil || strings.Count(err.Error(), c+":1:1: ") != 2 || strings.Count(err.Error(), c+":3:1: ") != 2 {
		t.Error(err)
	}
}

func TestEditFollowsLinks(t *testing.T) {
	path := file(t, "", 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := acl.Append(link, device("x")...); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	if !strings.Contains(content(t, path), "user=x") {
		t.Error("the file behind the link was not edited")
	}
}

func TestEditKeepsOwner(t *testing.T) {
	path := file(t, "", 0o640)
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Skip("only root can give files away")
	}
	if err := acl.Append(path, device("x")...); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 || info.Mode() != 0o640 {
		t.Errorf("%d:%d %v", st.Uid, st.Gid, info.Mode())
	}
}

// No edit is lost when many happen at once, and who reads meanwhile sees a
// whole file.
func TestEditsAtOnce(t *testing.T) {
	path := file(t, "# devices\n", 0o600)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				name := fmt.Sprintf("d%d-%d", i, j)
				if err := acl.Append(path, device(name)...); err != nil {
					t.Error(err)
				}
				if rules, err := acl.Read(path); err != nil || len(rules)%2 != 0 {
					t.Errorf("%d rules, %v", len(rules), err)
				}
				if j%2 == 1 {
					if n, err := acl.Remove(path, func(r *acl.Rule) bool { return r.User == name }); n != 2 || err != nil {
						t.Errorf("removed %d, %v", n, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if rules, err := acl.Read(path); err != nil || len(rules) != 8*3*2 || !strings.HasPrefix(content(t, path), "# devices\n") {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	alone(t, path)
}

// Removing keeps every other line, byte for byte.
func TestRemoveKeepsTheRest(t *testing.T) {
	path := file(t, "", 0o600)
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOf(rapid.SampledFrom([]string{"# c\n", "\n", "  # d\r\n", "allow user=k all x\n", "\tallow user=g all x\r\n", "allow user=g all y\n"})).Draw(rt, "lines")
		last := rapid.SampledFrom([]string{"", "allow user=g all z", "# e"}).Draw(rt, "last")
		lines = append(lines, last)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			rt.Fatal(err)
		}
		want, gone := "", 0
		for _, l := range lines {
			if strings.Contains(l, "user=g") {
				gone++
			} else {
				want += l
			}
		}
		n, err := acl.Remove(path, func(r *acl.Rule) bool { return r.User == "g" })
		if err != nil || n != gone || content(t, path) != want {
			rt.Fatalf("%d, %v: %q, not %q", n, err, content(t, path), want)
		}
	})
}
