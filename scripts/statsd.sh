#!/usr/bin/env bash
# Proves that a real StatsD server (the one of npm, by Etsy) understands what
# edgebroker reports: it finds no bad line, and what it has added up when the
# broker has stopped is, counter by counter, what the broker itself counts. Once
# without tags, once with Graphite's, which are the only ones it knows.
#
#   scripts/statsd.sh
#
# It needs Go, node, and npm with its registry. It is not a step of check.sh,
# which must pass without npm and has a server of its own in the tests; run it
# after a change to what is reported. It takes about ten seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

statsd=statsd@0.9.0

die() {
	echo "statsd.sh: error: $*" >&2
	exit 1
}
case ${1-} in
"") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "statsd.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
broker_pid=
server_pid=
# end PID: ends a process that we have started, and waits for it.
end() {
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}
cleanup() {
	end "$broker_pid"
	end "$server_pid"
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# shellcheck source=scripts/fetch.bash
. scripts/fetch.bash
PATH=$PATH:/usr/local/go/bin
have go || die "no go command; install Go 1.26 or later"
have node || die "no node; run: sudo apt-get install nodejs"
have npm || die "no npm; run: sudo apt-get install npm"

must_npm_fetch "$statsd"
CGO_ENABLED=0 go build -trimpath -o "$tmp/edgebroker" ./cmd/edgebroker
eb() { timeout 20 "$tmp/edgebroker" "$@"; }

# await SECONDS COMMAND...: repeats a command until it succeeds.
await() {
	local tries=$(($1 * 10))
	shift
	for ((i = 0; i < tries; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	return 1
}

# A free port for datagrams and one for questions.
read -r port admin < <(timeout 10 node -e '
const udp = require("dgram").createSocket("udp4"), tcp = require("net").createServer();
udp.bind(0, "127.0.0.1", () => tcp.listen(0, "127.0.0.1", () => {
	console.log(udp.address().port, tcp.address().port);
	udp.close();
	tcp.close();
}));')

# ask WHAT: an answer of the server: counters, gauges, health.
cat >"$tmp/ask.js" <<'EOF'
const s = require("net").connect(Number(process.argv[2]), "127.0.0.1");
let text = "";
s.on("data", (d) => {
	text += d;
	if (/END\n|health: up/.test(text)) { console.log(text); s.end(); }
});
s.on("error", () => process.exit(1));
s.write(process.argv[3] + "\n");
EOF
ask() { timeout 10 node "$tmp/ask.js" "$admin" "$1"; }

# compare TAGS: the counters of the server, from $tmp/counters, with those of the
# broker, from $tmp/stats.json.
cat >"$tmp/compare.js" <<'EOF'
const fs = require("fs"), [dir, tags] = process.argv.slice(2);
const s = JSON.parse(fs.readFileSync(dir + "/stats.json")), got = {};
for (const [, k, v] of fs.readFileSync(dir + "/counters", "utf8").matchAll(/'?([\w.;=-]+)'?: (\d+)/g)) got[k] = Number(v);
const name = (base, key, value) => tags === "none" ? `eb.${base}${key ? "." + value : ""}` :
	`eb.${base};site=plant_1${key ? `;${key}=${value}` : ""}`;
const want = {
	[name("publish_received", "qos", "0")]: s.received.qos0, [name("publish_received", "qos", "1")]: s.received.qos1,
	[name("publish_received", "qos", "2")]: s.received.qos2, [name("publish_sent", "qos", "1")]: s.sent.qos1,
	[name("publish_received_bytes")]: s.received.payloadBytes, [name("publish_sent_bytes")]: s.sent.payloadBytes,
	[name("received_packets")]: s.received.packets, [name("sent_packets")]: s.sent.packets,
	[name("received_bytes")]: s.received.bytes, [name("sent_bytes")]: s.sent.bytes,
	[name("connections", "result", "accepted")]: s.connections.total, [name("sockets_opened")]: s.connections.opened,
	[name("messages_dropped", "reason", "no_subscribers")]: s.dropped.byReason.no_subscribers,
	[name("disconnections", "reason", "normal")]: s.disconnections.normal, "statsd.bad_lines_seen": 0,
};
let bad = 0;
for (const [k, v] of Object.entries(want)) {
	if (got[k] !== v || v === 0 && k !== "statsd.bad_lines_seen") { console.error(`${k}: the server has ${got[k]}, the broker ${v}`); bad++; }
}
const gauges = fs.readFileSync(dir + "/gauges", "utf8");
if (!gauges.includes(name("clients_connected") + "'") || !gauges.includes("uptime_seconds")) { console.error("gauges are missing:\n" + gauges); bad++; }
if (bad) process.exit(1);
console.log(`tags: ${tags}: ${Object.keys(want).length} counters agree, no bad line`);
EOF

try() {
	local tags=$1 labels=$2
	cat >"$tmp/server.js" <<EOF
{ port: $port, mgmt_port: $admin, address: "127.0.0.1", mgmt_address: "127.0.0.1", backends: [], flushInterval: 3600000 }
EOF
	node "$tmp/node_modules/statsd/stats.js" "$tmp/server.js" >"$tmp/server.log" 2>&1 &
	server_pid=$!
	await 10 ask health || {
		cat "$tmp/server.log" >&2
		die "start the StatsD server: see above"
	}
	cat >"$tmp/edgebroker.yml" <<EOF
listeners: [{name: unix, type: unix, address: "$tmp/mqtt.sock"}]
control: {socket: "$tmp/control.sock"}
statsd: {address: "udp://localhost:$port", interval: 1s, prefix: eb, tags: $tags, labels: $labels}
EOF
	"$tmp/edgebroker" serve --config "$tmp/edgebroker.yml" >"$tmp/broker.log" 2>&1 &
	broker_pid=$!
	await 10 eb health --socket "$tmp/control.sock" || {
		cat "$tmp/broker.log" >&2
		die "start edgebroker: see above"
	}
	local at=unix:$tmp/mqtt.sock
	eb sub -a "$at" -q 1 --count 100 t >/dev/null &
	local sub=$!
	await 10 sh -c "'$tmp/edgebroker' stats --socket '$tmp/control.sock' -o json | tr -d ' \n' | grep -q '\"subscriptions\":{\"total\":1'" || die "nobody subscribes"
	for qos in 0 1 2; do
		eb pub -a "$at" -q "$qos" -n 50 t "message of QoS $qos"
		sleep 0.7 # so that it goes in several reports
		eb pub -a "$at" -q "$qos" -n 5 nobody x
	done
	wait "$sub"
	await 10 sh -c "'$tmp/edgebroker' stats --socket '$tmp/control.sock' -o json | tr -d ' \n' | grep -q '\"clientCount\":0'" || die "clients stay"
	eb stats --socket "$tmp/control.sock" -o json >"$tmp/stats.json"
	end "$broker_pid"
	broker_pid=
	ask counters >"$tmp/counters"
	ask gauges >"$tmp/gauges"
	end "$server_pid"
	server_pid=
	node "$tmp/compare.js" "$tmp" "$tags" || {
		cat "$tmp/broker.log" >&2
		die "tags: $tags: see above"
	}
}

try none '{}'
try graphite '{site: "plant 1"}'
