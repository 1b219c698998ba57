#!/usr/bin/env bash
# The brokers that scripts/bench.sh compares: how they are made, configured,
# started and stopped. To be sourced, with die and $tmp there.
#
#   mosquitto         Debian's, its defaults but for max_queued_messages
#   mosquitto-acl     the same with 100 rules
#   edgebroker        its defaults, and 100 rules
#   edgebroker-open   its defaults without rules
#   nats              nats-server with its MQTT listener, and JetStream, which that needs
#   mochi             mochi-mqtt as it comes: scripts/bench/mochi
#   relay             no broker but the physical limit: scripts/bench/relay
#
# What follows in a name after mosquitto- or edgebroker- and is not above makes a
# second one of it, which runs beside the first.

# shellcheck disable=SC2154 # tmp is that of scripts/bench.sh

# Processes and ports of the brokers that run, by name.
# shellcheck disable=SC2034
declare -A broker_pid=() broker_port=()

# brokers_make NAME...: builds or installs what these need.
brokers_make() {
	local name
	edgebroker=${EDGEBROKER:-}
	if [ -z "$edgebroker" ]; then
		edgebroker=$tmp/edgebroker-binary
		CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$edgebroker" ./cmd/edgebroker
	fi
	for name; do
		case $name in
		mosquitto*) command -v mosquitto >/dev/null || install_mosquitto ;;
		nats) [ -x "$tmp/nats-binary" ] || CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tmp/nats-binary" github.com/nats-io/nats-server/v2 ;;
		mochi | relay) [ -x "$tmp/$name-binary" ] || CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tmp/$name-binary" "./scripts/bench/$name" ;;
		edgebroker*) ;;
		*) die "no broker is called $name; see scripts/bench/brokers.bash" ;;
		esac
	done
	rules >"$tmp/rules"
	sed 's/^allow any all /topic readwrite /' "$tmp/rules" >"$tmp/mosquitto.acl"
	chmod 711 "$tmp" # mosquitto, started by root, becomes another user
	chmod 644 "$tmp/mosquitto.acl"
}

install_mosquitto() {
	local policy='' installed=yes
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		die "mosquitto is missing; run: sudo apt-get install mosquitto"
	fi
	echo "installing mosquitto" >&2
	# No daemon shall start here because its package was installed.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mosquitto; } \
		>"$tmp/apt.log" 2>&1 || installed=
	[ -z "$policy" ] || rm -f "$policy"
	[ -n "$installed" ] || {
		cat "$tmp/apt.log" >&2
		die "install mosquitto: see above"
	}
}

# rules: 100 of them, in edgebroker's words. All hold for every client; the last is
# the one that the load needs.
rules() {
	local i
	for ((i = 1; i < 100; i++)); do echo "allow any all plant/line$i/+/status"; done
	echo "allow any all bench/#"
}

# certificates: makes a certificate for 127.0.0.1, once.
certificates() {
	[ ! -d "$tmp/tls" ] || return 0
	"$edgebroker" init --dir "$tmp/tls" --data "$tmp/tls/data" >/dev/null 2>&1 || die "make certificates with edgebroker init"
	chmod -R a+rX "$tmp/tls" # mosquitto reads its key as another user; it is for one run
	chmod 600 "$tmp/tls/pki/server.key"
	cp "$tmp/tls/pki/server.key" "$tmp/mosquitto.key"
	chmod 644 "$tmp/mosquitto.key"
}

# version_of NAME: what it says of itself.
version_of() {
	case $1 in
	mosquitto*) { mosquitto -h || true; } | sed -n '1s/mosquitto version //p' ;;
	edgebroker*) "$edgebroker" version | head -n 1 | sed 's/^edgebroker //' ;;
	nats) "$tmp/nats-binary" --version | sed 's/^nats-server: v//' ;;
	mochi) go list -m -f '{{.Version}}' github.com/mochi-mqtt/server/v2 ;;
	relay) echo - ;;
	esac
}

