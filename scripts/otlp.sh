#!/usr/bin/env bash
# Proves that OpenTelemetry's own collector understands what edgebroker reports,
# and that Prometheus calls it as edgebroker does: the receiver of the collector
# takes the reports, Prometheus' own translator makes names of them, and what comes
# out is, sample by sample, what the broker answers to a scrape.
#
#   scripts/otlp.sh
#
# It needs Go and the Go module proxy, since it builds that receiver. It is not a
# step of check.sh, which must pass without and has a collector of its own in the
# tests; run it after a change to what is reported. It takes about a minute, the
# first time longer.
set -euo pipefail
cd "$(dirname "$0")/.."

collector=v0.165.0
translator=v1.0.0

die() {
	echo "otlp.sh: error: $*" >&2
	exit 1
}
case ${1-} in
"") ;;
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 0
	;;
*)
	echo "otlp.sh: error: unknown argument $1; try --help" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
broker_pid=
collector_pid=
# end PID: ends a process that we have started, and waits for it.
end() {
	[ -n "$1" ] || return 0
	kill -INT "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}
cleanup() {
	end "$broker_pid"
	end "$collector_pid"
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null 2>&1 || die "no go command; install Go 1.26 or later"

# The receiver, and behind it what writes the last report to a file as Prometheus
# would show it.
mkdir "$tmp/collector"
cat >"$tmp/collector/main.go" <<'END'
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/otel/metric/noop"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

// build names m as Prometheus does, whether it escapes names or not.
func build(m pmetric.Metric, kind otlptranslator.MetricType) string {
	var names []string
	for _, strategy := range []otlptranslator.TranslationStrategyOption{otlptranslator.UnderscoreEscapingWithSuffixes, otlptranslator.NoUTF8EscapingWithSuffixes} {
		namer := otlptranslator.NewMetricNamer("", strategy)
		name, err := namer.Build(otlptranslator.Metric{Name: m.Name(), Unit: m.Unit(), Type: kind})
		if err != nil {
			log.Fatal(err)
		}
		names = append(names, name)
	}
	if names[0] != names[1] {
		log.Fatalf("%s is %s or %s", m.Name(), names[0], names[1])
	}
	return names[0]
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func sample(name string, labels pcommon.Map, le string, v float64) string {
	var parts []string
	for k, value := range labels.All() {
		parts = append(parts, k+"="+strconv.Quote(value.AsString()))
	}
	if le != "" {
		parts = append(parts, "le="+strconv.Quote(le))
	}
	sort.Strings(parts)
	if len(parts) > 0 {
		name += "{" + strings.Join(parts, ",") + "}"
	}
	return name + " " + number(v)
}

func samples(m pmetric.Metric) (out []string) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			out = append(out, sample(build(m, otlptranslator.MetricTypeGauge), p.Attributes(), "", p.DoubleValue()))
		}
	case pmetric.MetricTypeSum:
		if !m.Sum().IsMonotonic() || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
			log.Fatal(m.Name())
		}
		for _, p := range m.Sum().DataPoints().All() {
			out = append(out, sample(build(m, otlptranslator.MetricTypeMonotonicCounter), p.Attributes(), "", p.DoubleValue()))
		}
	case pmetric.MetricTypeHistogram:
		name := build(m, otlptranslator.MetricTypeHistogram)
		for _, p := range m.Histogram().DataPoints().All() {
			var seen uint64
			for i, n := range p.BucketCounts().All() {
				le := "+Inf"
				if seen += n; i < p.ExplicitBounds().Len() {
					le = number(p.ExplicitBounds().At(i))
				}
				out = append(out, sample(name+"_bucket", p.Attributes(), le, float64(seen)))
			}
			out = append(out, sample(name+"_sum", p.Attributes(), "", p.Sum()), sample(name+"_count", p.Attributes(), "", float64(p.Count())))
		}
	default:
		log.Fatalf("%s is a %s", m.Name(), m.Type())
	}
	return out
}

// write puts a report into the file, whole or not at all.
func write(md pmetric.Metrics, file string) error {
	var lines []string
	for _, rm := range md.ResourceMetrics().All() {
		for _, key := range []string{"service.name", "service.version", "service.instance.id", "host.name", "site"} {
			if v, ok := rm.Resource().Attributes().Get(key); !ok || v.AsString() == "" {
				return fmt.Errorf("no %s", key)
			}
		}
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				lines = append(lines, samples(m)...)
			}
		}
	}
	sort.Strings(lines)
	if err := os.WriteFile(file+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// refuses shows that the receiver at address does not take everything.
func refuses(address string) {
	resp, err := http.Post("http://"+address+"/v1/metrics", "application/x-protobuf", bytes.NewReader([]byte("no report")))
	must(err)
	if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		log.Fatalf("the receiver answers %s to nonsense", resp.Status)
	}
}

