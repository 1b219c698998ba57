#!/usr/bin/env bash
# Every check that a change must pass; CI runs this and nothing else.
#
#   scripts/check.sh             all steps, in two rows side by side, each in order
#                                and up to its first failure
#   scripts/check.sh STEP...     only these steps, one after the other
#   scripts/check.sh --list      the names of the steps
#
# The rows are side by side since much of what they do is to wait. What the second
# says stands below what the first says.
#
# It needs Go, the Go module proxy and some Debian packages. As root it installs
# the packages that are missing; otherwise it names them. What only widens the
# coverage (shellcheck, qemu, the vulnerability database) is left out with a
# line that says so when it cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

first=(tools gofmt shell tidy vet staticcheck test allocs instructions crashes documents)
second=(gateway cross unit package armv6 foreign govulncheck)
steps=("${first[@]}" "${second[@]}")

# What is built for every target of scripts/build.sh: GOARCH GOARM.
targets=("arm 6" "arm 7" "arm64 -" "amd64 -" "riscv64 -")

# Packages without sockets: their tests also run as ARMv6 code.
arm_packages=(wire relay events journal)

tmp=$(mktemp -d)
rc_policy=
cleanup() {
	rm -rf "$tmp"
	[ -z "$rc_policy" ] || rm -f "$rc_policy"
}
trap cleanup EXIT

die() {
	echo "check.sh: error: $*" >&2
	exit 1
}
skip() {
	echo "skipped: $*"
	echo "$*" >>"$tmp/skipped"
}
have() { command -v "$1" >/dev/null 2>&1; }

# Programs that a step cannot do without, and those it can: command=package.
required=(gcc=gcc mosquitto_pub=mosquitto-clients mosquitto=mosquitto node=nodejs systemd-analyze=systemd)
optional=(qemu-arm-static=qemu-user-static systemd-nspawn=systemd-container mmdebstrap=mmdebstrap eatmydata=eatmydata ip=iproute2 shellcheck=shellcheck lintian=lintian groff=groff-base mandoc=mandoc busybox=busybox-static valgrind=valgrind)

# missing ASSIGNMENT...: the packages whose command is not there.
missing() {
	local pair
	for pair; do have "${pair%%=*}" || echo "${pair#*=}"; done
}

install() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
		install -y --no-install-recommends "$@" >"$tmp/apt.log" 2>&1
}

