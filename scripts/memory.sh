#!/usr/bin/env bash
# Runs edgebroker with its default configuration in a control group with little
# memory, floods it, and tells whether it lived, how much memory it took, and
# whether healthy clients kept their QoS 1 flow. docs/MEMORY.md says what it
# promises.
#
#   scripts/memory.sh                 64 MiB, 500 clients, each flood for 15 s, without
#                                     and with a store: some four minutes
#
#   --limit BYTES    of memory
#   --clients N      that flood
#   --time T         that each flood lasts
#   --floods LIST    of partial, oversized, retained, readers, filters, storm, all,
#                    idle
#   --data           only with a store; --no-data: only without
#   -v               also what the broker says of itself, and its log
#
# Needs root for the control group, version 1 or 2; without one the broker is told
# its budget, and the memory resident at most is compared with the limit. The exit
# status is 0 if all went well, 1 if not, and 2 if it could not run. EDGEBROKER
# names a binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
wrong() {
	echo "memory.sh: error: $*; try --help" >&2
	exit 2
}

stores=("" "--data")
arguments=()
while [ $# -gt 0 ]; do
	case $1 in
	--limit | --clients | --time | --floods)
		[ $# -gt 1 ] || wrong "$1 needs a value"
		arguments+=("$1" "$2")
		shift
		;;
	--data) stores=("--data") ;;
	--no-data) stores=("") ;;
	-v) arguments+=(-v) ;;
	-h | --help)
		usage
		exit 0
		;;
	*) wrong "unknown argument $1" ;;
	esac
	shift
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
broker=${EDGEBROKER:-}
if [ -z "$broker" ]; then
	broker=$tmp/edgebroker
	CGO_ENABLED=0 go build -trimpath -o "$broker" ./cmd/edgebroker || exit 2
fi
CGO_ENABLED=0 go build -trimpath -o "$tmp/flood" ./internal/flood || exit 2

status=0
for store in "${stores[@]}"; do
	if [ -n "$store" ]; then echo "state is stored:"; else echo "state is in memory:"; fi
	code=0
	"$tmp/flood" --broker "$broker" ${store:+"$store"} "${arguments[@]}" || code=$?
	[ "$code" -le 1 ] || exit 2
	[ "$code" -eq 0 ] || status=1
done
exit "$status"
