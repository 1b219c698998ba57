#!/usr/bin/env bash
# Builds the release binaries: static, stripped, and the same bytes from the
# same source on any machine with the same Go.
#
#   scripts/build.sh                     build every target into dist/
#   scripts/build.sh armv6 amd64         these alone
#   scripts/build.sh --verify [...]      then build again elsewhere and compare
#
# VERSION overrides the version that "git describe" gives.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# name GOARCH GOARM
targets=(
	"armv6   arm     6"
	"armv7   arm     7"
	"arm64   arm64   -"
	"amd64   amd64   -"
	"riscv64 riscv64 -"
)

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }
die() {
	echo "build.sh: error: $*" >&2
	exit 1
}

verify=no chosen=()
for arg; do
	case $arg in
	--verify) verify=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		target=$(printf '%s\n' "${targets[@]}" | grep -E "^$arg +") || {
			usage >&2
			exit 2
		}
		chosen+=("$target")
		;;
	esac
done
[ ${#chosen[@]} = 0 ] || targets=("${chosen[@]}")

if [ -z "${VERSION-}" ]; then
	VERSION=$(git describe --tags --always --dirty 2>/dev/null) ||
		die "not a git checkout, so the version is unknown; set VERSION"
fi
case $VERSION in *[!A-Za-z0-9.+~-]*) die "VERSION '$VERSION' holds characters outside A-Za-z0-9.+~-" ;; esac

# build SRC OUT: every target from the tree at SRC into the folder OUT. What
# the environment could change in the result is fixed here.
build() {
	local src=$1 out=$2 name arch arm
	mkdir -p "$out"
	for target in "${targets[@]}"; do
		read -r name arch arm <<<"$target"
		[ "$arm" = - ] && arm=
		(
			cd "$src"
			env -u GOEXPERIMENT GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0 GOOS=linux \
				GOARCH="$arch" GOARM="$arm" GOAMD64=v1 GOARM64=v8.0 GORISCV64=rva20u64 \
				go build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
				-ldflags "-s -w -buildid= -X main.version=$VERSION" \
				-o "$out/edgebroker-linux-$name" ./cmd/edgebroker
		)
		# The linker ignores -X for a variable that does not exist.
		grep -aqF -- "$VERSION" "$out/edgebroker-linux-$name" ||
			die "edgebroker-linux-$name does not hold its version; is there a main.version string?"
	done
}

table() {
	printf '%-28s %12s %8s  %s\n' binary bytes MiB sha256
	local f size
	for target in "${targets[@]}"; do
		f=edgebroker-linux-${target%% *}
		size=$(wc -c <"$1/$f")
		printf '%-28s %12d %8s  %s\n' "$f" "$size" \
			"$((size / 1048576)).$((size % 1048576 * 10 / 1048576))" "$(sha256sum <"$1/$f" | cut -d' ' -f1)"
	done
}

echo "edgebroker $VERSION, $(go env GOVERSION)"
build "$root" "$root/dist"
table "$root/dist"
[ $verify = yes ] || exit 0

# A second build shares nothing with the first but the source and the modules:
# another path, another build cache.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/src"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	[ ! -e "$f" ] || printf '%s\0' "$f"
done | tar --null -T - -cf - | tar -xf - -C "$tmp/src"
GOCACHE=$tmp/cache build "$tmp/src" "$tmp/dist"
same=yes
for target in "${targets[@]}"; do
	f=edgebroker-linux-${target%% *}
	cmp "dist/$f" "$tmp/dist/$f" || same=no
done
[ $same = yes ] || die "the two builds differ; something of the machine got into a binary"
echo "reproducible: a second build at another path, without cache, gave the same bytes"