# answers PORT: whether something accepts connections there.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# config NAME PORT SETUP FOLDER: writes the configuration of a broker into FOLDER.
# SETUP is a list of words: tls; stored, for what survives a crash; cramped, for
# edgebroker, stored in little room.
config() {
	local name=$1 port=$2 setup=" $3 " dir=$4 q='"'
	case $name in
	mosquitto*)
		{
			printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n' "$port"
			[[ $setup != *" tls "* ]] || printf 'certfile %s\nkeyfile %s\n' "$tmp/tls/pki/server.crt" "$tmp/mosquitto.key"
			[ "$name" != mosquitto-acl ] || printf 'acl_file %s\n' "$tmp/mosquitto.acl"
			if [[ $setup == *" stored "* ]]; then
				printf 'persistence true\npersistence_location %s/\nautosave_interval 1\nautosave_on_changes true\n' "$dir/data"
			else
				echo 'persistence false'
			fi
		} >"$dir/mosquitto.conf"
		;;
	edgebroker*)
		{
			printf 'listeners: [{name: bench, address: "127.0.0.1:%s", allow_anonymous: true' "$port"
			[[ $setup != *" tls "* ]] || printf ', type: tls, certificate: "%s", key: "%s"' "$tmp/tls/pki/server.crt" "$tmp/tls/pki/server.key"
			printf '}]\ncontrol: {socket: "%s"}\n' "$dir/control.sock"
			[ "$name" = edgebroker-open ] || printf 'access: {rules: ["%s"]}\n' "$tmp/rules"
			[[ $setup != *" stored "* ]] || printf 'storage: {directory: "%s"}\n' "$dir/data"
			# As little room as there may be, so that the log is written anew often.
			[[ $setup != *" cramped "* ]] || printf 'storage: {directory: "%s", segment_size: 4MiB, max_bytes: 32MiB}\n' "$dir/data"
		} >"$dir/edgebroker.yml"
		;;
	nats)
		{
			printf 'listen: "127.0.0.1:-1"\nserver_name: bench\njetstream {\n\tstore_dir: %s\n' "$q$dir/data$q"
			[[ $setup != *" stored "* ]] || printf '\tsync_interval: always\n'
			printf '}\nmqtt {\n\tlisten: "127.0.0.1:%s"\n' "$port"
			[[ $setup != *" tls "* ]] || printf '\ttls { cert_file: "%s", key_file: "%s" }\n' "$tmp/tls/pki/server.crt" "$tmp/tls/pki/server.key"
			printf '}\n'
		} >"$dir/nats.conf"
		;;
	mochi | relay) [[ $setup != *" tls "* && $setup != *" stored "* ]] || die "$name has neither TLS nor a store here" ;;
	esac
}

# start_broker NAME SETUP: runs a fresh one on a free port, which is then in
# broker_port, and its process in broker_pid. A port that is free here may be taken
# a moment later, hence the second and third try.
start_broker() {
	local name=$1 setup=$2 dir=$tmp/run-$1 port i
	[[ $setup != *tls* ]] || certificates
	for _ in 1 2 3; do
		port=$((20000 + RANDOM % 12000))
		! answers "$port" || continue
		rm -rf "$dir"
		mkdir -p "$dir/data"
		chmod 711 "$dir"
		chmod 777 "$dir/data"
		config "$name" "$port" "$setup" "$dir"
		case $name in
		mosquitto*) mosquitto -c "$dir/mosquitto.conf" >"$dir/log" 2>&1 & ;;
		edgebroker*) "$edgebroker" serve --config "$dir/edgebroker.yml" >"$dir/log" 2>&1 & ;;
		nats) "$tmp/nats-binary" -c "$dir/nats.conf" >"$dir/log" 2>&1 & ;;
		mochi | relay) "$tmp/$name-binary" "127.0.0.1:$port" >"$dir/log" 2>&1 & ;;
		esac
		broker_pid[$name]=$!
		broker_port[$name]=$port
		for ((i = 0; i < 100; i++)); do
			running "${broker_pid[$name]}" || break
			! answers "$port" || return 0
			sleep 0.05
		done
		stop_broker "$name"
	done
	cat "$dir/log" >&2
	die "start $name: see above"
}

# running PID: whether that process has not ended.
running() {
	local state=
	read -r _ _ state _ 2>/dev/null <"/proc/$1/stat" || return 1
	[ "$state" != Z ]
}

# stop_broker NAME: and waits. Nothing happens if it does not run.
stop_broker() {
	local pid=${broker_pid[$1]:-} i
	[ -n "$pid" ] || return 0
	unset "broker_pid[$1]"
	kill "$pid" 2>/dev/null || true
	# What does not end within five seconds has had its time.
	for ((i = 0; i < 100; i++)); do
		running "$pid" || break
		sleep 0.05
	done
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
}

stop_brokers() {
	local name
	for name in "${!broker_pid[@]}"; do stop_broker "$name"; done
}
