#!/usr/bin/env bash
# Proves that the client libraries people use get from edgebroker what MQTT
# promises them: one matrix of behaviour (QoS, retained, will, shared
# subscriptions, kept sessions, MQTT 5 properties, ...) with MQTT.js, python's
# paho, mosquitto_pub and _sub, paho.mqtt.golang and paho.golang, each in every
# protocol version and over TCP, WebSocket and unix sockets as far as it can.
#
#   scripts/interop.sh              prints the table; fails if a cell does
#   scripts/interop.sh --write      also writes it to docs/INTEROP.md
#   scripts/interop.sh --only TEXT  only rows whose name contains TEXT, such as
#                                   "MQTT.js" or "5, ws"; not with --write
#
# It needs Go, npm with its registry, and some Debian packages. As root it
# installs the packages that are missing; otherwise it names them. It is not a
# step of check.sh, which must pass without npm; run it after a change to what
# clients see. It takes about a minute, at most TIME_LIMIT (600 s).
set -euo pipefail
cd "$(dirname "$0")/.."

TIME_LIMIT=${TIME_LIMIT:-600}
mqttjs=mqtt@5.16.0

die() {
	echo "interop.sh: error: $*" >&2
	exit 1
}
usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
}

write=
only=
while [ $# -gt 0 ]; do
	case $1 in
	--write) write=yes ;;
	--only)
		[ $# -gt 1 ] || { usage >&2 && exit 2; }
		only=$2
		shift
		;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		echo "interop.sh: error: unknown argument $1; try --help" >&2
		exit 2
		;;
	esac
	shift
done
[ -z "$write" ] || [ -z "$only" ] || {
	echo "interop.sh: error: --write needs all rows, so not --only" >&2
	exit 2
}

tmp=$(mktemp -d)
broker_pid=
cleanup() {
	if [ -n "$broker_pid" ]; then
		kill "$broker_pid" 2>/dev/null || true
		wait "$broker_pid" 2>/dev/null || true
	fi
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash

# Debian's python has Debian's packages; another one may come first in PATH.
python=/usr/bin/python3
has_paho() { "$python" -c 'import paho.mqtt' 2>/dev/null; }

PATH=$PATH:/usr/local/go/bin
have go || die "no go command; install Go 1.26 or later"
packages=()
have node || packages+=(nodejs)
have npm || packages+=(npm)
have mosquitto_sub || packages+=(mosquitto-clients)
has_paho || packages+=(python3-paho-mqtt)
install_packages "${packages[@]}"

must_npm_fetch "$mqttjs"

export CGO_ENABLED=0
go build -trimpath -o "$tmp/edgebroker" ./cmd/edgebroker
go build -trimpath -o "$tmp/interop" ./interop

cat >"$tmp/edgebroker.yml" <<EOF
listeners:
  - {name: tcp, type: tcp, address: "127.0.0.1:0"}
  - {name: ws, type: ws, address: "127.0.0.1:0"}
  - {name: unix, type: unix, address: "$tmp/mqtt.sock"}
control: {socket: "$tmp/control.sock"}
EOF
"$tmp/edgebroker" serve --config "$tmp/edgebroker.yml" >"$tmp/broker.log" 2>&1 &
broker_pid=$!
for ((i = 0; i < 100; i++)); do
	"$tmp/edgebroker" health --socket "$tmp/control.sock" >/dev/null 2>&1 && break
	kill -0 "$broker_pid" 2>/dev/null || break
	sleep 0.1
done

# address NAME: where that listener listens, with the port that it was given.
address() {
	"$tmp/edgebroker" stats --socket "$tmp/control.sock" -o json |
		node -e 'console.log(JSON.parse(require("fs").readFileSync(0)).listeners.find((l) => l.name === process.argv[1]).address)' "$1"
}
if ! at_tcp=$(address tcp) || ! at_ws=$(address ws); then
	cat "$tmp/broker.log" >&2
	die "start edgebroker: see above"
fi

status=0
NODE_PATH=$tmp/node_modules timeout "$TIME_LIMIT" "$tmp/interop" -tcp "$at_tcp" -ws "$at_ws" -unix "$tmp/mqtt.sock" \
	-python "$python" -only "$only" -markdown "$tmp/table" || status=$?
if ! kill -0 "$broker_pid" 2>/dev/null; then
	cat "$tmp/broker.log" >&2
	die "edgebroker did not survive: see above"
fi
if [ "$status" != 0 ]; then
	tail -n 30 "$tmp/broker.log" >&2
	[ "$status" != 124 ] || die "not done after $TIME_LIMIT s"
fi
if [ -n "$write" ] && [ -s "$tmp/table" ]; then
	cp "$tmp/table" docs/INTEROP.md
fi
[ "$status" = 0 ]
