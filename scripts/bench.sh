#!/usr/bin/env bash
# Compares edgebroker with Debian's mosquitto on this machine: CPU time of the
# broker per delivered message, and messages per second.
#
#   scripts/bench.sh              all scenarios, about three minutes
#   scripts/bench.sh --paced      also 10 pairs at 500 messages/s each, for latency
#   scripts/bench.sh --durable    instead: QoS 1 to a session that is stored, and
#                                 what that costs the disk, about two minutes
#
# Each scenario runs in ROUNDS rounds that alternate between the brokers, each
# time with a fresh broker, and the median counts. Load and broker share the
# cores, so the CPU time per message is the figure to trust: messages per second
# also tell how much the load's own work got in the way.
#
# mosquitto keeps its defaults, but for one: its limit of 1000 queued messages
# makes it drop what it acknowledged at QoS 1 under this load, so it is lifted.
#
# With --durable edgebroker has a data directory and acknowledges after fsync;
# mosquitto has its most durable setting, which writes its whole database after
# each change and acknowledges before. Payloads have 200 bytes, and each
# publisher has one message on its way, so that N publishers are N at a time.
# Bytes per message are those of the store's files, as edgebroker counts them,
# and those of the block layer, in whole pages; acknowledgements of the
# subscriber are stored too, and counted here. The data lies in TMPDIR, which
# should be on the disk in question.
#
# Environment: ROUNDS=3, SECONDS_PER_RUN=2 (measured), WARMUP=500ms, PAYLOAD=64
# (bytes), WINDOW=64 (messages of each publisher on their way), EDGEBROKER (a
# binary to use instead of building one).
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}
SECONDS_PER_RUN=${SECONDS_PER_RUN:-2}
WARMUP=${WARMUP:-500ms}
PAYLOAD=${PAYLOAD:-64}
WINDOW=${WINDOW:-64}

# What is run: scenario, N, QoS, messages per second of each publisher (0: as
# fast as it goes), window if it is not WINDOW.
runs=("fan-in 10 0 0" "fan-in 10 1 0" "pairs 10 0 0" "pairs 10 1 0" "fan-out 100 0 0" "fan-out 100 1 0")
paced=("pairs 10 0 500" "pairs 10 1 500")

die() {
	echo "bench.sh: error: $*" >&2
	exit 1
}

durable=
case "${1:-}" in
"") ;;
--durable)
	durable=yes
	PAYLOAD=200
	runs=("fan-in 1 1 0 1" "fan-in 16 1 0 1" "fan-in 64 1 0 1" "pairs 10 1 0 50")
	;;
--paced) runs+=("${paced[@]}") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "bench.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
broker_pid=
stop_broker() {
	[ -n "$broker_pid" ] || return 0
	kill "$broker_pid" 2>/dev/null || true
	wait "$broker_pid" 2>/dev/null || true
	broker_pid=
}
cleanup() {
	stop_broker
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

PATH=$PATH:/usr/sbin
if ! command -v mosquitto >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		die "mosquitto is missing; run: sudo apt-get install mosquitto"
	fi
	echo "installing mosquitto" >&2
	# No daemon shall start here because its package was installed.
	policy=
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	installed=yes
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mosquitto; } \
		>"$tmp/apt.log" 2>&1 || installed=
	[ -z "$policy" ] || rm -f "$policy"
	[ -n "$installed" ] || {
		cat "$tmp/apt.log" >&2
		die "install mosquitto: see above"
	}
fi
edgebroker=${EDGEBROKER:-}
if [ -z "$edgebroker" ]; then
	edgebroker=$tmp/edgebroker
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$edgebroker" ./cmd/edgebroker
fi

