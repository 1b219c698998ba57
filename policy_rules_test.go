package edgebroker_test

import (
	"fmt"
	"strings"
)

// rules is the policy. Their checks are in policy_checks_test.go.
func rules() []rule {
	const (
		mochi = "github.com/mochi-mqtt/server/v2"
		jwt   = "github.com/golang-jwt/jwt/v5"
		proxy = "github.com/pires/go-proxyproto"
		otlp  = "go.opentelemetry.io/proto/otlp"
	)
	return []rule{
		{
			name:   "imports follow the arrows",
			reason: "a part that knows only what lies below it can be read, tested and replaced alone; see arrows()",
			check:  checkArrows,
			breaks: []files{
				{"relay/a.go": imports("relay", module+"/hooks")},
				{"relay/a.go": imports("relay", module+"/appliance")},
				{"listen/a.go": imports("listen", module+"/relay")},
				{"listen/a.go": imports("listen", module+"/certs")},
				{"statsd/web/a.go": imports("web", module+"/relay")},
				{"events/a.go": imports("events", module+"/wire")},
				{"auth/a.go": imports("auth", module+"/events")},
				{"relay/a.go": imports("relay", module+"/auth")},
				{"acl/a.go": imports("acl", module+"/relay")},
				{"trace/a.go": imports("trace", module+"/listen")},
				{"listen/a.go": imports("listen", module+"/trace")},
				{"appliance/a.go": imports("appliance", module+"/cmd/edgebroker")},
				{"relay/a_test.go": imports("relay", module+"/cmd/edgebroker")},
				{"internal/newcomer/a.go": imports("newcomer")},
				{"newcomer/a.go": imports("newcomer", module+"/wire")},
			},
			holds: []files{
				{"hooks/a.go": imports("hooks", module+"/relay", module+"/listen", module+"/wire")},
				{"acl/a.go": imports("acl", module+"/wire")},
				{"statsd/web/a.go": imports("web", module+"/statsd", module+"/events", "net/http")},
				{"relay/a_test.go": imports("relay_test", module+"/internal/brokertest")},
				{"cmd/edgebroker/main.go": imports("main", module+"/appliance")},
			},
		},
		{
			name:   "mochi stays at the top",
			reason: "mochi's types are those of another project and of the control plane; below hooks and listen nobody may depend on them",
			check:  checkOnlyIn(mochi, "appliance", "hooks", "listen", "scripts"), // which compare with mochi itself
			breaks: []files{
				{"relay/a.go": imports("relay", mochi)},
				{"wire/a_test.go": imports("wire", mochi+"/packets")},
				{"cmd/edgebroker/a.go": imports("main", mochi)},
			},
			holds: []files{
				{"hooks/a.go": imports("hooks", mochi, mochi+"/packets")},
				{"listen/a_test.go": imports("listen", mochi+"/listeners")},
				{"relay/a.go": imports("relay", mochi+"x")},
			},
		},
		{
			name:   "the ground floor is std only",
			reason: "what parses untrusted bytes, decides who may do what, keeps data or talks to the service manager must not change because a dependency did",
			check:  checkStdOnly("wire", "journal", "acl", "trace", "systemd", "certs"),
			breaks: []files{
				{"wire/a.go": imports("wire", "github.com/rs/xid")},
				{"acl/a.go": imports("acl", "github.com/goccy/go-yaml")},
				{"trace/a.go": imports("trace", "github.com/rs/xid")},
				{"systemd/a.go": imports("systemd", "golang.org/x/sys/unix")},
				{"certs/a.go": imports("certs", "golang.org/x/crypto/ocsp")},
			},
			holds: []files{
				{"wire/a.go": imports("wire", "unicode/utf8")},
				{"wire/a_test.go": imports("wire", "pgregory.net/rapid")},
				{"listen/a.go": imports("listen", "golang.org/x/sys/unix")},
			},
		},
		{
			name:   "who gets in depends on little",
			reason: "a dependency of auth can let anybody in; and tokens are judged in one place, so that nobody else does it with less care",
			check:  checkModules("auth", []string{jwt}, "golang.org/x/crypto"),
			breaks: []files{
				{"auth/a.go": imports("auth", "github.com/rs/xid")},
				{"auth/a.go": imports("auth", "golang.org/x/sys/unix")},
				{"auth/a.go": imports("auth", jwt+"x")},
				{"hooks/a.go": imports("hooks", jwt)},
				{"e2e/a_test.go": imports("e2e", jwt+"/request")},
			},
			holds: []files{
				{"auth/a.go": imports("auth", "crypto/x509", "golang.org/x/crypto/argon2", jwt)},
				{"auth/a_test.go": imports("auth_test", "pgregory.net/rapid", module+"/auth", jwt)},
				{"hooks/a.go": imports("hooks", "golang.org/x/crypto/argon2", jwt+"x")},
			},
		},
		{
			name:   "PROXY headers are read in one place",
			reason: "they say who a client is; whoever reads one must know that it comes from a trusted proxy",
			check:  checkOnlyIn(proxy, "listen"),
			breaks: []files{
				{"hooks/a.go": imports("hooks", proxy)},
				{"e2e/a_test.go": imports("e2e", proxy+"/tlvparse")}, // tests write their headers by hand
			},
			holds: []files{
				{"listen/a.go": imports("listen", proxy)},
				{"hooks/a.go": imports("hooks", proxy+"x")},
			},
		},
		{
			name:   "gRPC stays out",
			reason: "it is 6 MB in a binary for a gateway; of OpenTelemetry only the messages are of use, but for those of the collector, whose package brings gRPC",
			check:  checkNowhere("google.golang.org/grpc", otlp+"/collector", "go.opentelemetry.io/otel"),
			breaks: []files{
				{"statsd/a.go": imports("statsd", "google.golang.org/grpc/codes")},
				{"statsd/a.go": imports("statsd", otlp+"/collector/metrics/v1")},
				{"statsd/a_test.go": imports("statsd", "go.opentelemetry.io/otel/sdk/metric")},
			},
			holds: []files{
				{"statsd/a.go": imports("statsd", otlp+"/metrics/v1", "google.golang.org/protobuf/proto")},
			},
		},
		{
			name:   "brokertest is for tests",
			reason: "helpers that fail tests must not reach the binary",
			check:  checkBrokertest,
			breaks: []files{
				{"appliance/a.go": imports("appliance", module+"/internal/brokertest")},
				{"cmd/edgebroker/a.go": imports("main", module+"/internal/brokertest")},
			},
			holds: []files{
				{"appliance/a_test.go": imports("appliance_test", module+"/internal/brokertest")},
			},
		},
		{
			name:   "one package comment per folder",
			reason: "a newcomer reads one comment to know what a folder is for; two drift apart",
			check:  checkPackageComment,
			breaks: []files{
				{"relay/a.go": "package relay\n"},
				{"relay/a.go": "// Package relay x.\npackage relay\n", "relay/b.go": "// Package relay y.\npackage relay\n"},
				{"relay/a.go": "// The relay routes.\npackage relay\n"},
				{"e2e/a_test.go": "package e2e\n"},
			},
			holds: []files{
				{"relay/a.go": "// Package relay x.\npackage relay\n", "relay/b.go": "package relay\n"},
				{"relay/a.go": "// Package relay x.\npackage relay\n", "relay/a_test.go": "package relay_test\n"},
				{"cmd/x/main.go": "// Command x.\npackage main\n"},
				{"e2e/a_test.go": "// Package e2e x.\npackage e2e\n"},
			},
		},
		{
			name:   "no file over 600 lines",
			reason: "one file holds one idea; past this length it holds several",
			check:  checkLength(600, func(f *sourceFile) bool { return !f.isTest() }),
			breaks: []files{{"relay/a.go": "package relay\n" + strings.Repeat("\n", 600)}},
			holds: []files{
				{"relay/a.go": "package relay\n" + strings.Repeat("\n", 599)},
				{"relay/a_test.go": "package relay\n" + strings.Repeat("\n", 600)},
			},
		},
		{
			name:   "main.go is short",
			reason: "main turns signals into a context and a result into an exit status; all else can be tested",
			check: checkLength(60, func(f *sourceFile) bool {
				return strings.HasPrefix(f.path, "cmd/") && strings.HasSuffix(f.path, "/main.go")
			}),
			breaks: []files{{"cmd/x/main.go": "package main\n" + strings.Repeat("\n", 60)}},
			holds: []files{
				{"cmd/x/main.go": "package main\n" + strings.Repeat("\n", 59)},
				{"cmd/x/serve.go": "package main\n" + strings.Repeat("\n", 60)},
			},
		},
		{
			name:   "no init",
			reason: "importing a package must do nothing: order and cost of start-up belong to the caller",
			check:  checkInit,
			breaks: []files{
				{"relay/a.go": "package relay\nfunc init() {}\n"},
				{"relay/a_test.go": "package relay\nfunc init() {}\n"},
			},
			holds: []files{{"relay/a.go": "package relay\ntype t struct{}\nfunc (t) init() {}\n"}},
		},
		{
			name:   "only main exits",
			reason: "os.Exit skips every deferred close; errors are returned up to main",
			check:  checkExit,
			breaks: []files{
				{"appliance/a.go": "package appliance\nimport \"os\"\nfunc f() { os.Exit(1) }\n"},
				{"cmd/x/serve.go": "package main\nimport \"os\"\nfunc f() { os.Exit(1) }\n"},
				{"relay/a.go": "package relay\nimport \"log\"\nfunc f() { log.Fatalf(\"x\") }\n"},
			},
			holds: []files{
				{"cmd/x/main.go": "package main\nimport \"os\"\nfunc main() { os.Exit(1) }\n"},
				{"relay/a_test.go": "package relay\nimport \"os\"\nfunc TestMain() { os.Exit(1) }\n"},
			},
		},
		{
			name:   "folders name a purpose",
			reason: "a folder named for what is left over collects what is left over",
			check:  checkFolderNames("util", "utils", "common", "types", "pkg", "helpers", "misc", "shared", "lib"),
			breaks: []files{
				{"util/a.go": "package util\n"},
				{"internal/common/a.go": "package common\n"},
				{"statsd/types/a.go": "package types\n"},
				{"pkg/relay/a.go": "package relay\n"},
			},
			holds: []files{{"relay/types.go": "package relay\n"}},
		},
		{
			name:   "tests do not sleep",
			reason: "a sleep is too short on a slow machine and too long on a fast one; wait for what you need, or use testing/synctest",
			check:  checkSleep,
			breaks: []files{
				{"relay/a_test.go": testBody(`time.Sleep(1)`)},
				{"relay/a_test.go": testBody(`<-time.After(1)`)},
				{"relay/a_test.go": testBody(`select { case <-time.After(1): }`)},
				{"relay/a_test.go": testBody(`wait()`) + "func wait() { time.Sleep(1) }\n"},
				{"relay/a_test.go": testBody(`synctest.Test(t, func(t *testing.T) {}); time.Sleep(1)`)},
				{"relay/a_test.go": strings.ReplaceAll(testBody(`clock.Sleep(1)`), `"time"`, `clock "time"`)},
			},
			holds: []files{
				{"relay/a_test.go": testBody(`synctest.Test(t, func(t *testing.T) { time.Sleep(1) })`)},
				{"relay/a_test.go": testBody(`synctest.Test(t, body)`) + "func body(t *testing.T) { wait() }\nfunc wait() { time.Sleep(1) }\n"},
				{"relay/a_test.go": testBody(`select { case <-t.Context().Done(): case <-time.After(1): t.Fatal() }`)},
				{"relay/a.go": "package relay\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"},
			},
		},
		{
			name:   "ages go by the monotonic clock",
			reason: "a gateway's clock is set while it runs; subtract times, which have the monotonic clock, or give the file a reason in checkWallClock",
			check:  checkWallClock,
			breaks: []files{
				{"bridge/a.go": "package bridge\nfunc f() int64 { return time.Now().UnixNano() }\n"},
				{"relay/a.go": "package relay\nvar at = t.Unix()\n"},
				{"listen/a.go": "package listen\nvar at = time.Now().Round(0)\n"},
			},
			holds: []files{
				{"relay/a.go": "package relay\nfunc f() time.Duration { return time.Since(started) }\n"},
				{"relay/a_test.go": "package relay\nvar at = time.Now().UnixNano()\n"},
				{"certs/source.go": "package certs\nvar at = t.Unix()\n"},
			},
		},
		{
			name:   "no machine's paths",
			reason: "the project must read and run the same on every machine; use t.TempDir, mktemp or a relative path",
			check:  checkMachinePaths,
			breaks: []files{
				{"README.md": "see /ho" + "me/ann/edgebroker\n"},
				{"relay/a.go": "package relay\n// Measured in /ro" + "ot/x.\n"},
				{"scripts/a.sh": "cd /wo" + "rk/main\n"},
				{"relay/a_test.go": "package relay\nconst p = \"/tm" + "p/x\"\n"},
			},
			holds: []files{
				{"README.md": "a topic plant/home/ann/x, a file /etc/edgebroker/edgebroker.yml, https://example.org/work/x\n"},
				{"scripts/a.sh": "cd \"${TMPDIR:-/tmp}\"\n"},
				{"relay/a.go": "package relay\nconst p = \"site/tmp/x\"\n"},
				{"appliance/a.go": "package appliance\nconst p = \"/tm" + "p/edgebroker-1000/control.sock\"\n"},
			},
		},
		{
			name:   "tests that are named exist",
			reason: "a document that says a test shows something must not outlive the test",
			check:  checkNamedTests,
			breaks: []files{
				{"docs/A.md": "shown by `TestNothing`\n"},
				{"docs/A.md": "`TestA`", "relay/a_test.go": "package relay\n\n// TestA is\nfunc TestAB(t *testing.T) {}\n"},
			},
			holds: []files{
				{"docs/A.md": "shown by `TestA`\n", "relay/a_test.go": "package relay\n\nfunc TestA(t *testing.T) {}\n"},
			},
		},
		{
			name:   "every lesson has its thread and its test",
			reason: "docs/LESSONS.md says fifty times that something does not happen here; say where it happened, and in which folder which test shows it",
			check:  checkLessons,
			breaks: []files{
				lessons("| 1 | no [a#1](https://github.com/a/b/issues/1) | yes | relay: `TestA` |", "relay"),
				lessons(strings.Replace(fifty, "issues/7)", "wiki)", 1), "relay"),
				lessons(strings.Replace(fifty, "relay: `TestA`", "see there", 1), "relay"),
				lessons(strings.Replace(fifty, "| 9 |", "| 8 |", 1), "relay"),
				lessons(fifty, "store"),
			},
			holds: []files{lessons(fifty, "relay"), {"docs/A.md": "| 1 | x |\n"}},
		},
		{
			name:   "documents that are named exist",
			reason: "a reader sent to a document must find it in this repository",
			check:  checkDocuments,
			breaks: []files{
				{"relay/a.go": "package relay\n// See NOWHERE.md.\n"},
				{"README.md": "[plan](docs/PLAN.md)\n", "PLAN.md": ""},
			},
			holds: []files{
				{"relay/a.go": "package relay\n// See docs/PLAN.md.\n", "docs/PLAN.md": ""},
				{"docs/A.md": "[plan](PLAN.md), [start](../README.md#top)\n", "docs/PLAN.md": "", "README.md": ""},
				{"relay/a.go": "package relay\n// See https://example.org/NOWHERE.md.\n"},
			},
		},
	}
}

// lessons is a list of them, and a test in a folder.
func lessons(list, folder string) files {
	return files{"docs/LESSONS.md": list, folder + "/a_test.go": "package " + folder + "\n\nfunc TestA(t *testing.T) {}\n"}
}

var fifty = func() string {
	var b strings.Builder
	for i := 1; i <= 50; i++ {
		fmt.Fprintf(&b, "| %d | no [a#%d](https://github.com/a/b/issues/%d) | yes | relay: `TestA` |\n", i, i, i)
	}
	return b.String()
}()

// imports is a Go file of package name that imports the given paths.
func imports(name string, paths ...string) string {
	var b strings.Builder
	b.WriteString("package " + name + "\n")
	for _, p := range paths {
		b.WriteString("import _ \"" + p + "\"\n")
	}
	return b.String()
}

// testBody is a test file whose one test runs body.
func testBody(body string) string {
	return "package relay\nimport (\n\"testing\"\n\"testing/synctest\"\n\"time\"\n)\n" +
		"func TestX(t *testing.T) { " + body + " }\n"
}
