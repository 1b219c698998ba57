#!/usr/bin/env bash
# Measures how costs grow with what is there already - subscriptions, topics, retained
# messages, sessions - and writes docs/growth: a plot of each, and their figures, also
# into docs/PERFORMANCE.md. It fails if one is worse than n log n.
#
#   scripts/growth.sh          sizes up to a million; some minutes, 3 GB of memory
#   scripts/growth.sh --quick  sizes up to 10,000, into a folder that it names
#
# What counts is processor time, the median of COUNT runs (default 3), so that other
# programs that run meanwhile do little harm. It needs Go and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

out=docs/growth
into=docs/PERFORMANCE.md
case ${1-} in
"") export EDGEBROKER_GROWTH=1 ;;
--quick)
	out=$(mktemp -d)
	into=
	;;
*)
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
	;;
esac
results=$(mktemp)
trap 'rm -f "$results"' EXIT
go test -run '^$' -bench Growth -benchtime "${BENCHTIME:-100ms}" -count "${COUNT:-3}" -timeout 60m ./relay ./store | tee "$results" | grep --line-buffered -o '^BenchmarkGrowth[^[:space:]]*' || {
	cat "$results"
	exit 1
}
go run ./internal/growth -out "$out" ${into:+-into "$into"} <"$results"
echo "plots and figures are in $out"
