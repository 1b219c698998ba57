#!/usr/bin/env bash
# Measures what it costs to be observed: CPU time of the broker per delivered
# message, with everything that watches and tells switched off, and on; and with
# somebody who wants an event for each message.
#
#   scripts/observe.sh      about five minutes
#
# off       no flight recorder, no $SYS, no provenance, no exporter
# on        flight recorder, provenance, $SYS every second with a subscriber and as
#           metrics, reports to a StatsD server every second, a scrape of /metrics
#           every two seconds, and an event sink to a file
# listener  off, and a listener in the process to all messages: a sink that takes
#           every 1,000,000th of them, so that the events are what is measured
# stream    off, and one reader of all messages as server-sent events
#
# Each of ROUNDS rounds runs all of them, one after the other, with a fresh broker;
# ratios are those of medians. Load and broker share the cores.
#
# Environment: ROUNDS=5, SECONDS_PER_RUN=3, WARMUP=500ms, PAYLOAD=64, EDGEBROKER (a
# binary to use instead of building one).
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-5}
SECONDS_PER_RUN=${SECONDS_PER_RUN:-3}
runs=("pairs 10 0" "pairs 10 1" "fan-out 100 0")
variants=(off on listener stream)

case "${1:-}" in
"") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "observe.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
pids=()
stop_all() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	pids=()
}
trap 'stop_all; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

edgebroker=${EDGEBROKER:-}
if [ -z "$edgebroker" ]; then
	edgebroker=$tmp/edgebroker
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$edgebroker" ./cmd/edgebroker
fi
command -v curl >/dev/null || {
	echo "observe.sh: error: curl is missing; run: apt-get install curl" >&2
	exit 1
}

# field NAME < JSON: the first number of that name.
field() { sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p" | head -n 1; }

# config VARIANT
config() {
	printf 'listeners: [{name: bench, type: unix, address: "%s/mqtt.sock"}]\ncontrol: {socket: "%s/control.sock"}\n' "$tmp" "$tmp"
	case $1 in
	on)
		printf 'sys: {interval: 1s, metrics: true}\nstatsd: {address: "unixgram:%s/statsd.sock", interval: 1s}\n' "$tmp"
		printf 'events: {sinks: [{name: file, type: file, path: "%s/events.jsonl"}]}\n' "$tmp"
		;;
	listener)
		printf 'sys: {interval: 0s}\nevents: {provenance: false, recorder: {max_bytes: 0B}, sinks: [{name: all, type: file, types: [message], sample: 1000000, path: "%s/events.jsonl"}]}\n' "$tmp"
		;;
	*) printf 'sys: {interval: 0s}\nevents: {provenance: false, recorder: {max_bytes: 0B}}\n' ;;
	esac
}

ask() { curl -sN --unix-socket "$tmp/control.sock" "$@" http://localhost"$path"; }

# measure VARIANT RUN: appends a line to the results.
measure() {
	local scenario clients qos json
	read -r scenario clients qos <<<"$2"
	config "$1" >"$tmp/edgebroker.yml"
	"$edgebroker" serve --config "$tmp/edgebroker.yml" >"$tmp/broker.log" 2>&1 &
	local broker=$!
	pids+=("$broker")
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$tmp/control.sock" ] || break
		sleep 0.05
	done
	case $1 in
	on)
		"$edgebroker" sub --address "unix:$tmp/mqtt.sock" "\$SYS/#" >/dev/null 2>&1 &
		pids+=("$!")
		path=/metrics
		while sleep 2; do ask; done >/dev/null 2>&1 &
		pids+=("$!")
		;;
	stream)
		path="/v1/events?type=message"
		ask -H 'Accept: text/event-stream' >/dev/null 2>&1 &
		pids+=("$!")
		sleep 0.2
		;;
	esac
	json=$(timeout 60 "$edgebroker" bench --address "unix:$tmp/mqtt.sock" --pid "$broker" --scenario "$scenario" --clients "$clients" --qos "$qos" \
		--payload "${PAYLOAD:-64}" --duration "${SECONDS_PER_RUN}s" --warmup "${WARMUP:-500ms}" -o json) ||
		echo "observe.sh: warning: $1, $2: the run was not clean" >&2
	stop_all
	printf '%s-%s-%s %s %s\n' "$scenario" "$clients" "$qos" "$1" "$(field brokerCPUMicrosPerMessage <<<"$json")" >>"$tmp/results"
}

echo "$((${#runs[@]} * ${#variants[@]} * ROUNDS)) runs of $SECONDS_PER_RUN s, $(nproc) cores, $("$edgebroker" version | head -n 1)" >&2
for ((round = 1; round <= ROUNDS; round++)); do
	for run in "${runs[@]}"; do
		for variant in "${variants[@]}"; do measure "$variant" "$run"; done
	done
	echo "round $round of $ROUNDS done after $SECONDS s" >&2
done

# median RUN VARIANT
median() {
	awk -v r="$1" -v v="$2" '$1 == r && $2 == v && $3 != "" { print $3 }' "$tmp/results" | sort -g |
		awk '{ a[NR] = $1 } END { if (NR) print (NR % 2) ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
}
printf '%-14s %10s %16s %16s %16s\n' scenario "off, us" "on" "listener" "stream"
for run in "${runs[@]}"; do
	key=${run// /-}
	off=$(median "$key" off)
	row=$(printf '%-14s %10.3f' "$key" "$off")
	for variant in on listener stream; do
		row+=$(awk -v m="$(median "$key" "$variant")" -v o="$off" 'BEGIN { printf " %8.3f (%.2fx)", m, m / o }')
	done
	echo "$row"
done
