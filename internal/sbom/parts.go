package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// part is something that is linked in: this project, Go's standard library, a
// module, or what a folder of one of them says comes from elsewhere.
type part struct {
	Path     string // module path; "std" for the standard library
	Version  string
	Sum      string // as in go.sum; empty if there is none
	Licences []licence
}

// licence is one file with a licence or a notice.
type licence struct {
	Name string // below the module, with _ for /
	Text []byte
	ID   string // SPDX; empty for a notice, which adds to a licence
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	Standard        bool
	Module          *struct{ Path, Dir string }
}

// partsOf is what is linked into a binary that was built of the module in the
// current folder, sorted by path, with this project first.
func partsOf(binary string) ([]part, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	packages, err := listPackages(info)
	if err != nil {
		return nil, err
	}
	folders := map[string]map[string]bool{} // module: its folders with linked packages
	roots := map[string]string{}
	for _, p := range packages {
		if p.Standard {
			continue // all under the one licence of Go
		}
		if p.Module == nil || p.Module.Dir == "" {
			return nil, fmt.Errorf("package %s is of no module that is here; run go mod download", p.ImportPath)
		}
		name, root := p.Module.Path, p.Module.Dir
		if folders[name] == nil {
			folders[name], roots[name] = map[string]bool{}, root
		}
		for dir := p.Dir; len(dir) >= len(root); dir = filepath.Dir(dir) {
			folders[name][dir] = true
		}
	}
	parts := []part{{Path: info.Main.Path}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return nil, fmt.Errorf("module %s is replaced; say here where its licence is", dep.Path)
		}
		parts = append(parts, part{Path: dep.Path, Version: dep.Version, Sum: dep.Sum})
	}
	for i := range parts {
		p := &parts[i]
		dirs, found := folders[p.Path]
		if !found {
			return nil, fmt.Errorf("module %s is in the binary, but no package of it is in what go list says; is it built of this source?", p.Path)
		}
		delete(folders, p.Path)
		if i == 0 { // what it embeds lies in folders without packages
			if err := everyFolder(roots[p.Path], dirs); err != nil {
				return nil, err
			}
		}
		if p.Licences, err = licencesIn(roots[p.Path], dirs); err != nil {
			return nil, fmt.Errorf("module %s: %w", p.Path, err)
		}
	}
	if len(folders) > 0 {
		return nil, fmt.Errorf("%d modules are in what go list says, but not in the binary; is it built of this source?", len(folders))
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go's own licence: %w", err)
	}
	std := part{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}
	root := strings.TrimSpace(string(goroot))
	if std.Licences, err = licencesIn(root, map[string]bool{root: true}); err != nil {
		return nil, fmt.Errorf("standard library: %w", err)
	}
	parts = append(parts, std)
	slices.SortFunc(parts[1:], func(a, b part) int { return cmp.Compare(a.Path, b.Path) })
	return parts, nil
}

// listPackages asks go for the packages of the command, for the machine and with
// the tags that the binary has been built for.
func listPackages(info *debug.BuildInfo) (list []listed, err error) {
	tags := ""
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			tags = s.Value
		}
	}
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "-json=ImportPath,Dir,Standard,Module", info.Path)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0")
	for _, s := range info.Settings {
		if slices.Contains([]string{"GOOS", "GOARCH", "GOARM", "GOARM64", "GOAMD64", "GORISCV64"}, s.Key) {
			cmd.Env = append(cmd.Env, s.Key+"="+s.Value)
		}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, p)
	}
}

// everyFolder adds the folders below root but those that are not of the source.
func everyFolder(root string, dirs map[string]bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != root && (name == "dist" || name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		dirs[path] = true
		return nil
	})
}

// licenceName is what files are called that may hold a licence.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]es?|copying|notices?|patents|unlicense|edl-v10|epl-v20)([.-][a-z0-9.-]+)?$`)

// licencesIn reads the licences that lie in dirs of the module at root. There
// must be one, and each must be known.
func licencesIn(root string, dirs map[string]bool) (list []licence, err error) {
	known := false
	for dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceName.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
				continue
			}
			path := filepath.Join(dir, e.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			l := licence{Name: strings.ReplaceAll(filepath.ToSlash(name), "/", "_"), Text: text}
			if l.ID, err = identify(e.Name(), text); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			known = known || l.ID != ""
			list = append(list, l)
		}
	}
	if !known {
		return nil, fmt.Errorf("no licence in %s", root)
	}
	slices.SortFunc(list, func(a, b licence) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
