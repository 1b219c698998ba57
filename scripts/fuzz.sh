#!/usr/bin/env bash
# Fuzzes each parser for so many minutes of processor time, keeps what widened
# the coverage, and adds the time to the ledger in docs/FUZZING.md.
#
#   scripts/fuzz.sh [MINUTES [TARGET...]]     default 30, every target
#   scripts/fuzz.sh --list                    the targets, as FOLDER/NAME
#
# MINUTES is what the ledger shall say when the script has ended: a target that
# has had them is passed over, so the script can be stopped and called again.
# scripts/check.sh runs the kept inputs once; this looks for new ones. It ends
# at the first input that fails, which go has then written to testdata/fuzz.
#
# WORKERS (default: all processors) is how many processes work on a target.
set -euo pipefail
cd "$(dirname "$0")/.."

ledger=docs/FUZZING.md
slice=60 # seconds of wall time between two looks at the clock

die() {
	echo "fuzz.sh: error: $*" >&2
	exit 2
}

targets() { grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sed -E 's,^\./([^:]*)/[^/:]*:[0-9]+:func ,\1/,' | sort; }

# children: seconds of processor time of all that has run here and ended.
children() { awk -v hz="$(getconf CLK_TCK)" '{ print ($16 + $17) / hz }' /proc/$$/stat; }

# timed_out: go sometimes reports the end of the time as a failure, with no input.
timed_out() { grep -q '^ *context deadline exceeded$' "$tmp/out" && ! grep -q 'Failing input' "$tmp/out"; }

# row TARGET FIELD: what the ledger has of a target, 0 if nothing.
row() { awk -F' *\\| *' -v t="$1" -v f="$2" '$2 == t { v = $f } END { print v + 0 }' "$ledger" 2>/dev/null || echo 0; }

# enter TARGET SECONDS EXECS INPUTS: adds to the ledger.
enter() {
	local minutes execs
	minutes=$(awk -v a="$(row "$1" 3)" -v b="$2" 'BEGIN { printf "%.1f", a + b / 60 }')
	execs=$(($(row "$1" 4) + $3))
	{
		cat <<-'HEAD'
			# Fuzzing

			How long each parser has been fed random input without a failure, over the
			project's life. `scripts/fuzz.sh` writes this page; the inputs that widened the
			coverage lie in `testdata/fuzz` beside each target, and every run of the tests
			goes through them.

			| target | processor minutes | executions | inputs kept |
			| --- | ---: | ---: | ---: |
		HEAD
		{
			[ ! -e "$ledger" ] || grep -E '^\| [a-z/]+/Fuzz' "$ledger" | grep -vF "| $1 |" || true
			echo "| $1 | $minutes | $execs | $4 |"
		} | sort
	} >"$tmp/ledger"
	cp "$tmp/ledger" "$ledger"
}

case ${1-} in
--list)
	targets
	exit 0
	;;
-*) die "the only option is --list" ;;
esac
minutes=${1:-30}
if ! [[ $minutes =~ ^[0-9]+$ ]] || [ "$minutes" = 0 ]; then
	die "\"$minutes\" is not a number of minutes"
fi
shift || true
mapfile -t all < <(targets)
[ $# -gt 0 ] || set -- "${all[@]}"
for t; do [[ " ${all[*]} " == *" $t "* ]] || die "no target $t; see scripts/fuzz.sh --list"; done

workers=${WORKERS:-$(nproc)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for t; do
	dir=${t%/*} name=${t##*/}
	test=$tmp/${dir//\//_}.test
	[ -e "$test" ] || go test -c -fuzz=. -o "$test" "./$dir"
	kept=$PWD/$dir/testdata/fuzz/$name
	mkdir -p "$tmp/cache/$name"
	while [ "$(awk -v m="$(row "$t" 3)" -v w="$minutes" 'BEGIN { print (m < w) }')" = 1 ]; do
		before=$(children)
		(cd "$dir" && "$test" -test.run='^$' -test.fuzz="^$name\$" -test.fuzztime="${slice}s" \
			-test.fuzzminimizetime=5s -test.parallel="$workers" -test.fuzzcachedir="$tmp/cache") >"$tmp/out" 2>&1 || timed_out || {
			cat "$tmp/out"
			echo "fuzz.sh: $t: failed; the input is in $dir/testdata/fuzz/$name" >&2
			exit 1
		}
		mkdir -p "$kept"
		find "$tmp/cache/$name" -type f -exec cp -n {} "$kept" \;
		execs=$(grep -oE 'execs: [0-9]+' "$tmp/out" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
		enter "$t" "$(awk -v a="$before" -v b="$(children)" 'BEGIN { print b - a }')" "$execs" "$(find "$kept" -type f | wc -l)"
	done
	grep -F "| $t |" "$ledger"
done
