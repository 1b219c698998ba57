#!/usr/bin/env bash
# Runs edgebroker with 10,000 connections that connect, subscribe, get a message
# each, are idle, and go; tells what each takes of memory and of the processor, and
# fails if a message is lost, or a socket is left over. docs/PERFORMANCE.md says
# what to expect.
#
#   scripts/many.sh                  some 20 seconds
#
#   --clients N      connections; 10000
#   --data           let it store its state; --kept: in kept sessions
#   --retained       have the messages retained
#   --idle T         how long they are silent before memory is looked at again; 5s
#   --most BYTES     resident per idle connection that are too many
#   --address HOST:PORT --pid PID
#                    look at a broker that runs already, of whatever make
#
# Both ends need a descriptor for each connection: the limit of open files is
# raised as far as it may be. The exit status is 0 if all went well, 1 if not, and 2
# if it could not run. EDGEBROKER names a binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

running=
for argument; do
	case $argument in
	-h | --help)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
		exit 0
		;;
	--address | --address=* | --pid | --pid=*) running=1 ;;
	esac
done

ulimit -n "$(ulimit -Hn)" 2>/dev/null || true # what is left tells when it is not enough
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
broker=()
if [ -z "$running" ]; then
	broker=(--broker "${EDGEBROKER:-$tmp/edgebroker}")
	[ -n "${EDGEBROKER:-}" ] || CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tmp/edgebroker" ./cmd/edgebroker || exit 2
fi
CGO_ENABLED=0 go build -trimpath -o "$tmp/many" ./internal/many || exit 2
code=0
"$tmp/many" "${broker[@]}" "$@" || code=$?
exit "$code"
