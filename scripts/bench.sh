#!/usr/bin/env bash
# Compares edgebroker with other brokers on this machine: mosquitto, nats-server,
# mochi, and a relay of TCP that is no broker but the physical limit. Prints
# Markdown. docs/PERFORMANCE.md says what the figures mean.
#
#   scripts/bench.sh                 the saturated table, about eight minutes
#   scripts/bench.sh GROUP...        other groups, one after the other:
#
#     --saturated   six scenarios, as fast as it goes, beside their goals
#     --acl         the same, with 100 access rules and without, six minutes
#     --low         500, 50 and 5 messages/s per client, 10 to 1,000 clients, 15 minutes
#     --paced       10 pairs at 500 messages/s each, beside all brokers, three minutes
#     --durable     QoS 1 to sessions that are stored, and what that costs the disk, four minutes
#     --shapes      payloads, wildcards, many subscriptions and topics, MQTT 5, TLS, 15 minutes
#     --latency     at a half and a quarter of what each can do; alone, and beside what might disturb, eleven minutes
#     --idle        1,000 and 4,000 connections on which nothing happens, 35 minutes
#     --all         all of these, 100 minutes
#
#   scripts/bench.sh --release       the short table for a release note: --saturated and --idle beside
#                                    mosquitto alone, 40 minutes
#   scripts/bench.sh --goals         every row that has a goal, and how it fares; use it with --from
#   scripts/bench.sh --from FILE GROUP...   measures nothing: tables of an earlier run
#   scripts/bench.sh --into FILE GROUP...   also puts each table where FILE, Markdown, has a line
#                                    <!-- bench GROUP -->, in place of what is there up to <!-- end -->
#
# Each row runs in ROUNDS rounds, in which the brokers take turns, each time a fresh
# one, and medians count. Load and broker share the processors, so processor time
# per message is the figure to trust: messages per second also tell how much the
# load's own work got in the way.
#
# mosquitto keeps its defaults, but for one: its limit of 1000 queued messages
# makes it drop what it acknowledged at QoS 1 under this load, so it is lifted.
# edgebroker has its defaults, and 100 access rules. With --durable edgebroker has a
# data directory and acknowledges after fsync; mosquitto has its most durable setting,
# which writes its whole database after each change and acknowledges before; NATS
# syncs always. The data lies in TMPDIR, which should be on the disk in question.
#
# Environment:
#   ROUNDS=5              rounds
#   ROWS=                 only rows whose names fit this pattern (awk's), as ROWS='10 pairs.*QoS 1'
#   BROKERS=              these instead of those of the group, as BROKERS="mosquitto edgebroker"
#   SAVE=FILE             append the results to FILE, one run on each line, for --from; a row that is
#                         measured again replaces what FILE has of it, round by round
#   SECONDS_PER_RUN=2 WARMUP=500ms
#   PAYLOAD=64 WINDOW=64  bytes, and messages of each publisher on their way, where a row does not say
#   IDLE_SPAN=60 IDLE_SETTLE=75   seconds of each measurement of --idle, and before it: edgebroker
#                         gives memory back within a minute, once, which is not idling
#   TIMEOUT=120           seconds after which a run is given up
#   EDGEBROKER=FILE       a binary to use instead of building one
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-5}
ROWS=${ROWS:-}
SECONDS_PER_RUN=${SECONDS_PER_RUN:-2}
WARMUP=${WARMUP:-500ms}
PAYLOAD=${PAYLOAD:-64}
WINDOW=${WINDOW:-64}
IDLE_SPAN=${IDLE_SPAN:-60}
IDLE_SETTLE=${IDLE_SETTLE:-75}
TIMEOUT=${TIMEOUT:-120}
export LC_ALL=C

die() {
	echo "bench.sh: error: $*" >&2
	exit 1
}