func main() {
	address, file := os.Args[1], os.Args[2]
	f := otlpreceiver.NewFactory()
	cfg := f.CreateDefaultConfig()
	must(confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": address}}}).Unmarshal(cfg))
	next, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error { return write(md, file) })
	must(err)
	r, err := f.CreateMetrics(context.Background(), receiver.Settings{ID: component.NewID(f.Type()), TelemetrySettings: component.TelemetrySettings{
		Logger: zap.NewNop(), MeterProvider: noop.NewMeterProvider(), TracerProvider: nooptrace.NewTracerProvider()}}, cfg, next)
	must(err)
	must(r.Start(context.Background(), host{}))
	refuses(address)
	must(os.WriteFile(file+".ready", nil, 0o600))
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end
	_ = r.Shutdown(context.Background())
}
END
(
	cd "$tmp/collector"
	go mod init collector
	timeout 600 go get "go.opentelemetry.io/collector/receiver/otlpreceiver@$collector" "github.com/prometheus/otlptranslator@$translator"
	timeout 600 go get .
	CGO_ENABLED=0 timeout 600 go build -o ../receiver .
) >"$tmp/build.log" 2>&1 || {
	tail -n 20 "$tmp/build.log" >&2
	die "build the receiver of the collector: see above"
}
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

# The receiver takes a port of our choice only, so a few are tried.
for ((i = 0; i < 5; i++)); do
	port=$((20000 + RANDOM % 10000))
	"$tmp/receiver" "127.0.0.1:$port" "$tmp/report" >"$tmp/receiver.log" 2>&1 &
	collector_pid=$!
	await 10 sh -c "[ -e '$tmp/report.ready' ] || ! kill -0 $collector_pid" && [ -e "$tmp/report.ready" ] && break
	end "$collector_pid"
	collector_pid=
done
[ -n "$collector_pid" ] || {
	cat "$tmp/receiver.log" >&2
	die "start the receiver: see above"
}

cat >"$tmp/edgebroker.yml" <<END
listeners: [{name: unix, type: unix, address: "$tmp/mqtt.sock"}]
control: {socket: "$tmp/control.sock"}
storage: {directory: "$tmp/data"}
otlp: {endpoint: "http://127.0.0.1:$port", interval: 1s, attributes: {site: plant-1}}
END
"$tmp/edgebroker" serve --config "$tmp/edgebroker.yml" >"$tmp/broker.log" 2>&1 &
broker_pid=$!
await 10 eb health --socket "$tmp/control.sock" || {
	cat "$tmp/broker.log" >&2
	die "start edgebroker: see above"
}
at=unix:$tmp/mqtt.sock
eb sub -a "$at" -q 1 --count 100 t >/dev/null &
sub=$!
scrape() { eb stats --socket "$tmp/control.sock" -o prom | grep '^edgebroker_' | LC_ALL=C sort; }
await 10 sh -c "'$tmp/edgebroker' stats --socket '$tmp/control.sock' -o prom | grep -qx 'edgebroker_subscriptions 1'" || die "nobody subscribes"
for qos in 0 1 2; do
	eb pub -a "$at" -q "$qos" -n 50 t "message of QoS $qos"
	eb pub -a "$at" -q "$qos" -n 5 nobody x
done
wait "$sub"
await 10 sh -c "'$tmp/edgebroker' stats --socket '$tmp/control.sock' -o prom | grep -qx 'edgebroker_clients_connected 0'" || die "clients stay"

# What changes by itself: these names must agree, the values cannot.
restless='^edgebroker_(uptime_seconds|memory_used_bytes|memory_used_maximum_bytes|otlp_reports_total|process_block_written_bytes_total|journal_.*)([{ ]|$)'
agree() {
	scrape >"$tmp/scraped"
	cp "$tmp/report" "$tmp/reported"
	for f in scraped reported; do
		sed 's/ [^ ]*$//' "$tmp/$f" | LC_ALL=C sort >"$tmp/$f.names"
		grep -Ev "$restless" "$tmp/$f" | LC_ALL=C sort >"$tmp/$f.values"
	done
	diff "$tmp/scraped.names" "$tmp/reported.names" >"$tmp/diff" && diff "$tmp/scraped.values" "$tmp/reported.values" >>"$tmp/diff"
}
await 10 agree || {
	cat "$tmp/diff" "$tmp/broker.log" >&2
	die "Prometheus scrapes something else (<) than OpenTelemetry is told (>): see above"
}
grep -q '^edgebroker_publish_received_total{qos="1"} 55$' "$tmp/reported" || die "the reports do not say what was published"
if grep -q 'level=WARN' "$tmp/broker.log"; then
	cat "$tmp/broker.log" >&2
	die "the broker warns: see above"
fi
echo "the collector's receiver $collector takes the reports: $(wc -l <"$tmp/reported.names") samples have the names that Prometheus scrapes, $(wc -l <"$tmp/reported.values") of them that stand still the same values"
