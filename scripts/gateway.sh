#!/usr/bin/env bash
# Boots small Debians with systemd as their first process, in containers, and tries
# edgebroker there as its owners will: installs the .deb, starts, reloads, kills and
# hangs it, upgrades it under 200 clients, removes and purges it, and gives it 64 MiB
# and a quarter of a processor.
#
#   scripts/gateway.sh [SUITE...]   default bookworm; trixie has a newer systemd
#
# As root; it installs what it needs. RUN=TestPackage runs that test alone.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "gateway.sh: error: $*" >&2
	exit 1
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash

[ "$(id -u)" = 0 ] || die "containers can be booted by root only"
for suite; do
	[[ $suite =~ ^[a-z]+$ ]] || die "\"$suite\" is no suite of Debian; see the head of $0"
done
missing=()
for pair in systemd-nspawn=systemd-container mmdebstrap=mmdebstrap eatmydata=eatmydata ip=iproute2 mosquitto_pub=mosquitto-clients; do
	have "${pair%%=*}" || missing+=("${pair#*=}")
done
install_packages "${missing[@]}"

# Two versions of one tree, so that there is something to upgrade.
debs=()
for version in 0.0.1 0.0.2; do
	VERSION=v$version scripts/package.sh --format deb amd64 >"$tmp/package.log" 2>&1 || {
		cat "$tmp/package.log"
		die "package.sh: see above"
	}
	mv dist/edgebroker_"$version"*_amd64.deb "$tmp"
	debs+=("$tmp"/edgebroker_"$version"*_amd64.deb)
done
EDGEBROKER_LAB=1 EDGEBROKER_LAB_SUITES="${*:-bookworm}" EDGEBROKER_LAB_DEBS="${debs[*]}" \
	go test -count=1 -timeout 15m -v -run "${RUN:-.}" ./internal/lab
