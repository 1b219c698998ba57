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
rc_policy=
cleanup() {
	rm -rf "$tmp"
	[ -z "$rc_policy" ] || rm -f "$rc_policy"
}
trap cleanup EXIT

have() { command -v "$1" >/dev/null 2>&1; }

PATH=$PATH:/usr/local/go/bin
have go || die "no go command; install Go 1.26 or later"
packages=()
have node || packages+=(nodejs)
have npm || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ] || ! have apt-get; then
		die "missing packages; run: sudo apt-get install ${packages[*]}"
	fi
	echo "installing: ${packages[*]}" >&2
	# No daemon shall start here because its package was installed.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		rc_policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >"$rc_policy"
		chmod 755 "$rc_policy"
	fi
	apt=(timeout 300 apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
	{ "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } \
		>"$tmp/apt.log" 2>&1 || {
		tail -n 20 "$tmp/apt.log" >&2
		die "install ${packages[*]}: see above"
	}
fi

# The library alone, in a folder that goes: no lock file, no install scripts.
timeout 120 npm install --prefix "$tmp" --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
	"$package" >"$tmp/npm.log" 2>&1 || {
	tail -n 20 "$tmp/npm.log" >&2
	die "npm install $package: see above"
}

EDGEBROKER_NODE_MODULES=$tmp/node_modules go test -count=1 -timeout 3m -v -run '^TestEventsNode$' ./appliance
