#!/bin/sh
# Proves that all books agree to the message after a long load: 200 clients
# publish, flap, take over, are slow, away, kicked and refused for ten minutes,
# and what they have counted is compared with stats, the metrics, the sums that
# a StatsD server makes, $SYS, the loss ledger, the balance, and the events.
#
#   scripts/books.sh [SPAN]     such as 30m; 10m if not given
set -eu
cd "$(dirname "$0")/.."
EDGEBROKER_BOOKS=${1:-10m} exec go test -count=1 -timeout 120m -v -run '^TestBooks$' ./e2e
