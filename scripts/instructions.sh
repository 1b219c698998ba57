#!/usr/bin/env bash
# Counts the instructions that the broker spends on a message, which tell what a
# change does whatever else the machine does meanwhile.
#
#   scripts/instructions.sh                the benchmarks below, of this checkout
#   scripts/instructions.sh COMMIT         beside those of an earlier commit
#   PARTS=30 scripts/instructions.sh       also the functions that take the most
#   scripts/instructions.sh --limits       only those with a limit, which they must keep to
#
# Each benchmark of package relay runs twice, with so many and three times as many
# messages, under valgrind, without garbage collection and on one processor; the
# difference is what the messages cost. Kernel and network have no part in it.
#
# Environment: BENCHMARKS (a list), MESSAGES=20000, PARTS=0. It needs valgrind, which
# root has it install.
set -euo pipefail
cd "$(dirname "$0")/.."

BENCHMARKS=${BENCHMARKS:-QoS0Pair QoS1Pair FanOut100 ThousandTopics TooManyTopics}
MESSAGES=${MESSAGES:-20000}
PARTS=${PARTS:-0}

# What a message may take on x86-64, a tenth above what it took when that was
# set. Who makes it cheaper lowers it.
declare -A limits=([QoS0Pair]=600 [QoS1Pair]=2180 [FanOut100]=1310)
limited=""
case "${1-}" in
--limits)
	if [ "$(go env GOARCH)" != amd64 ]; then
		echo "instructions.sh: the limits are for x86-64" >&2
		exit 0
	fi
	limited=yes
	BENCHMARKS="QoS0Pair QoS1Pair FanOut100"
	shift
	;;
-h | --help)
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
	exit 0
	;;
-*)
	echo "instructions.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

if ! command -v valgrind >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "instructions.sh: error: valgrind is missing; run: sudo apt-get install valgrind" >&2
		exit 1
	fi
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends valgrind >/dev/null
fi

tmp=$(mktemp -d)
cleanup() {
	git worktree remove --force "$tmp/tree" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT

go test -c -o "$tmp/now" ./relay
sides=(now)
over=0
if [ $# -gt 0 ]; then
	git worktree add --quiet --detach "$tmp/tree" "$1"
	(cd "$tmp/tree" && go test -c -o "$tmp/before" ./relay)
	sides=(before now)
fi

# count SIDE BENCHMARK N: how many instructions N messages take, with all that
# goes before.
count() {
	GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off GOMAXPROCS=1 GOGC=off valgrind --tool=callgrind --callgrind-out-file="$tmp/$1.$2.$3" \
		"$tmp/$1" -test.run '^$' -test.bench "^Benchmark$2\$" -test.benchtime "${3}x" >"$tmp/log" 2>&1 || {
		cat "$tmp/log" >&2
		echo "instructions.sh: error: $2 failed under valgrind: see above" >&2
		exit 1
	}
	if ! grep -q "^Benchmark$2" "$tmp/log"; then
		echo -
		return 0
	fi
	sed -n 's/.*Collected : //p' "$tmp/log"
}

# parts SIDE BENCHMARK: the functions that take the most.
parts() {
	for n in "$MESSAGES" $((3 * MESSAGES)); do
		callgrind_annotate --threshold=100 --show-percs=no "$tmp/$1.$2.$n" |
			sed -nE "s/^ *([0-9,]+) +[^ :]*:([^ ]+).*/$n \2 \1/p" | tr -d ,
	done | awk -v few="$MESSAGES" '{ sum[$2] += $1 == few ? -$3 : $3 } END { for (f in sum) printf "%10.1f  %s\n", sum[f] / (2 * few), f }' |
		sort -rn | head -n "$PARTS"
}

printf '%-22s' "instructions a message"
printf '%12s' "${sides[@]}"
echo
for benchmark in $BENCHMARKS; do
	printf '%-22s' "$benchmark"
	for side in "${sides[@]}"; do
		few=$(count "$side" "$benchmark" "$MESSAGES")
		many=$(count "$side" "$benchmark" $((3 * MESSAGES)))
		if [ "$few" = - ] || [ "$many" = - ]; then
			printf '%12s' -
		else
			each=$(((many - few) / (2 * MESSAGES)))
			printf '%12d' "$each"
			if [ -n "$limited" ]; then
				printf '   of %d' "${limits[$benchmark]}"
				[ "$each" -le "${limits[$benchmark]}" ] || over=1
			fi
		fi
	done
	echo
	[ "$PARTS" = 0 ] || parts now "$benchmark"
done
if [ "$over" != 0 ]; then
	echo "instructions.sh: error: a message takes more instructions than it may; PARTS=30 scripts/instructions.sh tells where" >&2
	exit 1
fi
