#!/usr/bin/env bash
# Lets brokers lose power, be killed and have failing disks, on simulated disks,
# far more often than scripts/check.sh has time for. It proves that whatever was
# acknowledged is there afterwards, in order, and QoS 2 once.
#
#   scripts/crash.sh [SEEDS [FIRST]]   default 1000, from one that the clock gives
#   scripts/crash.sh --damage          instead: every single bit of a small store
#                                      flipped, every prefix, segments mixed up
#
# Each seed is five workloads that end in power cuts and kills, five on disks
# whose writes fail, and one of the journal alone. It stops at the first broken
# promise and prints what led to it; FIRST is how to see it again.
set -euo pipefail
cd "$(dirname "$0")/.."

slice=50 # seeds between two lines of output

die() {
	echo "crash.sh: error: $*; see the head of $0" >&2
	exit 2
}

if [ "${1-}" = --damage ]; then
	[ $# -eq 1 ] || die "--damage stands alone"
	EDGEBROKER_THOROUGH=1 exec go test -count=1 -timeout 0 -v -run '^Test(Damage.*|EveryBitMatters|SegmentsMixedUp)$' ./journal ./store
fi
seeds=${1:-1000} first=${2:-$(date +%s)000}
[ $# -le 2 ] || die "too many arguments"
for n in "$seeds" "$first"; do
	[[ $n =~ ^[0-9]{1,18}$ ]] || die "\"$n\" is not a number"
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for part in journal store; do go test -c -o "$tmp/$part.test" "./$part"; done
for ((from = first; from < first + seeds; from += slice)); do
	to=$((from + slice < first + seeds ? from + slice : first + seeds))
	for part in journal store; do
		(cd "$part" && CRASH_SEEDS=$from-$to "$tmp/$part.test" -test.timeout 0 -test.run '^Test(Crash|Crashes|FailingDisks)$') >"$tmp/out" 2>&1 || {
			cat "$tmp/out"
			echo "crash.sh: a promise was broken; see it again with $0 $((to - from)) $from" >&2
			exit 1
		}
	done
	echo "seeds $from to $((to - 1)): every promise kept"
done
echo "$seeds seeds, $((seeds * 11)) workloads: every promise kept"
