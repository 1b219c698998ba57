#!/usr/bin/env bash
# Measures the rows of scripts/bench/groups.bash, one line of JSON for each run, in
# $results. To be sourced after brokers.bash and groups.bash.

# shellcheck disable=SC2154 # what is assigned in scripts/bench.sh and brokers.bash

# number NAME < JSON: the first number of that name, nothing if there is none.
number() { sed -n "s/.*\"$1\":[[:space:]]*\(-\{0,1\}[0-9][0-9.eE+-]*\).*/\1/p" | head -n 1; }

# note GROUP ROW BROKER ROUND MEMBERS: a line of the results; MEMBERS are JSON.
note() {
	printf '{"group":"%s","row":"%s","broker":"%s","round":%d,%s}\n' "$1" "$2" "$3" "$4" "$5" >>"$results"
}

# load BROKER FLAG...: runs `edgebroker bench` against a broker that runs, and
# prints what it says on one line of JSON. A run that lost something is warned of and
# says so in "lost".
load() {
	local broker=$1 scheme='' json
	shift
	[ -z "$over_tls" ] || scheme=mqtts://
	json=$(timeout "$TIMEOUT" "$edgebroker" bench --address "${scheme}127.0.0.1:${broker_port[$broker]}" ${over_tls:+--insecure} \
		--pid "${broker_pid[$broker]}" --warmup "$WARMUP" "$@" --output jsonl 2>"$tmp/load.log") || {
		echo "bench.sh: warning: $broker, $*: $(tail -n 1 "$tmp/load.log")" >&2
		case $json in *'"delivered":'*) ;; *) return 1 ;; esac
	}
	tail -n 1 <<<"$json"
}

# written BROKER: bytes that its store has written to files, nothing if unknown.
written() {
	case $1 in
	edgebroker*) "$edgebroker" stats --socket "$tmp/run-$1/control.sock" --output json | number writtenBytes ;;
	esac
}

# metric BROKER NAME: a sample of edgebroker's Prometheus metrics.
metric() { "$edgebroker" stats --socket "$tmp/run-$1/control.sock" --output prom | awk -v name="$2" '$1 == name { print $2 }'; }

# measure_load GROUP NAME SETUP FLAGS BROKER ROUND: one run with a fresh broker.
measure_load() {
	local group=$1 name=$2 setup=$3 broker=$5 round=$6 json before='' after='' file=null flags span=$SECONDS_PER_RUN
	read -ra flags <<<"$4"
	over_tls=
	[[ $setup != *tls* ]] || over_tls=yes
	start_broker "$broker" "$setup"
	[[ $setup != *stored* ]] || before=$(written "$broker")
	[[ $4 == *--payload* ]] || flags+=(--payload "$PAYLOAD")
	[[ $4 == *--window* || $4 == *--rate* ]] || flags+=(--window "$WINDOW")
	# Few messages tell little: those of more seconds count.
	case "$4 " in
	*"--rate 50 "*) span=$((2 * span)) ;;
	*"--rate 5 "*) span=$((4 * span)) ;;
	esac
	if json=$(load "$broker" "${flags[@]}" --duration "${span}s"); then
		if [ -n "$before" ]; then
			after=$(written "$broker")
			file=$(awk -v b="$before" -v a="$after" -v n="$(number published <<<"$json")" 'BEGIN { if (n > 0) printf "%.1f", (a - b) / n; else print "null" }')
		fi
		note "$group" "$name" "$broker" "$round" "\"fileBytesPerMessage\":$file,\"bench\":$json"
	else
		note "$group" "$name" "$broker" "$round" '"failed":true'
	fi
	stop_broker "$broker"
}

# measure_latency NAME SHARE FLAGS BROKER ROUND: the latency at SHARE percent of what the
# broker can do on this machine, alone and beside what might disturb.
measure_latency() {
	local name=$1 share=$2 broker=$4 round=$5 flags json rate beside runs
	read -ra flags <<<"$3 --payload $PAYLOAD"
	over_tls=
	start_broker "$broker" ''
	json=$(load "$broker" "${flags[@]}" --window "$WINDOW" --duration "${SECONDS_PER_RUN}s") || die "$broker, $name: no saturation to take a share of"
	# Whole messages of ten publishers.
	rate=$(awk -v rate="$(number msgsPerSecond <<<"$json")" -v share="$share" 'BEGIN { print int(rate * share / 100 / 10) }')
	stop_broker "$broker"
	runs=(quiet stalled)
	[ "$share" -ge 50 ] || runs+=(storm elsewhere)
	case $broker:$share in
	edgebroker:50) runs+=(large collections) ;;
	edgebroker:*) runs+=(stored checkpoints written) ;;
	esac
	for beside in "${runs[@]}"; do
		case $beside in
		collections) GOGC=50 start_broker "$broker" '' ;;
		stored | checkpoints | written) start_broker "$broker" cramped ;;
		*) start_broker "$broker" '' ;;
		esac
		latency_beside "$beside" "$name" "$broker" "$round" "$rate" "${flags[@]}"
		stop_broker "$broker"
	done
}

