#!/usr/bin/env bash
# Proves with promtool, Prometheus' own tool, what the Go tests can only guess:
#
#   - what a running broker answers to a scrape has no fault in form or names
#     (promtool check metrics), and a fault would be found;
#   - docs/prometheus/alerts.yml is valid, and with the values of alerts_test.yml
#     each alert fires when it should and no other does (promtool check, test rules);
#   - every expression of docs/grafana/edgebroker.json is valid PromQL.
#
#   scripts/prometheus.sh
#
# It needs Go and promtool: on PATH, or named by $EDGEBROKER_PROMTOOL, or it is
# taken out of the Debian package "prometheus", which is downloaded by apt-get and
# not installed, so that no daemon starts. It is not a step of check.sh, which must
# pass without promtool; run it after a change to metrics, alerts or the dashboard.
# It takes about half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "prometheus.sh: error: $*" >&2
	exit 1
}
case ${1-} in
"") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "prometheus.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash
PATH=$PATH:/usr/local/go/bin
have go || die "no go command; install Go 1.26 or later"

tool=${EDGEBROKER_PROMTOOL:-promtool}
if ! have "$tool"; then
	[ -z "${EDGEBROKER_PROMTOOL-}" ] || die "EDGEBROKER_PROMTOOL is $tool, which cannot be run"
	have apt-get || die "no promtool; install Prometheus, or name it in EDGEBROKER_PROMTOOL"
	(cd "$tmp" && timeout 300 apt-get -qq download prometheus >"$tmp/apt.log" 2>&1 && dpkg -x prometheus_*.deb prometheus) || {
		tail -n 5 "$tmp/apt.log" >&2
		die "download the package prometheus: see above"
	}
	tool=$tmp/prometheus/usr/bin/promtool
fi
tool=$(command -v "$tool")
"$tool" --version 2>&1 | head -n 1

# A linter that accepts everything would prove nothing.
if printf '# TYPE bad counter\nbad 1\n' | "$tool" check metrics >/dev/null 2>&1; then
	die "$tool accepts a bad metric"
fi
sed 's/state="full"} == 1/state="full"} == 2/' docs/prometheus/alerts.yml >"$tmp/alerts.yml"
sed '/a store that is nearly full/,$d' docs/prometheus/alerts_test.yml >"$tmp/alerts_test.yml"
if "$tool" test rules "$tmp/alerts_test.yml" >/dev/null 2>&1; then
	die "the tests of alerts do not find that one has been broken"
fi

EDGEBROKER_PROMTOOL=$tool timeout 300 go test -count=1 -v -run '^Test(Promtool.*|AlertsAreTested|DashboardAndAlerts)$' ./e2e >"$tmp/test.log" 2>&1 || {
	cat "$tmp/test.log" >&2
	die "go test: see above"
}
if grep -E '^ *--- SKIP' "$tmp/test.log"; then die "a test was skipped"; fi
grep -E '^--- PASS' "$tmp/test.log" || die "no test has run"
