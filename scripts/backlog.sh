#!/usr/bin/env bash
# Queues small messages for a client that is away, kills the broker, starts it
# again and lets the client read them all: how long does it take to be ready,
# how much memory is used, does everything arrive?
#
#   scripts/backlog.sh [MESSAGES]     default 10,000,000, some ten minutes and 4 GB
#
# The data lies in TMPDIR, which should be on the disk in question. Needs
# mosquitto_sub, for a subscriber that nobody here has written.
set -euo pipefail
cd "$(dirname "$0")/.."

messages=${1:-10000000}
if ! [[ $messages =~ ^[0-9]+0$ ]]; then
	echo "backlog.sh: error: \"$messages\" is not a number of messages that 10 publishers can share" >&2
	exit 2
fi
command -v mosquitto_sub >/dev/null || {
	echo "backlog.sh: error: no mosquitto_sub; install mosquitto-clients" >&2
	exit 2
}
tmp=$(mktemp -d)
broker=
cleanup() {
	[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT
CGO_ENABLED=0 go build -trimpath -o "$tmp/edgebroker" ./cmd/edgebroker
cat >"$tmp/edgebroker.yml" <<CONFIG
listeners: [{name: local, address: "127.0.0.1:0"}]
control: {socket: "$tmp/control.sock"}
storage: {directory: "$tmp/data", max_bytes: 16GiB}
sessions: {max_queued_messages: 100000000, max_queued_bytes: 32GiB, when_full: refuse}
CONFIG
eb() { "$tmp/edgebroker" "$@" --socket "$tmp/control.sock"; }

# start: starts the broker and tells how long it took to answer.
start() {
	local began now
	began=$(date +%s%N)
	"$tmp/edgebroker" serve --config "$tmp/edgebroker.yml" 2>>"$tmp/log" &
	broker=$!
	until eb health >/dev/null 2>&1; do
		kill -0 "$broker" || { cat "$tmp/log" && exit 1; }
	done
	now=$(date +%s%N)
	port=$(eb stats -o json | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1 | cut -d: -f2)
	echo "ready after $(((now - began) / 1000000)) ms"
}
memory() { awk '/VmRSS|VmHWM/ { printf "%s %d MB  ", $1, $2 / 1024 } END { print "" }' "/proc/$broker/status"; }
queued() { eb stats -o json | grep -A1 '"queued"' | grep -oE '[0-9]+'; }

start
mosquitto_sub -p "$port" -c -i away -q 1 -t '#' -E
echo "publishing $messages messages of 32 bytes"
SECONDS=0
"$tmp/edgebroker" bench --address "127.0.0.1:$port" --scenario pairs --clients 10 --qos 1 --payload 32 --window 200 --count $((messages / 10)) >"$tmp/bench"
echo "published in $SECONDS s; queued: $(queued); $(memory)"
echo "on disk: $(du -sh "$tmp/data" | cut -f1)"
kill -9 "$broker"
wait "$broker" 2>/dev/null || true
start
echo "queued: $(queued); $(memory)"
SECONDS=0
got=$(timeout 3600 mosquitto_sub -p "$port" -c -i away -q 1 -t '#' -C "$messages" -F '%I' | wc -l)
echo "read $got in $SECONDS s; queued: $(queued); $(memory)"
[ "$got" = "$messages" ] || exit 1
