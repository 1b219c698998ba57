#!/usr/bin/env bash
# Looks for a program of connects, subscribes, publishes, acknowledgements,
# losses, takeovers and expiries in which relay and its reference model differ.
#
#   scripts/model.sh [MINUTES]     default 60
#
# scripts/check.sh runs a thousand random programs; this goes on for as long as
# it is told to, with new ones each time, and proves so much more. It ends at
# the first difference and prints the shortest script that shows it.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-60}
if ! [[ $minutes =~ ^[0-9]+$ ]] || [ "$minutes" = 0 ]; then
	echo "model.sh: error: \"$minutes\" is not a number of minutes" >&2
	exit 2
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go test -c -o "$tmp/relay.test" ./relay

# rapid ends a check after a day of the model's time, about 630 programs.
rounds=0
SECONDS=0
while [ $SECONDS -lt $((minutes * 60)) ]; do
	"$tmp/relay.test" -test.run '^TestModel$' -test.count 10 -rapid.checks 600 -rapid.nofailfile >"$tmp/out" || {
		cat "$tmp/out"
		exit 1
	}
	rounds=$((rounds + 1))
done
echo "no difference in about $((rounds * 10 * 10 * 600)) programs, $((SECONDS / 60)) minutes"
