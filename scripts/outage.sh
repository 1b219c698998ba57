#!/usr/bin/env bash
# Cuts an uplink for as long as many messages take, kills the gateway in the
# middle and the far broker while it catches up, and looks at what came out there.
# It proves that nothing that was acknowledged is lost, that order holds, and that
# QoS 2 comes once; and it says how fast the backlog drains.
#
#   scripts/outage.sh [MESSAGES]              far broker: edgebroker; default 200,000
#   scripts/outage.sh --mosquitto [MESSAGES]  far broker: mosquitto, stopped instead of killed
#   scripts/outage.sh --arrival N [MESSAGES]  the first, with N messages published per second
#   scripts/outage.sh --line [DURATION]       instead, a line of 150 ms each way that breaks every
#                                             5 seconds: cut, half open, or away; default 10m
#   scripts/outage.sh --loss [DURATION]       the same with a fifth of all packets lost besides, in
#                                             a network namespace; needs root and nft
#   scripts/outage.sh --netem [DURATION]      the same, but the kernel makes the line bad: tc's netem loses
#                                             a fifth of all packets and takes 300 ms for the way there
#                                             and back, in an emulated machine; needs root
#   scripts/outage.sh --send-rate RATE [MESSAGES]  instead, a backlog that drains at RATE messages per
#                                             second, and alarms that go before it; see that it is RATE
#
# EDGEBROKER names a binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "outage.sh: error: $*; see the head of $0" >&2
	exit 2
}
what=()
case ${1-} in
--mosquitto)
	shift
	mosquitto=$(command -v mosquitto || command -v /usr/sbin/mosquitto) || die "no mosquitto; install it: apt-get install mosquitto"
	what=(-mosquitto "$mosquitto")
	;;
--arrival)
	[[ ${2-} =~ ^[1-9][0-9]{0,5}$ ]] || die "\"${2-}\" is not a number of messages per second"
	what=(-arrival "$2")
	shift 2
	;;
--send-rate)
	[[ ${2-} =~ ^[1-9][0-9]{0,6}$ ]] || die "\"${2-}\" is not a number of messages per second"
	what=(-send-rate "$2")
	shift 2
	;;
--line | --loss | --netem)
	[ "$1" != --loss ] || { [ "$(id -u)" = 0 ] && command -v nft >/dev/null; } || die "$1 needs root and nft"
	mode=$1
	shift
	[[ ${1:-10m} =~ ^[1-9][0-9]*[smh]$ ]] || die "\"$1\" is no duration such as 10m"
	what=(-line "${1:-10m}")
	[ $# -eq 0 ] || shift
	;;
esac
[[ ${1:-200000} =~ ^[0-9]{3,8}$ && $# -le 1 ]] || die "\"$*\" is not a number of messages"
tmp=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$tmp"' EXIT
if [ -z "${EDGEBROKER-}" ]; then
	CGO_ENABLED=0 go build -trimpath -o "$tmp/edgebroker" ./cmd/edgebroker
	EDGEBROKER=$tmp/edgebroker
fi
CGO_ENABLED=0 go build -o "$tmp/outage" ./internal/outage
run=("$tmp/outage" -edgebroker "$EDGEBROKER" "${what[@]}" -messages "${1:-200000}" -dir "$(mktemp -d -p "$tmp")")
if [ "${mode-}" = --netem ]; then
	# shellcheck source=scripts/fetch.bash
	. scripts/fetch.bash
	# shellcheck source=scripts/machine.bash
	. scripts/machine.bash
	machine_need amd64
	machine_base amd64
	# The line alone is bad, which has an address of its own for that.
	# shellcheck disable=SC2317 # called by machine_disk
	bad_line() {
		local root=$1 line=${what[1]}
		cp "$EDGEBROKER" "$root/srv/edgebroker"
		cp "$tmp/outage" "$root/srv/outage"
		cat >"$root/srv/bad-line" <<-SCRIPT
			tc qdisc add dev lo root handle 1: prio bands 4
			tc qdisc add dev lo parent 1:4 handle 40: netem delay 150ms loss 20%
			tc filter add dev lo parent 1: protocol ip u32 match ip dst 127.0.0.2/32 flowid 1:4
			tc filter add dev lo parent 1: protocol ip u32 match ip src 127.0.0.2/32 flowid 1:4
			tc qdisc show dev lo
			status=0
			/srv/outage -edgebroker /srv/edgebroker -line $line -delay 0 -line-host 127.0.0.2 -dir /var/tmp || status=\$?
			tc -s qdisc show dev lo
			echo "outage ended with status \$status"
		SCRIPT
		cat >"$root/etc/systemd/system/outage.service" <<-UNIT
			[Unit]
			Description=An uplink over a bad line
			After=basic.target
			[Service]
			Type=oneshot
			StandardOutput=file:/dev/$(machine_console amd64)
			StandardError=inherit
			ExecStart=/bin/sh -e /srv/bad-line
			[Install]
			WantedBy=multi-user.target
		UNIT
		ln -s ../outage.service "$root/etc/systemd/system/multi-user.target.wants/outage.service"
	}
	machine_boot_files amd64 "$tmp"
	machine_disk amd64 "$tmp" bad_line
	mapfile -t words < <(machine_command amd64 "$tmp" "$(machine_port)" 1024)
	: >"$tmp/console"
	"${words[@]}" &
	qemu=$!
	trap 'kill $qemu 2>/dev/null || true; rm -rf "$tmp"' EXIT
	while kill -0 $qemu 2>/dev/null && ! grep -aq '^outage ended with status' "$tmp/console"; do sleep 1; done
	tr -d '\r' <"$tmp/console" | sed -n '/^qdisc/,$p'
	status=$(tr -d '\r' <"$tmp/console" | sed -n 's/^outage ended with status //p')
	[ "$status" = 0 ] || die "what ran on the machine has ended with status ${status:-unknown}; its console is above"
	exit
fi
if [ "${mode-}" != --loss ]; then
	"${run[@]}"
	exit
fi
# The script of the inner shell expands its own arguments.
# shellcheck disable=SC2016
unshare --net sh -euc '
	ip link set lo up
	nft add table ip lossy
	nft "add chain ip lossy out { type filter hook output priority 0; }"
	nft "add rule ip lossy out numgen random mod 100 < 20 drop"
	exec "$@"' sh "${run[@]}"
