package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker in releases (-X main.version=v1.2.3). Empty, the
// version comes from what the Go toolchain stamped into the binary.
var version string

// buildInfo is what `version -o json` prints; its names are stable.
type buildInfo struct {
	Version   string `json:"version"`
	Commit    string `json:"commit,omitempty"` // of the source, with "+dirty" when it was changed
	Built     string `json:"built,omitempty"`  // time of that commit, RFC 3339
	GoVersion string `json:"goVersion"`
	OS        string `json:"os"`   // "linux"
	Arch      string `json:"arch"` // "arm64"
}

func readBuildInfo() buildInfo {
	info := buildInfo{Version: version, GoVersion: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if bi, ok := debug.ReadBuildInfo(); ok {
		dirty := false
		for _, s := range bi.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.time":
				info.Built = s.Value
			case "vcs.modified":
				dirty = s.Value == "true"
			}
		}
		if dirty && info.Commit != "" {
			info.Commit += "+dirty"
		}
		if info.Version == "" && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
			info.Version = bi.Main.Version
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}

func versionCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of this program",
		UsageText: `edgebroker version
edgebroker version -o json`,
		Flags: []cli.Flag{outputFlag("table", "json", "jsonl")},
		Action: func(c *cli.Context) error {
			if _, err := e.positionals(c, 0, 0); err != nil {
				return err
			}
			format, err := outputFormat(c, "table", "json", "jsonl")
			if err != nil {
				return err
			}
			return printVersion(e, format)
		},
	}
}

func printVersion(e *env, format string) error {
	info := readBuildInfo()
	if format != "table" {
		return writeJSON(e.stdout, info, format == "json")
	}
	commit := ""
	if info.Commit != "" {
		commit = ", commit " + info.Commit
	}
	_, err := fmt.Fprintf(e.stdout, "%s %s (%s, %s/%s%s)\n", program, info.Version, info.GoVersion, info.OS, info.Arch, commit)
	return err
}
