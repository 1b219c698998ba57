#!/usr/bin/env bash
# Prints what scripts/bench/measure.bash has left in $results, as Markdown. To be
# sourced after groups.bash.

# shellcheck disable=SC2154 # what is assigned in scripts/bench.sh and groups.bash

# machine: where the results come from.
machine() {
	sed -n 's/^{"group":"about","cores":\([0-9]*\),"processor":"\([^"]*\)","kernel":"\([^"]*\)","brokers":"\([^"]*\)",.*/\1 x \2, \3; \4/p' "$results" | sort -u
}

# table GROUP: its tables, nothing if there are no results of it.
table() {
	local group
	for group in "${groups[@]}"; do
		rows_of "$group" | awk -F'|' -v group="$group" '{ print group "|" $1 "|" $2 }'
	done >"$tmp/goals"
	awk -v want="$1" -f scripts/bench/tables.awk "$tmp/goals" "$results"
}

# insert FILE GROUP: puts the table of GROUP, which is in $tmp/table, where FILE has room for it.
insert() {
	[ -s "$tmp/table" ] || return 0
	grep -qx "<!-- bench $2 -->" "$1" || die "$1 has no line <!-- bench $2 -->"
	{
		awk -v begin="<!-- bench $2 -->" -v table="$tmp/table" '
			!skip { print }
			$0 == begin {
				while ((getline line < table) > 0) print line
				skip = 1
			}
			skip && $0 == "<!-- end -->" {
				print
				skip = 0
			}
			END { exit skip }' "$1" >"$tmp/document" && cat "$tmp/document" >"$1"
	} || die "$1: after <!-- bench $2 --> there is no line <!-- end -->"
}
