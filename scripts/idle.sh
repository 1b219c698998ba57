#!/usr/bin/env bash
# Measures how well a broker sleeps: context switches of its process, and the
# processor time that it takes, while clients are connected and nothing is published.
# edgebroker, with a store, and mosquitto, if it is installed, with persistence, side
# by side on the same machine.
#
#   scripts/idle.sh      about seven minutes
#
# silent    nothing comes from the clients; their keep alive is ten minutes
# watching  the same, and edgebroker has files of users and rules to look at; it alone
# pinging   each client sends PINGREQ every 60 seconds, one after the other
#
# A broker that wakes up has a context switch or more for each time; what it does for
# a PINGREQ is a few, too, which the protocol needs.
#
# Environment: CLIENTS=100, SPAN=60 (seconds of each measurement), SETTLE=15 (seconds
# before it), MODES="silent watching pinging", EDGEBROKER (a binary to use instead of
# building one).
set -euo pipefail
cd "$(dirname "$0")/.."

CLIENTS=${CLIENTS:-100}
SPAN=${SPAN:-60}
SETTLE=${SETTLE:-15}
MODES=${MODES:-silent watching pinging}

die() {
	echo "idle.sh: error: $*" >&2
	exit 1
}

case "${1:-}" in
"") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "idle.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac
[ -r /proc/self/task ] || die "it reads /proc, so it needs Linux"

tmp=$(mktemp -d)
broker=
stop() {
	[ -n "$broker" ] || return 0
	kill "$broker" 2>/dev/null || true
	wait "$broker" 2>/dev/null || true
	broker=
}
trap 'stop; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

edgebroker=${EDGEBROKER:-}
if [ -z "$edgebroker" ]; then
	edgebroker=$tmp/edgebroker
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$edgebroker" ./cmd/edgebroker
fi
mosquitto=$(PATH=$PATH:/usr/sbin command -v mosquitto || true)
[ -n "$mosquitto" ] || echo "idle.sh: warning: mosquitto is not installed, and left out" >&2

# answers PORT: somebody listens there.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start NAME MODE: runs that broker on a free $port.
start() {
	local try args=()
	for ((try = 0; try < 20; try++)); do
		port=$((20000 + RANDOM % 10000))
		answers "$port" || break
	done
	case $1 in
	edgebroker)
		if [ "$2" = watching ]; then
			# In a folder of its own, where the broker does not write.
			mkdir -p "$tmp/etc"
			(umask 077 && echo '# none' >"$tmp/etc/users" && echo 'allow any all #' >"$tmp/etc/rules")
			printf 'listeners: [{name: idle, address: "127.0.0.1:%s", allow_anonymous: true}]\naccess: {passwords: %s/etc/users, rules: [%s/etc/rules]}\n' \
				"$port" "$tmp" "$tmp" >"$tmp/etc/edgebroker.yml"
			args=(--config "$tmp/etc/edgebroker.yml")
		fi
		EDGEBROKER_LISTEN=127.0.0.1:$port "$edgebroker" serve "${args[@]}" --data "$tmp/data" --socket "$tmp/control.sock" >"$tmp/log" 2>&1 &
		;;
	mosquitto)
		printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nuser %s\n' "$port" "$tmp" "$(id -un)" >"$tmp/mosquitto.conf"
		"$mosquitto" -c "$tmp/mosquitto.conf" >"$tmp/log" 2>&1 &
		;;
	esac
	broker=$!
	for ((try = 0; try < 100; try++)); do
		answers "$port" && return
		sleep 0.1
	done
	cat "$tmp/log" >&2
	die "$1 does not listen on port $port"
}

# connect: opens CLIENTS connections, whose descriptors are in $fds.
connect() {
	local i id fd
	fds=()
	for ((i = 0; i < CLIENTS; i++)); do
		printf -v id 'idle%04d' "$i"
		exec {fd}<>"/dev/tcp/127.0.0.1/$port"
		# CONNECT of MQTT 3.1.1: a clean session, keep alive 600 s
		printf '\x10\x14\x00\x04MQTT\x04\x02\x02\x58\x00\x08%s' "$id" >&"$fd"
		[ "$(head -c 4 <&"$fd" | od -An -tx1 | tr -d ' ')" = 20020000 ] || die "$id was not let in"
		fds+=("$fd")
	done
}

# ping: a PINGREQ of each client every 60 s, until it is killed.
ping() {
	local fd pause
	pause=$(awk -v n="$CLIENTS" 'BEGIN { print 60 / n }')
	while :; do
		for fd in "${fds[@]}"; do
			printf '\xc0\x00' >&"$fd"
			sleep "$pause"
		done
	done
}

switches() { cat /proc/"$broker"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'; }
# Nanoseconds on the processor, of all threads there are.
cpu() { cat /proc/"$broker"/task/*/schedstat | awk '{ n += $1 } END { print n }'; }

# measure NAME MODE: prints a row.
measure() {
	local pinger="" before after cpu0 cpu1 fd
	start "$1" "$2"
	connect
	if [ "$2" = pinging ]; then
		ping &
		pinger=$!
	fi
	sleep "$SETTLE"
	before=$(switches) cpu0=$(cpu)
	sleep "$SPAN"
	after=$(switches) cpu1=$(cpu)
	if [ -n "$pinger" ]; then
		kill "$pinger" 2>/dev/null || true
		wait "$pinger" 2>/dev/null || true
	fi
	awk -v name="$1" -v mode="$2" -v n=$((after - before)) -v ns=$((cpu1 - cpu0)) -v span="$SPAN" \
		'BEGIN { printf "%-12s %-9s %14.0f %16.1f\n", name, mode, n * 60 / span, ns * 60 / span / 1e6 }'
	for fd in "${fds[@]}"; do exec {fd}>&-; done
	stop
}

printf '%s clients; in a minute, over %s s:\n%-12s %-9s %14s %16s\n' "$CLIENTS" "$SPAN" broker clients 'ctxt switches' 'processor ms'
for mode in $MODES; do
	measure edgebroker "$mode"
	[ -z "$mosquitto" ] || [ "$mode" = watching ] || measure mosquitto "$mode"
done
