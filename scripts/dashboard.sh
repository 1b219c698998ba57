#!/usr/bin/env bash
# Drives the dashboard in Chromium, without a window, against a running broker:
# login, live numbers, kick, theme, keys, a restart, phones, hostile names, what
# assistive technology is told, and that it complains of nothing and asks nobody
# else. See e2e/dashboard.
#
#   scripts/dashboard.sh                 runs the tests
#   scripts/dashboard.sh --screenshots   also makes docs/screenshots anew
#
# It needs Go and Chromium: on PATH as chromium, or named by $EDGEBROKER_CHROMIUM;
# as root it installs Debian's package. With npm and its registry axe-core judges
# the page, too; without, that is left out with a line that says so. It is not a
# step of check.sh, which must pass without a browser; run it after a change to
# web/page. It takes about a minute, and another one for the pictures.
set -euo pipefail
cd "$(dirname "$0")/.."

axe="axe-core@4.14.1"

die() {
	echo "dashboard.sh: error: $*" >&2
	exit 1
}
pictures=
case ${1-} in
"") ;;
--screenshots) pictures=$PWD/docs/screenshots ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "dashboard.sh: error: unknown argument $1; try --help" >&2
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

browser=${EDGEBROKER_CHROMIUM:-chromium}
if ! have "$browser"; then
	[ -z "${EDGEBROKER_CHROMIUM-}" ] || die "EDGEBROKER_CHROMIUM is $browser, which cannot be run"
	install_packages chromium
fi
EDGEBROKER_CHROMIUM=$(command -v "$browser")
export EDGEBROKER_CHROMIUM

if have npm && npm_fetch "$axe"; then
	export EDGEBROKER_AXE=$tmp/node_modules/axe-core/axe.min.js
else
	echo "left out: what $axe says, which npm could not get" >&2
fi
[ -z "$pictures" ] || mkdir -p "$pictures"
export EDGEBROKER_SCREENSHOTS=$pictures

go vet -tags chromium ./e2e/dashboard
timeout 600 go test -tags chromium -count=1 -v ./e2e/dashboard >"$tmp/test.log" 2>&1 || {
	cat "$tmp/test.log" >&2
	die "go test: see above"
}
if grep -E '^ *--- SKIP' "$tmp/test.log" | grep -v TestScreenshots; then die "a test was skipped"; fi
grep -E '^ *--- PASS' "$tmp/test.log" || die "no test has run"
