#!/usr/bin/env bash
# What scripts/bench.sh measures. To be sourced, with die there.

# The groups, in the order of docs/PERFORMANCE.md.
groups=(saturated acl low paced durable shapes latency idle)

# rows_of GROUP: its rows, each as NAME|GOAL|SETUP|FLAGS: what edgebroker's value
# may be of mosquitto's at most (empty: no goal), how brokers are set up, and the
# flags of `edgebroker bench`. Those of latency and idle are read by what measures
# them.
rows_of() {
	local qos n rate payload
	case $1 in
	saturated)
		cat <<-'END'
			10 → 1, QoS 0|0.07||--scenario fan-in --clients 10 --qos 0
			10 → 1, QoS 1|0.10||--scenario fan-in --clients 10 --qos 1
			10 pairs, QoS 0|0.045||--scenario pairs --clients 10 --qos 0
			10 pairs, QoS 1|0.035||--scenario pairs --clients 10 --qos 1
			1 → 100, QoS 0|0.15||--scenario fan-out --clients 100 --qos 0
			1 → 100, QoS 1|0.07||--scenario fan-out --clients 100 --qos 1
		END
		;;
	acl) rows_of saturated ;;
	low)
		# Clients and rates whose product two cores bear beside the load.
		for qos in 0 1; do
			for rate in 500 50 5; do
				for n in 10 100 1000; do
					[ $((n * rate)) -le 5000 ] || continue
					echo "$n pairs at $rate/s, QoS $qos|1||--scenario pairs --clients $n --qos $qos --rate $rate"
				done
			done
		done
		;;
	paced)
		for qos in 0 1; do echo "10 pairs at 500/s, QoS $qos|1||--scenario pairs --clients 10 --qos $qos --rate 500"; done
		;;
	durable)
		for n in 1 16 64; do echo "$n → 1, one at a time||stored|--scenario fan-in --clients $n --qos 1 --window 1 --payload 200 --kept"; done
		echo "10 pairs, window 50||stored|--scenario pairs --clients 10 --qos 1 --window 50 --payload 200 --kept"
		;;
	shapes)
		# The goals of the saturated rows hold for what is present without being used, too.
		local in=(0.07 0.10) pairs=(0.045 0.035)
		for qos in 0 1; do
			for payload in 1024 65536; do
				n="$((payload / 1024)) KB"
				echo "$n, 10 pairs, QoS $qos|||--scenario pairs --clients 10 --qos $qos --payload $payload --window $((payload > 1024 ? 8 : 64))"
				echo "$n, 1 → 100, QoS $qos|||--scenario fan-out --clients 100 --qos $qos --payload $payload --window $((payload > 1024 ? 8 : 64))"
			done
			echo "5 wildcard subscribers among 50,000 exact, QoS $qos|||--scenario pairs --clients 10 --qos $qos --wildcard 5 --subscriptions 50000"
			echo "100,000 subscriptions present, 10 pairs, QoS $qos|${pairs[qos]}||--scenario pairs --clients 10 --qos $qos --subscriptions 100000"
			echo "topic cache cold (20,000 topics in turn), 10 → 1, QoS $qos|${in[qos]}||--scenario fan-in --clients 10 --qos $qos --topics 2000"
			echo "topic cache warm (2 topics in turn), 10 → 1, QoS $qos|${in[qos]}||--scenario fan-in --clients 10 --qos $qos --topics 2"
			echo "MQTT 5, 10 pairs, QoS $qos|||--scenario pairs --clients 10 --qos $qos --version 5"
			echo "MQTT 5, aliases, 10 pairs, QoS $qos|||--scenario pairs --clients 10 --qos $qos --version 5 --aliases"
			echo "MQTT 5, 3 user properties, 10 pairs, QoS $qos|||--scenario pairs --clients 10 --qos $qos --version 5 --user-properties 3"
			echo "TLS, 10 pairs, QoS $qos||tls|--scenario pairs --clients 10 --qos $qos"
			echo "TLS, 1 → 100, QoS $qos||tls|--scenario fan-out --clients 100 --qos $qos"
		done
		;;
	latency)
		# SETUP is how many percent of its saturation a broker does. Half leaves the
		# two processors, which the load shares, no room for a storm or for what others store.
		for qos in 0 1; do
			echo "half, QoS $qos||50|--scenario pairs --clients 10 --qos $qos"
			echo "a quarter, QoS $qos||25|--scenario pairs --clients 10 --qos $qos"
		done
		;;
	idle)
		echo "1,000 clients, silent|1||--clients 1000 --keep-alive 0"
		echo "1,000 clients, PINGREQ each minute|1||--clients 1000 --keep-alive 60s"
		echo "4,000 clients, silent|1||--clients 4000 --keep-alive 0"
		;;
	*) die "there is no group $1; there are: ${groups[*]}" ;;
	esac
}

# brokers_of GROUP: who takes part, if BROKERS does not say so.
brokers_of() {
	case $1 in
	saturated | paced) echo mosquitto edgebroker nats mochi relay ;;
	acl) echo mosquitto mosquitto-acl edgebroker-open edgebroker ;;
	durable) echo mosquitto edgebroker nats ;;
	idle) echo mosquitto edgebroker nats mochi ;;
	*) echo mosquitto edgebroker ;;
	esac
}

# chosen_rows GROUP: those of its rows that ROWS asks for, all if it is empty.
chosen_rows() {
	if [ -z "$ROWS" ]; then
		rows_of "$1"
	else
		rows_of "$1" | awk -F'|' -v pattern="$ROWS" 'tolower($1) ~ tolower(pattern)'
	fi
}
