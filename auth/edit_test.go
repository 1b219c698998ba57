package auth_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/auth"
)

func edit(t testing.TB, path string, fn func(*auth.PasswordEdit) error) error {
	t.Helper()
	return auth.EditPasswordFile(t.Context(), path, fn)
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func add(name, hash string, groups ...string) func(*auth.PasswordEdit) error {
	return func(e *auth.PasswordEdit) error { return e.Add(name, hash, groups) }
}

func TestEditKeepsTheRest(t *testing.T) {
	path := write(t, "# head\nann:"+argon+":ops\r\n\n# about bob\nbob:broken\n  # tail")
	if err := edit(t, path, func(e *auth.PasswordEdit) error {
		return errors.Join(
			e.SetHash("ann", sha6),
			e.SetHash("bob", pbkdf7), // mends the line
			e.Add("carl", bcrypt4, []string{"a", "b", "a"}),
		)
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "file", read(t, path), "# head\nann:"+sha6+":ops\r\n\n# about bob\nbob:"+pbkdf7+"\n  # tail\ncarl:"+bcrypt4+":a,b\n")
	if err := edit(t, path, func(e *auth.PasswordEdit) error {
		return errors.Join(e.Delete("bob"), e.SetGroups("ann", nil), e.SetGroups("carl", []string{"c"}))
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "file", read(t, path), "# head\nann:"+sha6+"\r\n\n# about bob\n  # tail\ncarl:"+bcrypt4+":c\n")
}

func TestEditRefuses(t *testing.T) {
	text := "ann:" + pbkdf7 + "\ntwin:" + sha6 + "\ntwin:" + sha6 + "\n"
	path := write(t, text)
	for name, c := range map[string]struct {
		fn   func(*auth.PasswordEdit) error
		is   error
		says string
	}{
		"add who exists":    {add("ann", sha6), auth.ErrUserExists, ""},
		"delete nobody":     {func(e *auth.PasswordEdit) error { return e.Delete("bob") }, auth.ErrNoUser, ""},
		"passwd of nobody":  {func(e *auth.PasswordEdit) error { return e.SetHash("bob", sha6) }, auth.ErrNoUser, ""},
		"groups of nobody":  {func(e *auth.PasswordEdit) error { return e.SetGroups("bob", nil) }, auth.ErrNoUser, ""},
		"colon":             {add("a:b", sha6), nil, "contains ':'"},
		"comment":           {add("#a", sha6), nil, "begins with '#'"},
		"empty":             {add("", sha6), nil, "empty"},
		"line break":        {add("a\nroot", sha6), nil, "control character"},
		"return":            {add("a\r", sha6), nil, "control character"},
		"space":             {add(" a", sha6), nil, "space"},
		"no hash":           {add("bob", "secret"), nil, "unknown kind"},
		"line in hash":      {add("bob", sha6+"\nroot:"+sha6), nil, "not on one line"},
		"group with comma":  {add("bob", sha6, "a,b"), nil, "group 1"},
		"group with break":  {add("bob", sha6, "a\nb"), nil, "group 1"},
		"hash in two lines": {func(e *auth.PasswordEdit) error { return e.SetHash("ann", pbkdf7+"\n") }, nil, "not on one line"},
		"twice in the file": {func(e *auth.PasswordEdit) error { return e.Delete("twin") }, nil, "line 2 and again in line 3"},
	} {
		err := edit(t, path, c.fn)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if read(t, path) != text {
			t.Fatalf("%s: changed the file", name)
		}
	}
}

func TestEditMakesFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	if err := edit(t, path, func(e *auth.PasswordEdit) error { return e.Delete("ann") }); !errors.Is(err, auth.ErrNoUser) {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("an edit that did nothing left %v", entries)
	}
	old := syscall.Umask(0)
	err := edit(t, path, add("ann", pbkdf7))
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := auth.LoadPasswordFile(path, newVerifier(t)); err != nil {
		t.Error(err)
	}
	// The last user goes: the file loads, and lets nobody in.
	bare := write(t, "ann:"+pbkdf7)
	for _, p := range []string{path, bare} {
		if err := edit(t, p, func(e *auth.PasswordEdit) error { return e.Delete("ann") }); err != nil {
			t.Fatal(err)
		}
		f, err := auth.LoadPasswordFile(p, newVerifier(t))
		if err != nil || len(f.Users()) != 0 {
			t.Errorf("without the last user: %v", err)
		}
	}
}

func TestEditKeepsModeOwnerAndLink(t *testing.T) {
	path := write(t, "ann:"+pbkdf7)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 1234, 2345
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := edit(t, link, add("bob", pbkdf7)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o640 || int(s.Uid) != uid || int(s.Gid) != gid {
		t.Errorf("mode %v, owner %d:%d", info.Mode(), s.Uid, s.Gid)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("link leads to %q, %v", to, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	dangling := filepath.Join(t.TempDir(), "dangling")
	if err := os.Symlink(filepath.Join(t.TempDir(), "none"), dangling); err != nil {
		t.Fatal(err)
	}
	if err := edit(t, dangling, add("bob", pbkdf7)); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("dangling link: %v", err)
	}
}

// TestEditsTogether: of many edits at once none is lost.
func TestEditsTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	const n = 24
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := edit(t, path, add(fmt.Sprint("user", i), pbkdf7)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := auth.LoadPasswordFile(path, newVerifier(t))
	if err != nil || len(f.Users()) != n {
		t.Errorf("%v, %d users of %d", err, len(f.Users()), n)
	}
}

func TestEditWaitsNoLongerThanContext(t *testing.T) {
	path := write(t, "ann:"+pbkdf7)
	synctest.Test(t, func(t *testing.T) {
		inside := make(chan struct{})
		release := make(chan struct{})
		done := make(chan error)
		go func() {
			done <- auth.EditPasswordFile(context.Background(), path, func(e *auth.PasswordEdit) error {
				close(inside)
				<-release
				return e.Add("bob", pbkdf7, nil)
			})
		}()
		<-inside
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := auth.EditPasswordFile(ctx, path, add("carl", pbkdf7))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "somebody else is editing") {
			t.Error(err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestEditNoticesOthers: a program that does not lock changes the file while
// it is being edited; its change stays.
func TestEditNoticesOthers(t *testing.T) {
	for name, meddle := range map[string]func(path string) error{
		"in place": func(p string) error { return os.WriteFile(p, []byte("# other\n"), 0o600) },
		"replaced": func(p string) error {
			return errors.Join(os.WriteFile(p+"x", []byte("# other\n"), 0o600), os.Rename(p+"x", p))
		},
		"made": func(p string) error { return os.WriteFile(p, []byte("# other\n"), 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "users")
		if name != "made" {
			if err := os.WriteFile(path, []byte("ann:"+pbkdf7), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := edit(t, path, func(e *auth.PasswordEdit) error {
			return errors.Join(meddle(path), e.Add("bob", pbkdf7, nil))
		})
		if err == nil || !strings.Contains(err.Error(), "try again") || read(t, path) != "# other\n" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEditModel applies random edits, of which some fail and some crash, and
// compares what then loads with a plain map.
func TestEditModel(t *testing.T) {
	hashes := []string{argon, bcrypt4, sha6, pbkdf7}
	v := newVerifier(t)
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "edit")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "users")
		if err := os.WriteFile(path, []byte("# first\n"), 0o600); err != nil {
			r.Fatal(err)
		}
		model := map[string]string{} // name to rest of the line
		var order []string
		for range rapid.IntRange(1, 12).Draw(r, "edits") {
			name := rapid.SampledFrom([]string{"ann", "bob", "carl", "dora", "Ü ber"}).Draw(r, "name")
			hash := rapid.SampledFrom(hashes).Draw(r, "hash")
			groups := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID[string]).Draw(r, "groups")
			rest := func(hash string, groups []string) string {
				if len(groups) > 0 {
					hash += ":" + strings.Join(groups, ",")
				}
				return hash
			}
			next, nextOrder := map[string]string{}, slices.Clone(order)
			for k, v := range model {
				next[k] = v
			}
			old, exists := model[name]
			oldHash, oldGroups, _ := strings.Cut(old, ":")
			var fn func(*auth.PasswordEdit) error
			var failure error
			if !exists {
				failure = auth.ErrNoUser
			}
			switch rapid.IntRange(0, 3).Draw(r, "operation") {
			case 0:
				fn = add(name, hash, groups...)
				failure = nil
				if exists {
					failure = auth.ErrUserExists
				} else {
					next[name], nextOrder = rest(hash, groups), append(nextOrder, name)
				}
			case 1:
				fn = func(e *auth.PasswordEdit) error { return e.Delete(name) }
				delete(next, name)
				nextOrder = slices.DeleteFunc(nextOrder, func(n string) bool { return n == name })
			case 2:
				fn = func(e *auth.PasswordEdit) error { return e.SetHash(name, hash) }
				if next[name] = hash; oldGroups != "" {
					next[name] += ":" + oldGroups
				}
			case 3:
				fn = func(e *auth.PasswordEdit) error { return e.SetGroups(name, groups) }
				next[name] = rest(oldHash, groups)
			}
			crash := rapid.SampledFrom([]string{"", "", "", "clean", "create", "write", "write the rest", "keep mode and owner", "sync", "rename", "sync folder"}).Draw(r, "crash before")
			crashed, err := auth.EditAndCrash(path, fn, crash)
			switch {
			case crashed:
				if crash == "sync folder" { // the rename is done
					model, order = next, nextOrder
				}
			case failure != nil:
				if !errors.Is(err, failure) {
					r.Fatalf("got %v, want %v", err, failure)
				}
			case err != nil:
				r.Fatal(err)
			default:
				model, order = next, nextOrder
			}
			wanted := "# first\n"
			for _, n := range order {
				wanted += n + ":" + model[n] + "\n"
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != wanted {
				r.Fatalf("file is\n%s\nwant\n%s\n(%v)", got, wanted, err)
			}
			f, err := auth.LoadPasswordFile(path, v)
			if err != nil {
				r.Fatal(err)
			}
			if len(f.Users()) != len(model) {
				r.Fatalf("%d users, want %d", len(f.Users()), len(model))
			}
		}
	})
}

// TestEditCannotWrite: a file that cannot be written is an error, and as it was.
func TestEditCannotWrite(t *testing.T) {
	path := write(t, "ann:"+pbkdf7)
	// A folder where the new file is to be made, which cannot be removed.
	blocked := filepath.Join(filepath.Dir(path), ".file.edgebroker-new", "x")
	if err := os.MkdirAll(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := edit(t, path, add("bob", pbkdf7)); err == nil {
		t.Error("no error")
	}
	want(t, "file", read(t, path), "ann:"+pbkdf7)
	large := write(t, "# "+strings.Repeat("x", auth.MaxPasswordFile-10)+"\n")
	if err := edit(t, large, add("bob", pbkdf7)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}
