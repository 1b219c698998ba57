#!/usr/bin/env bash
# Runs the binaries for ARMv6, ARMv7, ARM64 and RISC-V on this machine, in qemu's
# user mode, and has real clients use them: mosquitto_pub and mosquitto_sub at
# every QoS, a retained message, a kept session across a kill -9, and clients that
# keep books while the broker is killed again and again. It proves that nothing
# in the broker, the recovery of its store included, depends on the processor.
#
#   scripts/foreign.sh [KILLS]   default 3, for each processor
#
# It needs qemu-user-static and mosquitto-clients. ONLY=armv6 runs one of them.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "foreign.sh: error: $*" >&2
	exit 1
}

kills=${1:-3}
[[ $kills =~ ^[0-9]{1,5}$ && $# -le 1 ]] || die "\"$*\" is not a number of kills; see the head of $0"

# name GOARCH GOARM emulator processor; without a processor that is named, qemu's
# own would hide instructions that a gateway has not.
targets=(
	"armv6   arm     6 qemu-arm-static     arm1176"
	"armv7   arm     7 qemu-arm-static     cortex-a7"
	"arm64   arm64   - qemu-aarch64-static cortex-a53"
	"riscv64 riscv64 - qemu-riscv64-static rv64"
)

tmp=$(mktemp -d)
broker=
cleanup() {
	[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT

# start NAME: its broker, on a free port; sets $broker and $port.
start() {
	: >"$tmp/log"
	"$tmp/$1" serve --listen 127.0.0.1:0 --socket "$tmp/control" --data "$tmp/data-$1" 2>"$tmp/log" &
	broker=$!
	local i
	for ((i = 0; i < 600; i++)); do
		if grep -q 'ready; watch with' "$tmp/log"; then
			port=$(sed -n 's/^.*listening for .*address=[^ ]*:\([0-9]*\).*$/\1/p' "$tmp/log")
			return
		fi
		kill -0 "$broker" 2>/dev/null || break
		read -rt 0.1 <> <(:) || true
	done
	cat "$tmp/log"
	die "$1: the broker is not ready"
}

# same GOT WANT WHAT
same() { [ "$1" = "$2" ] || die "$3: got \"$1\", want \"$2\""; }

pub() { mosquitto_pub -h 127.0.0.1 -p "$port" "$@"; }
sub() { timeout 60 mosquitto_sub -h 127.0.0.1 -p "$port" "$@"; }

# clients NAME VERSION: what real clients do, and what they find after a kill.
clients() {
	local name=$1 version=$2 qos
	start "$name"
	sub -V "$version" -c -i kept -q 2 -t "kept/#" -E
	pub -V "$version" -q 1 -r -t state -m "on, $version"
	for qos in 0 1 2; do
		sub -V "$version" -q "$qos" -t live -C 1 >"$tmp/live" &
		local reader=$!
		# A message that comes before the subscription is lost, rightly.
		while kill -0 $reader 2>/dev/null; do
			pub -V "$version" -q "$qos" -t live -m "QoS $qos"
		done
		wait $reader || die "$name: nothing came at QoS $qos"
		same "$(cat "$tmp/live")" "QoS $qos" "$name, MQTT $version"
		[ "$qos" = 0 ] || pub -V "$version" -q "$qos" -t "kept/$qos" -m "kept at QoS $qos"
	done
	kill -9 "$broker"
	wait "$broker" 2>/dev/null || true
	start "$name"
	same "$(sub -V "$version" -c -i kept -q 2 -t "kept/#" -C 2)" "kept at QoS 1
kept at QoS 2" "$name, kept session after kill -9, MQTT $version"
	same "$(sub -V "$version" -q 1 -t state -C 1)" "on, $version" "$name, retained message after kill -9"
	sub -V "$version" -i kept -t none -E # and no session is left
	kill "$broker"
	wait "$broker" || die "$name: the broker ended with status $?"
	broker=
}

go build -o "$tmp/torture" ./internal/torture
for target in "${targets[@]}"; do
	read -r name arch arm emulator processor <<<"$target"
	[ -z "${ONLY-}" ] || [ "$ONLY" = "$name" ] || continue
	command -v "$emulator" >/dev/null || die "no $emulator; install it: apt-get install qemu-user-static"
	[ "$arm" != - ] || arm=
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOARM=$arm go build -o "$tmp/$name.bin" ./cmd/edgebroker
	printf '#!/bin/sh\nexec %s -cpu %s %s "$@"\n' "$emulator" "$processor" "$tmp/$name.bin" >"$tmp/$name"
	chmod 755 "$tmp/$name"
	clients "$name" mqttv311
	clients "$name" mqttv5
	if ! "$tmp/torture" -broker "$tmp/$name" -kills "$kills" -rate 150 -ready 60s >"$tmp/books" 2>&1; then
		cat "$tmp/books"
		die "$name: a promise was broken"
	fi
	acked=$(awk '$1 == "acknowledged" { print $2 }' "$tmp/books")
	[ "${acked:-0}" -gt 0 ] || {
		cat "$tmp/books"
		die "$name: nothing was acknowledged between the kills"
	}
	echo "$name: served mosquitto's clients, recovered from kill -9; $acked messages acknowledged between $kills kills, none lost"
	rm "$tmp/$name.bin"
done