# absolute FILE: as the caller means it.
absolute() { case $1 in /*) echo "$1" ;; *) echo "$caller/$1" ;; esac }

# shellcheck source=scripts/bench/brokers.bash
. scripts/bench/brokers.bash
# shellcheck source=scripts/bench/groups.bash
. scripts/bench/groups.bash
# shellcheck source=scripts/bench/measure.bash
. scripts/bench/measure.bash
# shellcheck source=scripts/bench/tables.bash
. scripts/bench/tables.bash

from=
into=
release=
goals=
chosen=()
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
		exit 0
		;;
	--from)
		from=$(absolute "${2:-}")
		[ -f "$from" ] || die "--from needs a file that SAVE has written"
		shift
		;;
	--into)
		into=$(absolute "${2:-}")
		[ -f "$into" ] || die "--into needs a file of Markdown, as docs/PERFORMANCE.md"
		shift
		;;
	--all) chosen+=("${groups[@]}") ;;
	--release) release=yes ;;
	--goals) goals=yes ;;
	--*)
		[[ " ${groups[*]} " == *" ${1#--} "* ]] || {
			echo "bench.sh: error: unknown argument $1; try --help" >&2
			exit 2
		}
		chosen+=("${1#--}")
		;;
	*)
		echo "bench.sh: error: unknown argument $1; try --help" >&2
		exit 2
		;;
	esac
	shift
done
if [ -n "$release" ]; then
	[ ${#chosen[@]} -eq 0 ] || die "--release has groups of its own; leave the others out"
	chosen=(saturated idle)
	BROKERS=${BROKERS:-mosquitto edgebroker}
fi
if [ ${#chosen[@]} -eq 0 ]; then
	if [ -z "$goals" ]; then chosen=(saturated); elif [ -z "$from" ]; then chosen=("${groups[@]}"); fi
fi
[ -e /proc/self/task ] || die "it reads /proc, so it needs Linux"

tmp=$(mktemp -d)
cleanup() {
	stop_brokers
	local loads
	loads=$(jobs -p)
	# shellcheck disable=SC2086 # one word for each
	[ -z "$loads" ] || kill $loads 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
PATH=$PATH:/usr/sbin
over_tls=

# about: the machine and the brokers, as a line of the results.
about() {
	local broker list=''
	for broker; do list+=", $broker $(version_of "$broker")"; done
	printf '{"group":"about","cores":%d,"processor":"%s","kernel":"%s","brokers":"%s","seconds":%s,"payload":%s,"window":%s,"rounds":%s}\n' \
		"$(nproc)" "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"')" "$(uname -sr)" "${list#, }" \
		"$SECONDS_PER_RUN" "$PAYLOAD" "$WINDOW" "$ROUNDS"
}

# measure_all: every chosen group, round after round.
measure_all() {
	local group round taking=() names
	for group in "${chosen[@]}"; do
		[ -n "$(chosen_rows "$group")" ] || die "no row of --$group fits ROWS='$ROWS'; its rows: $(rows_of "$group" | cut -d'|' -f1 | tr '\n' ';')"
		read -ra names <<<"${BROKERS:-$(brokers_of "$group")}"
		taking+=("${names[@]}")
	done
	mapfile -t taking < <(printf '%s\n' "${taking[@]}" | sort -u)
	brokers_make "${taking[@]}"
	about "${taking[@]}" >>"$results"
	for group in "${chosen[@]}"; do
		echo "bench.sh: $group: $(chosen_rows "$group" | wc -l) rows, $ROUNDS rounds" >&2
		for ((round = 1; round <= ROUNDS; round++)); do
			measure_group "$group" "$round"
			echo "bench.sh: $group: round $round of $ROUNDS done after ${SECONDS} s" >&2
		done
	done
}

if [ -n "$from" ]; then
	results=$from
else
	results=$(absolute "${SAVE:-$tmp/results}")
	measure_all
fi
[ -z "$release" ] || chosen=(release)
[ -z "$goals" ] || chosen+=(goals)
machine
for group in "${chosen[@]}"; do
	table "$group" >"$tmp/table"
	echo
	cat "$tmp/table"
	[ -z "$into" ] || insert "$into" "$group"
done
