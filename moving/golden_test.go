package moving

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// Whole configurations, and what they come to: the report and each file.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(paths) < 6 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var in, want []txtar.File
			for _, f := range a.Files {
				if strings.HasPrefix(f.Name, "want/") {
					want = append(want, f)
					continue
				}
				in = append(in, f)
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, f.Name), strings.ReplaceAll(string(f.Data), "DIR", dir))
			}
			first, _, _ := strings.Cut(string(a.Comment), "\n")
			version, _ := strings.CutPrefix(first, "version ")
			if version == first {
				version = ""
			}
			v, err := ParseVersion(version)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Convert(Options{File: filepath.Join(dir, "mosquitto.conf"), Dir: dir, Out: "/etc/edgebroker", Data: "/var/lib/edgebroker", Host: "gateway", Version: v})
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range r.Report { // before columns are cut to a width
				r.Report[i].File, r.Report[i].Setting = strings.ReplaceAll(e.File, dir, "DIR"), strings.ReplaceAll(e.Setting, dir, "DIR")
			}
			var report strings.Builder
			if err := r.Report.Write(&report, func(s string) string { return s }); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&report, "%d to look at\n", r.Report.Security())
			got := []txtar.File{{Name: "want/report", Data: []byte(report.String())}}
			for _, f := range r.Files {
				got = append(got, txtar.File{Name: "want/" + f.Name, Data: f.Data})
			}
			for i := range got {
				got[i].Data = []byte(strings.ReplaceAll(string(got[i].Data), dir, "DIR"))
			}
			if *update {
				a.Files = append(in, got...)
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if g, w := string(txtar.Format(&txtar.Archive{Files: got})), string(txtar.Format(&txtar.Archive{Files: want})); g != w {
				t.Errorf("got\n%s\nwant\n%s\n(go test ./moving -run TestGolden -update writes it anew)", g, w)
			}
		})
	}
}
