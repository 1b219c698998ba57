// Command sbom says what is linked into a binary of edgebroker: as a CycloneDX
// document, and as files with all licences in full, one of them in Debian's format
// for copyrights. It reads the modules from the binary itself, and fails if
// one has no licence, or one that it does not know.
//
//	go run ./internal/sbom -binary FILE -version V -epoch SECONDS -out DIR
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "sbom: error:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("binary", "", "the binary to look into")
	version := flags.String("version", "", "its version")
	epoch := flags.Int64("epoch", 0, "when its source was made, in seconds since 1970")
	out := flags.String("out", "", "folder for the files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *binary == "" || *version == "" || *out == "" || flags.NArg() > 0 {
		return errors.New("-binary, -version and -out are needed, and nothing else")
	}
	parts, err := partsOf(*binary)
	if err != nil {
		return err
	}
	document, err := cycloneDX(parts, *version, time.Unix(*epoch, 0).UTC())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	rights, beside := copyright(parts)
	for name, text := range map[string]string{"sbom.cdx.json": string(document), "copyright": rights, besideName: beside} {
		if err := os.WriteFile(filepath.Join(*out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
