#!/usr/bin/env bash
# Runs edgebroker under clients that keep books, kills it at random moments, and
# tells what became of what it had acknowledged. docs/DURABILITY.md says what it
# promises.
#
#   scripts/torture.sh                    500 kills, about ten minutes
#   scripts/torture.sh --mode stop        SIGSTOP and SIGCONT instead
#   scripts/torture.sh --mode full        a disk that is full again and again; needs root
#   scripts/torture.sh --mode fds         no file descriptors left, again and again
#   scripts/torture.sh --mode memory      a broker without a store is left alone
#   scripts/torture.sh --mode long        a gateway with an uplink, for 12 hours: clients come and go, reloads,
#                                         outages, restarts, kills; is what both brokers take flat?
#
#   --kills N    how often (stop 200, full 6, fds 60, memory: seconds, 20; long: each of both brokers, about, 12)
#   --seed S     of the random choices; the default is another one each time
#   --dir DIR    empty, on the disk to be tested; default: a temporary folder
#   --ready T    within which the broker must be ready again (2s)
#   --rate R     messages per second of all publishers together (1500)
#   --for T      of mode long, as 30m
#   --course F   of mode long: what was seen is added to this file, so that a long run may come in pieces
#   --draw F     draw what --course holds, which may be given more than once, into this file (SVG), and do nothing else
#   --race       build the broker with the race detector; it is then slow
#
# The exit status is 0 if every promise was kept, 1 if not, with the evidence,
# and 2 if it could not run. EDGEBROKER names a binary to use instead of
# building one.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
wrong() {
	echo "torture.sh: error: $*; try --help" >&2
	exit 2
}

mode="kill"
kills=
race=
drawing=
arguments=()
while [ $# -gt 0 ]; do
	case $1 in
	--mode | --kills | --seed | --dir | --ready | --rate | --for | --course | --draw)
		[ $# -gt 1 ] || wrong "$1 needs a value"
		case $1 in
		--mode) mode=$2 ;;
		--kills) kills=$2 ;;
		--dir)
			case $2 in /*) arguments+=("$1" "$2") ;; *) arguments+=("$1" "$PWD/$2") ;; esac
			;;
		--draw)
			drawing=yes
			arguments+=("$1" "$2")
			;;
		*) arguments+=("$1" "$2") ;;
		esac
		shift
		;;
	--race) race=-race ;;
	-h | --help)
		usage
		exit 0
		;;
	*) wrong "unknown argument $1" ;;
	esac
	shift
done
case $mode in
kill) : "${kills:=500}" ;;
stop) : "${kills:=200}" ;;
full) : "${kills:=6}" ;;
fds) : "${kills:=60}" ;;
memory) : "${kills:=20}" ;;
long) : "${kills:=12}" ;;
*) wrong "unknown mode $mode" ;;
esac

if [ -n "$drawing" ]; then
	exec go run ./internal/torture "${arguments[@]}"
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
broker=${EDGEBROKER:-}
if [ -z "$broker" ]; then
	broker=$tmp/edgebroker
	cgo=0
	[ -z "$race" ] || cgo=1
	CGO_ENABLED=$cgo go build $race -trimpath -o "$broker" ./cmd/edgebroker || exit 2
fi
CGO_ENABLED=0 go build -trimpath -o "$tmp/torture" ./internal/torture || exit 2

"$tmp/torture" --broker "$broker" --mode "$mode" --kills "$kills" "${arguments[@]}" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' INT TERM
status=0
wait "$pid" || status=$?
exit "$status"