# listening PORT: whether something accepts connections there.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start_broker NAME: starts it on a free port; sets broker_pid and port. A port
# that is free here may be taken a moment later, hence the second and third try.
start_broker() {
	local i
	for _ in 1 2 3; do
		port=$((20000 + RANDOM % 12000))
		! listening "$port" || continue
		rm -rf "$tmp/data"
		mkdir "$tmp/data"
		case $1 in
		mosquitto)
			persistence="persistence false"
			if [ -n "$durable" ]; then
				# Started by root it becomes another user, who must be able to write there.
				chmod 711 "$tmp"
				chmod 777 "$tmp/data"
				persistence="persistence true\npersistence_location $tmp/data/\nautosave_interval 1\nautosave_on_changes true"
			fi
			printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n%b\n' \
				"$port" "$persistence" >"$tmp/mosquitto.conf"
			mosquitto -c "$tmp/mosquitto.conf" >"$tmp/broker.log" 2>&1 &
			;;
		edgebroker)
			printf 'listeners: [{name: bench, type: tcp, address: "127.0.0.1:%s"}]\ncontrol: {socket: "%s"}\n' \
				"$port" "$tmp/control.sock" >"$tmp/edgebroker.yml"
			[ -z "$durable" ] || printf 'storage: {directory: "%s"}\n' "$tmp/data" >>"$tmp/edgebroker.yml"
			"$edgebroker" serve --config "$tmp/edgebroker.yml" >"$tmp/broker.log" 2>&1 &
			;;
		esac
		broker_pid=$!
		for ((i = 0; i < 100; i++)); do
			kill -0 "$broker_pid" 2>/dev/null || break
			! listening "$port" || return 0
			sleep 0.05
		done
		stop_broker
	done
	cat "$tmp/broker.log" >&2
	die "start $1: see above"
}