# latency_beside DISTURBANCE NAME BROKER ROUND RATE FLAG...
latency_beside() {
	local beside=$1 name=$2 broker=$3 round=$4 rate=$5 to=$3 json more=() other='' count='' before=0 span=$((SECONDS_PER_RUN + 1))
	shift 5
	case $beside in
	stalled) more=(--stalled 1) ;;
	# What is alive, and a collection goes through: that of 100,000 subscriptions.
	large | collections)
		more=(--subscriptions 100000)
		count=go_gc_duration_seconds_count
		;;
	storm | elsewhere)
		# 2,000 clients in all, spread over the run; elsewhere: at another broker, so
		# that what is left is what the machine has to do.
		if [ "$beside" = elsewhere ]; then
			to=$broker-second
			start_broker "$to" ''
		fi
		"$edgebroker" bench --address "127.0.0.1:${broker_port[$to]}" --scenario connect --clients 2000 \
			--count 1 --rate $((2000 / span)) >"$tmp/beside.log" 2>&1 &
		other=$!
		;;
	checkpoints | written)
		# What is stored meanwhile fills the log, so that it is written anew; written: that
		# of another broker.
		count=edgebroker_journal_checkpoints_total
		if [ "$beside" = written ]; then
			to=$broker-second
			start_broker "$to" cramped
		fi
		"$edgebroker" bench --address "127.0.0.1:${broker_port[$to]}" --scenario fan-in --clients 4 --qos 1 --kept \
			--payload 8192 --rate 500 --duration "${span}s" >"$tmp/beside.log" 2>&1 &
		other=$!
		;;
	esac
	[ -z "$count" ] || before=$(metric "$to" "$count")
	if json=$(load "$broker" "$@" --rate "$rate" "${more[@]}" --duration "${SECONDS_PER_RUN}s"); then
		[ -z "$count" ] || count=$(awk -v a="$before" -v b="$(metric "$to" "$count")" 'BEGIN { print b - a }')
		note latency "$name: $beside" "$broker" "$round" "\"rate\":$((rate * 10)),\"count\":${count:-null},\"bench\":$json"
	else
		note latency "$name: $beside" "$broker" "$round" '"failed":true'
	fi
	if [ -n "$other" ] && ! wait "$other"; then
		echo "bench.sh: warning: $broker, $name: what ran beside ($beside) failed: $(tail -n 1 "$tmp/beside.log")" >&2
	fi
	[ "$to" = "$broker" ] || stop_broker "$to"
}

# Of all threads of a process: context switches, and nanoseconds on a processor.
switches() { cat /proc/"$1"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { printf "%.0f\n", n }'; }
processor() { cat /proc/"$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f\n", n }'; }
resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$1/status"; }

# measure_idle NAME FLAGS ROUND BROKER...: all brokers at a time, since an idle one
# disturbs nobody.
measure_idle() {
	local name=$1 round=$3 flags clients broker i
	local -A clients_of=() empty=() busy=() turns=()
	read -ra flags <<<"$2"
	clients=${flags[1]}
	shift 3
	over_tls=
	for broker; do
		start_broker "$broker" ''
		sleep 1 # what starting has left to do
		empty[$broker]=$(resident "${broker_pid[$broker]}")
		"$edgebroker" bench --address "127.0.0.1:${broker_port[$broker]}" --scenario idle "${flags[@]}" \
			--warmup "$((IDLE_SETTLE + 10))s" --duration "$((IDLE_SPAN + 20))s" >"$tmp/idle-$broker.log" 2>&1 &
		clients_of[$broker]=$!
		for ((i = 0; i < 600; i++)); do
			[ "$(find "/proc/${broker_pid[$broker]}/fd" -lname 'socket:*' | wc -l)" -lt "$clients" ] || break
			running "${clients_of[$broker]}" || {
				cat "$tmp/idle-$broker.log" >&2
				die "$broker: $clients clients do not connect: see above"
			}
			sleep 0.1
		done
	done
	sleep "$IDLE_SETTLE"
	for broker; do
		turns[$broker]=$(switches "${broker_pid[$broker]}")
		busy[$broker]=$(processor "${broker_pid[$broker]}")
	done
	sleep "$IDLE_SPAN"
	for broker; do
		note idle "$name" "$broker" "$round" "$(awk -v n="$clients" -v span="$IDLE_SPAN" \
			-v e="${empty[$broker]}" -v r="$(resident "${broker_pid[$broker]}")" \
			-v s="$(($(switches "${broker_pid[$broker]}") - turns[$broker]))" \
			-v c="$(($(processor "${broker_pid[$broker]}") - busy[$broker]))" 'BEGIN {
				printf "\"emptyBytes\":%d,\"rssBytes\":%d,\"bytesPerConnection\":%.0f,\"switchesPerMinute\":%.1f,\"cpuMillisPerMinute\":%.2f",
					e, r, r / n, s * 60 / span, c * 60 / span / 1e6
			}')"
	done
	for broker; do
		kill "${clients_of[$broker]}" 2>/dev/null || true
		wait "${clients_of[$broker]}" 2>/dev/null || true
		stop_broker "$broker"
	done
}

# measure_group GROUP ROUND: all its chosen rows, once.
measure_group() {
	local group=$1 round=$2 name setup flags broker brokers
	read -ra brokers <<<"${BROKERS:-$(brokers_of "$group")}"
	while IFS='|' read -r name _ setup flags <&3; do
		case $group in
		idle) measure_idle "$name" "$flags" "$round" "${brokers[@]}" ;;
		latency) for broker in "${brokers[@]}"; do measure_latency "$name" "$setup" "$flags" "$broker" "$round"; done ;;
		*) for broker in "${brokers[@]}"; do measure_load "$group" "$name" "$setup" "$flags" "$broker" "$round"; done ;;
		esac
	done 3< <(chosen_rows "$group")
}
