#!/usr/bin/env bash
# Kills one server of a NATS cluster of three after the other, mostly the leader
# of the stream, while a broker publishes to it by an uplink, and compares what is
# in the stream with what was published: nothing lost, nothing twice, all in
# order. Then the same with a second broker that takes in what the stream has, whose
# subscriber must get everything, and with the books of both and of the stream, which
# must agree. docs/NATS.md and docs/FLEET.md say what is promised.
#
#   scripts/nats.sh [KILLS]   default 20, about four minutes
set -euo pipefail
cd "$(dirname "$0")/.."

kills=${1:-20}
if [ $# -gt 1 ] || ! [[ $kills =~ ^[1-9][0-9]{0,5}$ ]]; then
	echo "nats.sh: error: expected one number; see the head of $0" >&2
	exit 2
fi
EDGEBROKER_NATS_KILLS=$(((kills + 1) / 2)) exec go test -count=1 -timeout 0 -v -run '^(TestUplinkNATSCluster|TestFleetCluster)$' ./appliance
