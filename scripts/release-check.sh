#!/usr/bin/env bash
# Boots emulated ARM machines with Debian's kernel and Debian's systemd, installs
# the .deb on them, has clients that keep books load the broker, and cuts the power
# at random moments: while it works, and while the machine boots. It proves that
# nothing that was acknowledged is lost, that QoS 2 comes once and order holds, and
# that the gateway always comes up again, under the unit as it is shipped.
#
#   scripts/release-check.sh [CUTS]   default 20, for each machine: an hour and more
#
# ARCH=arm64 or ARCH=armhf takes one of them. As root; it installs what it needs.
# docs/RELEASE-CHECK.md keeps what it said for the last release.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "release-check.sh: error: $*" >&2
	exit 1
}
# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash
# shellcheck source=scripts/machine.bash
. scripts/machine.bash

cuts=${1:-20}
[[ $cuts =~ ^[0-9]{1,4}$ && $# -le 1 ]] || die "\"$*\" is not a number of power cuts; see the head of $0"

tmp=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$tmp"' EXIT
machine_need arm64 armhf
go build -o "$tmp/torture" ./internal/torture

# The unit as it is shipped, but for a network without passwords: it leads to this
# machine alone. Bounds are so wide that only the disk is a limit.
cat >"$tmp/edgebroker.yml" <<'CONFIG'
listeners:
  - {name: devices, address: "0.0.0.0:1883", allow_anonymous: true}
limits: {max_connections: 0}
sessions: {max_queued_messages: 10000000, max_queued_bytes: 1GiB, total_queued_bytes: 1GiB}
storage: {segment_size: 4MiB, max_bytes: 1GiB}
CONFIG

# The first boot installs the package, as its owner would, and what it says is on the
# console.
first_boot() {
	local root=$1
	cp "$deb" "$root/srv/edgebroker.deb"
	cp "$tmp/edgebroker.yml" "$root/srv/edgebroker.yml"
	cat >"$root/srv/first-boot" <<'SCRIPT'
set -e
at() { systemctl show -P "$1TimestampMonotonic" edgebroker; }
dpkg --install /srv/edgebroker.deb
systemctl is-active edgebroker
install -m 640 -g edgebroker /srv/edgebroker.yml /etc/edgebroker/edgebroker.yml
systemctl restart edgebroker
echo "ready $((($(at ActiveEnter) - $(at ExecMainStart)) / 1000)) ms after the process was started"
systemctl status --no-pager edgebroker
mv /srv/edgebroker.deb /srv/installed.deb
sync
SCRIPT
	cat >"$root/etc/systemd/system/first-boot.service" <<'UNIT'
[Unit]
Description=Installs edgebroker
ConditionPathExists=/srv/edgebroker.deb
After=basic.target
[Service]
Type=oneshot
StandardOutput=journal+console
StandardError=journal+console
ExecStart=/bin/sh /srv/first-boot
[Install]
WantedBy=multi-user.target
UNIT
	ln -s ../first-boot.service "$root/etc/systemd/system/multi-user.target.wants/first-boot.service"
}

broken=
for arch in ${ARCH:-arm64 armhf}; do
	name=$arch memory=512
	[ "$arch" = arm64 ] || name=armv6
	machine_base "$arch"
	rm -f dist/edgebroker_*_"$arch".deb
	scripts/package.sh --format deb "$name" >"$tmp/package" || {
		cat "$tmp/package"
		die "package.sh: see above"
	}
	debs=(dist/edgebroker_*_"$arch".deb)
	deb=${debs[0]}
	mkdir "$tmp/$arch"
	machine_boot_files "$arch" "$tmp/$arch"
	machine_disk "$arch" "$tmp/$arch" first_boot
	port=$(machine_port)
	mapfile -t words < <(machine_command "$arch" "$tmp/$arch" "$port" $memory)
	# Every second time the clock is wrong, as that of a gateway without a battery: it
	# begins in 1970, which systemd takes for the day on which it was built.
	{
		echo '#!/bin/bash'
		printf 'exec'
		printf ' %q' "${words[@]}"
		# shellcheck disable=SC2016 # expanded at each boot
		echo ' -rtc "base=$([ $((RANDOM % 2)) = 0 ] && echo utc || echo 1970-01-01T00:00:00)"'
	} >"$tmp/$arch/boot"
	chmod 755 "$tmp/$arch/boot"
	echo "== $arch: ${words[0]##*/}, $memory MiB, $(basename "$deb"), $cuts power cuts"
	status=0
	"$tmp/torture" -mode power -broker "$tmp/$arch/boot" -address "127.0.0.1:$port" -kills "$cuts" -rate 60 -ready 10m || status=$?
	grep -ao 'ready [0-9]* ms after the process was started' "$tmp/$arch/console" || true
	if [ $status != 0 ]; then
		broken=yes
		echo "-- the console ends in:"
		tail -n 40 "$tmp/$arch/console"
	fi
	rm -rf "${tmp:?}/$arch"
done
[ -z "$broken" ] || die "a promise was broken: see above"
echo "every promise kept"
