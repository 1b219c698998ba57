#!/usr/bin/env bash
# Cuts an uplink for as long as many messages take, kills the gateway in the
# middle and the far broker while it catches up, and looks at what came out there.
# It proves that nothing that was acknowledged is lost, that order holds, and that
# QoS 2 comes once; and it says how fast the backlog drains.
#
#   scripts/outage.sh [MESSAGES]              far broker: edgebroker; default 200,000
#   scripts/outage.sh --mosquitto [MESSAGES]  far broker: mosquitto, stopped instead of killed
#
# EDGEBROKER names a binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

far=()
if [ "${1-}" = --mosquitto ]; then
	shift
	mosquitto=$(command -v mosquitto || command -v /usr/sbin/mosquitto) || {
		echo "outage.sh: error: no mosquitto; install it: apt-get install mosquitto" >&2
		exit 2
	}
	far=(-mosquitto "$mosquitto")
fi
[[ ${1:-200000} =~ ^[0-9]{3,8}$ && $# -le 1 ]] || {
	echo "outage.sh: error: \"$*\" is not a number of messages; see the head of $0" >&2
	exit 2
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [ -z "${EDGEBROKER-}" ]; then
	go build -trimpath -o "$tmp/edgebroker" ./cmd/edgebroker
	EDGEBROKER=$tmp/edgebroker
fi
go build -o "$tmp/outage" ./internal/outage
"$tmp/outage" -edgebroker "$EDGEBROKER" "${far[@]}" -messages "${1:-200000}" -dir "$(mktemp -d -p "$tmp")"