# field NAME < JSON: the first number of that name.
field() { sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p" | head -n 1; }

# written BROKER: bytes that its store has written to files, empty if unknown.
written() {
	if [ "$1" = edgebroker ]; then
		"$edgebroker" stats --socket "$tmp/control.sock" -o json | field writtenBytes
	fi
}

# measure BROKER RUN: appends a line to the results.
measure() {
	local broker=$1 scenario clients qos rate window json before='' after='' file=- kept=()
	read -r scenario clients qos rate window <<<"$2"
	start_broker "$broker"
	if [ -n "$durable" ]; then
		kept=(--kept)
		before=$(written "$broker")
		! grep -q 'state is kept in memory' "$tmp/broker.log" || die "this edgebroker keeps state in memory only"
	fi
	json=$(timeout 60 "$edgebroker" bench --address "127.0.0.1:$port" --pid "$broker_pid" \
		--scenario "$scenario" --clients "$clients" --qos "$qos" --rate "$rate" --payload "$PAYLOAD" \
		--window "${window:-$WINDOW}" "${kept[@]}" --duration "${SECONDS_PER_RUN}s" --warmup "$WARMUP" -o json) ||
		echo "bench.sh: warning: $broker, $scenario, qos $qos: the run was not clean" >&2
	[ -z "$durable" ] || after=$(written "$broker")
	stop_broker
	if [ -n "$before" ] && [ -n "$after" ]; then
		file=$(awk -v b="$before" -v a="$after" -v n="$(field published <<<"$json")" 'BEGIN { if (n > 0) printf "%.0f", (a - b) / n; else print "-" }')
	fi
	[ -n "$json" ] || die "$broker, $scenario, qos $qos: no result"
	printf '%s %s %s %s %s %s %s %s %s %s\n' "$scenario" "$clients" "$qos" "$rate" "$broker" \
		"$(field brokerCPUMicrosPerMessage <<<"$json")" "$(field msgsPerSecond <<<"$json")" \
		"$(field p99 <<<"$json")" "$(field brokerDiskBytesPerMessage <<<"$json")" "$file" >>"$tmp/results"
}

total=$((${#runs[@]} * ROUNDS * 2))
echo "$total runs of ${SECONDS_PER_RUN} s, $PAYLOAD-byte payloads, $(nproc) cores, $(mosquitto -h | head -n 1), $("$edgebroker" version | head -n 1)" >&2
for ((round = 1; round <= ROUNDS; round++)); do
	for run in "${runs[@]}"; do
		measure mosquitto "$run"
		measure edgebroker "$run"
	done
	echo "round $round of $ROUNDS done after ${SECONDS} s" >&2
done

# median BROKER RUN COLUMN
median() {
	awk -v key="$(cut -d' ' -f1-4 <<<"$2") $1" -v col="$3" '$1 " " $2 " " $3 " " $4 " " $5 == key { print $col }' "$tmp/results" |
		sort -g | awk '{ v[NR] = $1 } END { m = int((NR + 1) / 2); print NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2 }'
}

# durable_tables prints what --durable has measured.
durable_tables() {
	local format='%-22s %11s %11s  %9s %9s  %10s %10s  %10s\n' run scenario clients name alone many
	# shellcheck disable=SC2059 # the format is above
	printf "$format" "QoS 1, 200 bytes" "msgs/s" "msgs/s" "p99 ms" "p99 ms" "disk B/msg" "disk B/msg" "file B/msg"
	# shellcheck disable=SC2059
	printf "$format" "to kept sessions" mosquitto edgebroker mosquitto edgebr. mosquitto edgebroker edgebroker
	for run in "${runs[@]}"; do
		read -r scenario clients _ _ window <<<"$run"
		name="$clients -> 1"
		[ "$scenario" = fan-in ] || name="$clients pairs, window $window"
		awk -v format="$format" -v name="$name" \
			-v mr="$(median mosquitto "$run" 7)" -v er="$(median edgebroker "$run" 7)" \
			-v mp="$(median mosquitto "$run" 8)" -v ep="$(median edgebroker "$run" 8)" \
			-v md="$(median mosquitto "$run" 9)" -v ed="$(median edgebroker "$run" 9)" \
			-v ef="$(median edgebroker "$run" 10)" 'BEGIN {
				printf format, name, sprintf("%d", mr), sprintf("%d", er), sprintf("%.2f", mp * 1000), sprintf("%.2f", ep * 1000),
					sprintf("%d", md), sprintf("%d", ed), ef
			}'
	done
	alone=$(median edgebroker "${runs[0]}" 7)
	many=$(median edgebroker "${runs[3]}" 7)
	awk -v a="$alone" -v m="$many" 'BEGIN {
		printf "\n10 publishers with 50 messages on their way each, against one message per fsync: %d/s against %d/s, %.1f times as many\n", m, a, m / a
	}'
}

if [ -n "$durable" ]; then
	durable_tables
	exit 0
fi

format='%-22s %3s  %9s %10s %7s  %11s %11s  %9s %10s\n'
# shellcheck disable=SC2059 # the format is above
printf "$format" "" "" "us/msg" "us/msg" "" "msgs/s" "msgs/s" "p99 ms" "p99 ms"
# shellcheck disable=SC2059
printf "$format" scenario qos mosquitto edgebroker factor mosquitto edgebroker mosquitto edgebroker
for run in "${runs[@]}"; do
	read -r scenario clients qos rate <<<"$run"
	case $scenario in
	fan-in) name="$clients -> 1" ;;
	pairs) name="$clients pairs" ;;
	fan-out) name="1 -> $clients" ;;
	esac
	[ "$rate" = 0 ] || name="$name, $rate/s each"
	awk -v name="$name" -v qos="$qos" -v paced="$rate" \
		-v mc="$(median mosquitto "$run" 6)" -v ec="$(median edgebroker "$run" 6)" \
		-v mr="$(median mosquitto "$run" 7)" -v er="$(median edgebroker "$run" 7)" \
		-v mp="$(median mosquitto "$run" 8)" -v ep="$(median edgebroker "$run" 8)" \
		-v format="$format" 'BEGIN {
			factor = ec > 0 ? sprintf("%.1fx", mc / ec) : "-"
			# In the closed loop the latency is the window over the throughput.
			m99 = paced > 0 ? sprintf("%.2f", mp * 1000) : "-"
			e99 = paced > 0 ? sprintf("%.2f", ep * 1000) : "-"
			printf format, name, qos, sprintf("%.2f", mc), sprintf("%.2f", ec), factor,
				sprintf("%d", mr), sprintf("%d", er), m99, e99
		}'
done