step_tools() {
	have go || die "no go command; install Go 1.26 or later"
	go version
	local need want
	mapfile -t need < <(missing "${required[@]}")
	mapfile -t want < <(missing "${optional[@]}")
	[ $((${#need[@]} + ${#want[@]})) -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ] || ! have apt-get; then
		[ ${#need[@]} -eq 0 ] || die "missing packages; run: sudo apt-get install ${need[*]}"
		return 0 # the steps say what they leave out
	fi
	# No daemon shall start here because its package was installed.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		rc_policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >"$rc_policy"
		chmod 755 "$rc_policy"
	fi
	echo "installing: ${need[*]} ${want[*]}"
	apt-get -qq -o DPkg::Lock::Timeout=120 update >"$tmp/apt.log" 2>&1 || tail -n 3 "$tmp/apt.log"
	if [ ${#need[@]} -gt 0 ]; then
		install "${need[@]}" || {
			tail -n 20 "$tmp/apt.log"
			die "install ${need[*]}: see above"
		}
	fi
	local package
	for package in "${want[@]}"; do
		install "$package" || true # the steps say what they leave out
	done
}

step_gofmt() {
	local files
	files=$(gofmt -l .)
	[ -z "$files" ] || {
		echo "$files"
		die "not formatted; run: gofmt -w ."
	}
}

step_vet() { go vet ./...; }

step_staticcheck() { go tool staticcheck ./...; }

step_govulncheck() {
	local status=0
	timeout 300 go tool govulncheck ./... >"$tmp/vuln" 2>&1 || status=$?
	case $status in
	0) tail -n 1 "$tmp/vuln" ;;
	3)
		cat "$tmp/vuln"
		die "known vulnerabilities reach this code; update the modules above"
		;;
	*)
		# Only an unreachable database is excused; GOVULNDB may name a mirror.
		if [ $status = 124 ] || grep -q 'fetching vulnerabilities' "$tmp/vuln"; then
			skip "govulncheck: the vulnerability database cannot be reached ($(go env GOVULNDB | grep . || echo https://vuln.go.dev))"
		else
			cat "$tmp/vuln"
			die "govulncheck ended with status $status"
		fi
		;;
	esac
}

# All tests with the race detector: unit tests, the seeds of every fuzz target,
# and the end-to-end tests, which with EDGEBROKER_E2E=1 fail where they would
# otherwise skip for want of a program such as mosquitto_pub. What failed is
# printed last, since it may be all that is kept of the output.
#
# A test that fails is run once more. If it passes then, it is named as unsteady
# at the end, with what it said: that is a defect of the test, or a rare one
# of the product, and one to be found. Where a single failure is a
# counterexample to a promise, there is no second try: in the packages below,
# and at a data race or a panic.
strict_packages=(journal store relay wire events e2e)
step_test() {
	local status=0 report=$tmp/again failed=$tmp/failed strict
	EDGEBROKER_E2E=1 CGO_ENABLED=1 GOFLAGS=${GOFLAGS/-trimpath/} go tool gotestsum --format pkgname --format-icons text --format-hide-empty-pkg --no-color \
		--rerun-fails=1 --rerun-fails-max-failures=6 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race \
		--rerun-fails-report "$report" --packages ./... -- -race -p 4 -vet=off -count=1 -timeout 14m >"$tmp/test" 2>&1 || status=$?
	cat "$tmp/test"
	# The same test may be told of twice, once for each run.
	grep -aE '^=== FAIL: ' "$tmp/test" | sed -E 's/^=== FAIL: //; s/( \(re-run [0-9]+\))? \([0-9.]+s\)$//' | sort -u >"$failed" || true
	if [ $status != 0 ]; then
		sed 's/^/failed: /' "$failed"
		die "go test -race: see above"
	fi
	grep -aqE '^DONE [0-9]+' "$tmp/test" || die "no tests were run"
	[ -s "$report" ] || return 0
	strict=$(IFS='|' && echo "${strict_packages[*]}")
	if grep -aE "^($strict)(/| )" "$failed" >"$tmp/strict"; then
		sed 's/^/failed, though not when run again: /' "$tmp/strict"
		die "go test -race: see above; in these packages one failure counts"
	fi
	cat "$failed" >>"$tmp/unsteady"
}

# The race detector makes pools forget and takes memory of its own, so what guards
# allocations and memory is skipped above and runs here without it. A package that
# measures its whole process must not share the processor's time with others.
step_allocs() {
	go test -vet=off -count=1 -run 'Alloc' ./wire ./relay ./listen ./events
	go test -vet=off -count=1 ./e2e/footprint
}

# What a message takes, counted in instructions, which a busy machine does not change.
step_instructions() {
	have valgrind || {
		skip "instructions of a message: valgrind is not installed"
		return 0
	}
	scripts/instructions.sh --limits
}

# Lives on simulated disks that end in power cuts, and damage to what is stored,
# prove what they prove without the race detector, too, and are ten times as fast
# then. It sees some of them above; scripts/crash.sh runs as many as one likes.
step_crashes() {
	CRASH_SEEDS=0-100 go test -vet=off -count=1 -run '^Test(Crash|Crashes|FailingDisks|Damage.*|EveryBitMatters)$' ./journal ./store
}

# What documents show is run with the binary as it is shipped: with the race detector
# that would take ten times as long.
step_documents() {
	go test -vet=off -count=1 -run '^Test(GettingStarted|README|Handbook|Answers|BeginnersErrors)$' ./cmd/edgebroker
}

# All packages compile for each target, tools and tests' helpers included; of the
# programs only the one that is shipped is linked.
step_cross() {
	local arch arm target
	for target in "${targets[@]}"; do
		read -r arch arm <<<"$target"
		[ "$arm" != - ] || arm=
		echo "linux/$arch${arm:+ GOARM=$arm}"
		GOOS=linux GOARCH=$arch GOARM=$arm go list -export ./... >/dev/null
		GOOS=linux GOARCH=$arch GOARM=$arm go build -o /dev/null ./cmd/edgebroker
	done
}

step_unit() { scripts/verify-unit.sh; }

# The package that most gateways get, twice, with the same bytes, and what Debian has to
# say about it: all of its files but the binary are in the others, one of which the
# step gateway installs.
step_package() {
	local out=$tmp/package.log
	# The checkout may be another user's, which git must be told is meant.
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD \
		scripts/package.sh --verify --format deb armv6 >"$out" 2>&1 || {
		tail -n 30 "$out"
		die "scripts/package.sh --verify: see above"
	}
	tail -n 1 "$out"
	if have lintian; then
		lintian --allow-root --fail-on error,warning "dist/$(sed -n 's/.*  \(.*_armhf\.deb\)$/\1/p' dist/SHA256SUMS)"
	else
		skip "lintian: not installed"
	fi
}

step_shell() {
	local files
	mapfile -t files < <(grep -rlE --exclude-dir=.git --exclude-dir=dist '^#!.*\b(ba)?sh\b' . | while IFS= read -r f; do
		if head -n 1 "$f" | grep -qE '^#!.*\b(ba)?sh\b'; then echo "$f"; fi
	done)
	[ ${#files[@]} -gt 0 ] || die "found no shell scripts, not even this one"
	local f
	for f in "${files[@]}"; do bash -n "$f"; done
	if have shellcheck; then shellcheck "${files[@]}"; else skip "shellcheck: not installed"; fi
}

step_tidy() { go mod tidy -diff || die "go.mod or go.sum is not tidy; run: go mod tidy"; }

# 64-bit atomics that are not aligned, and int that holds 32 bits, show only
# here. The processor must be named: qemu's default has instructions that an
# ARMv6 gateway has not.
step_armv6() {
	have qemu-arm-static || {
		skip "tests as ARMv6 code: qemu-user-static is not installed"
		return 0
	}
	GOOS=linux GOARCH=arm GOARM=6 go test -vet=off -short -count=1 -timeout 9m \
		-exec "qemu-arm-static -cpu arm1176" "${arm_packages[@]/#/./}"
}

# The binaries for other processors, under real clients and kills.
step_foreign() {
	have qemu-arm-static || {
		skip "foreign binaries under real clients: qemu-user-static is not installed"
		return 0
	}
	scripts/foreign.sh
}

# The package and the unit, on a Debian with systemd.
step_gateway() {
	[ "$(id -u)" = 0 ] || {
		skip "gateways in containers: only root can boot them"
		return 0
	}
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD scripts/gateway.sh
}

case ${1-} in
--list)
	printf '%s\n' "${steps[@]}"
	exit 0
	;;
-*)
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
	;;
esac
for name; do
	[[ " ${steps[*]} " == *" $name "* ]] || die "no step '$name'; the steps are: ${steps[*]}"
done
[ $# -eq 0 ] || steps=("$@") first=("$@") second=()

# Daemons lie in sbin, which is not on everybody's PATH.
PATH=$PATH:/usr/sbin:/usr/local/go/bin
# Go must not ask git about a checkout that another user owns, nor build against a
# workspace around this one. Everything but the race detector is built like the
# binaries that are shipped, so that each package is compiled once per target.
GOFLAGS="$(go env GOFLAGS 2>/dev/null) -buildvcs=false -trimpath"
export GOFLAGS GOWORK=off CGO_ENABLED=0

# row NAME...: does these steps, up to the first that fails.
row() {
	local began
	for current; do
		echo "== $current"
		began=$SECONDS
		"step_$current"
		echo "-- $current: $((SECONDS - began)) s"
	done
	current=""
}
current=""
failed() {
	[ -z "$current" ] || echo "FAILED: $current after ${SECONDS} s" | tee -a "$tmp/failures" >&2
}

# beside NAME...: a row in a group of processes of its own, the last of $groups.
# It is no part of a condition, in which a step that fails would go on. There is
# nothing to read: a group that asked the terminal would be stopped for good.
beside() {
	set -m
	(
		set +m
		trap failed EXIT
		row "$@"
	) </dev/null &
	set +m
	groups+=($!)
}
groups=()
stop() {
	local group
	for group in "${groups[@]}"; do
		kill -- "-$group" 2>/dev/null || continue
		wait "$group" || true
	done
}

SECONDS=0
touch "$tmp/failures" "$tmp/skipped" "$tmp/unsteady"
trap 'failed; stop; cleanup' EXIT
trap 'exit 130' INT TERM
if [ "${first[0]}" = tools ]; then # the others need them
	row tools
	first=("${first[@]:1}")
fi
status=0
[ ${#first[@]} = 0 ] || beside "${first[@]}"
if [ ${#second[@]} -gt 0 ]; then
	beside "${second[@]}" >"$tmp/second" 2>&1
	wait "${groups[0]}" || status=1
	wait "${groups[1]}" || status=1
	cat "$tmp/second"
	cat "$tmp/failures" >&2 # again, since the end may be all that is kept of the output
elif [ ${#groups[@]} -gt 0 ]; then
	wait "${groups[0]}" || status=1
fi
groups=()
[ $status = 0 ] || exit 1
echo "passed: ${steps[*]}; ${SECONDS} s"
sed 's/^/left out: /' "$tmp/skipped"
sed 's/^/unsteady, failed once and then passed; find out why: /' "$tmp/unsteady"
