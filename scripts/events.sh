#!/usr/bin/env bash
# Proves that a component in Node, with the nats package of npm, which speaks
# control.connect, control.disconnect and topic.NAME and knows nothing of MQTT, sees
# devices of an uplink in event mode come, publish and go, reaches them, and is seen.
# docs/NATS-EVENTS.md says what is promised.
#
#   scripts/events.sh
#
# It needs Go, npm with its registry, and nodejs. As root it installs the packages
# that are missing; otherwise it names them. It is not a step of check.sh, which must
# pass without npm, and where a test in Go speaks the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

package=nats@2.29.3

die() {
	echo "events.sh: error: $*" >&2
	exit 1
}
[ $# -eq 0 ] || {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 2
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash

PATH=$PATH:/usr/local/go/bin
have go || die "no go command; install Go 1.26 or later"
packages=()
have node || packages+=(nodejs)
have npm || packages+=(npm)
install_packages "${packages[@]}"

must_npm_fetch "$package"

EDGEBROKER_NODE_MODULES=$tmp/node_modules go test -count=1 -timeout 3m -v -run '^TestEventsNode$' ./appliance
