#!/usr/bin/env bash
# Makes packages of the release binaries, in dist/: .deb, .rpm, .apk, .ipk and .tar.gz
# with what they bring (man pages, completions, unit, licences), an SBOM for each
# binary, and SHA256SUMS. The same source gives the same bytes.
#
#   scripts/package.sh                    for every machine
#   scripts/package.sh armv6 amd64        for these: names as in scripts/build.sh
#   scripts/package.sh --verify [...]     then once more, elsewhere, and compare
#   scripts/package.sh --format deb [...] this kind alone; may be given more than once
#
# VERSION overrides the version that "git describe" gives, SOURCE_DATE_EPOCH the time
# of the last commit, which is that of all files. nfpm, which writes the packages,
# comes from the Go module proxy.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# Pinned: another version may lay the same files out in other bytes.
nfpm_version=v2.45.2

# name: GOARCH, and what .deb, .rpm, .apk and .ipk call the machine. A - means that
# there is no such package: ARMv7 machines with Debian or Fedora run the one for
# ARMv6, since both are armhf to Debian.
machines=(
	"armv6   arm6    armhf   armv6hl armhf   arm_arm1176jzf-s_vfp"
	"armv7   arm7    -       -       armv7   arm_cortex-a7_neon-vfpv4"
	"arm64   arm64   arm64   aarch64 aarch64 aarch64_generic"
	"amd64   amd64   amd64   x86_64  x86_64  x86_64"
	"riscv64 riscv64 riscv64 riscv64 riscv64 riscv64_generic"
)

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }
die() {
	echo "package.sh: error: $*" >&2
	exit 1
}

verify=no formats=() names=()
while [ $# -gt 0 ]; do
	case $1 in
	--verify) verify=yes ;;
	--format)
		case ${2-} in deb | rpm | apk | ipk | tar) formats+=("$2") ;; *) die "--format takes deb, rpm, apk, ipk or tar" ;; esac
		shift
		;;
	-h | --help)
		usage
		exit 0
		;;
	-*)
		usage >&2
		exit 2
		;;
	*) names+=("$1") ;;
	esac
	shift
done
[ ${#formats[@]} -gt 0 ] || formats=(deb rpm apk ipk tar)
if [ ${#names[@]} = 0 ]; then
	for machine in "${machines[@]}"; do names+=("${machine%% *}"); done
fi
for name in "${names[@]}"; do
	printf '%s\n' "${machines[@]}" | grep -q "^$name " || die "no machine '$name'; see the table in this script"
done

if [ -z "${VERSION-}" ]; then
	VERSION=$(git describe --tags --always --dirty 2>/dev/null) || die "not a git checkout, so the version is unknown; set VERSION"
fi
if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || die "not a git checkout, so its time is unknown; set SOURCE_DATE_EPOCH"
fi
export VERSION SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C

# package_version: VERSION as packages order it: v1.2.0-rc1 is 1.2.0~rc1, and what comes
# three commits after v1.2.0 is 1.2.0+3.gabcdef. Without a tag it is 0.0.0 and the commit.
package_version() {
	local v=${1#v}
	case $v in
	[0-9]*.[0-9]*) ;;
	*)
		echo "0.0.0+g${v//-/.}"
		return
		;;
	esac
	sed -E 's/-([0-9]+)-g([0-9a-f]+)/+\1.g\2/; s/-dirty$/+dirty/; s/-/~/; s/-/./g; s/\+(.*)\+/+\1./' <<<"$v"
}
# apk has digits, then suffixes of its own: 1.2.0_rc1, 1.2.0_p3.
apk_version() {
	sed -E 's/~(alpha|beta|pre|rc)\.?([0-9]*).*/_\1\2/; s/\+([0-9]+)\..*/_p\1/; s/[+~].*//' <<<"$1"
}
version=$(package_version "$VERSION")

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

nfpm=${XDG_CACHE_HOME:-${HOME:-$tmp}/.cache}/edgebroker/nfpm-$nfpm_version/nfpm
if [ ! -x "$nfpm" ]; then
	echo "fetching nfpm $nfpm_version" >&2
	env -u GOFLAGS -u GOOS -u GOARCH -u GOARM GOBIN="$(dirname "$nfpm")" timeout 600 go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@$nfpm_version" \
		>"$tmp/nfpm.log" 2>&1 || {
		tail -n 20 "$tmp/nfpm.log" >&2
		die "install nfpm: see above"
	}
fi

# What goes into documents: those for operators, not those for who changes the code.
documents=(ACL ANSWERS API BRIDGES DASHBOARD DURABILITY EVENTS FLEET GETTING-STARTED HANDBOOK INSTALL MEMORY MONITORING NATS NATS-EVENTS REFERENCE RELOAD SECURITY SIZING TLS TOP TRACE UPGRADE)

# stage SRC DIR: what is the same on all machines, into DIR, from the tree SRC.
stage() {
	local src=$1 dir=$2 doc d
	doc=$dir/documents/usr/share/doc/edgebroker
	mkdir -p "$doc"/{docs,examples,systemd} "$dir/documents/usr/share"/{man,bash-completion/completions,fish/vendor_completions.d} "$dir/scripts"
	(cd "$src" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-X main.version=$VERSION" \
		-o "$tmp/here" ./cmd/edgebroker && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$tmp/sbom" ./internal/sbom)
	"$tmp/here" man "$dir/documents/usr/share/man"
	find "$dir/documents/usr/share/man" -type f -exec gzip -9n {} +
	"$tmp/here" completion bash >"$dir/documents/usr/share/bash-completion/completions/edgebroker"
	"$tmp/here" completion fish >"$dir/documents/usr/share/fish/vendor_completions.d/edgebroker.fish"
	"$tmp/here" completion zsh >"$dir/_edgebroker"
	"$tmp/here" config example >"$doc/examples/edgebroker.yml"
	for d in "${documents[@]}"; do cp "$src/docs/$d".md "$doc/docs/"; done
	cp "$src/README".md "$doc/"
	cp -r "$src/docs/prometheus" "$src/docs/grafana" "$doc/examples/"
	cp "$src/systemd/README".md "$src/systemd/edgebroker.socket" "$src/systemd/edgebroker-init.service" "$doc/systemd/"
	gzip -9n <"$src/CHANGELOG".md >"$doc/CHANGELOG".md.gz
	printf 'edgebroker (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n -- edgebroker maintainers <edgebroker@users.noreply.github.com>  %s\n' \
		"$version" "$(date -uR -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
	local script
	for script in "$src"/packaging/{deb,rpm,apk,ipk}/*; do
		d=$dir/scripts/${script#"$src"/packaging/}
		mkdir -p "$(dirname "$d")"
		# The steps in the place of the line that asks for them.
		sed -e "/^# shellcheck source=packaging.steps.sh\$/d" -e "/^\. \.\/steps\.sh\$/{r $src/packaging/steps.sh
			d}" "$script" >"$d"
	done
}

# dated DIR: gives all in it one time and modes that no umask has changed.
dated() {
	find "$1" -type d -exec chmod 755 {} +
	find "$1" -type f ! -perm -u+x -exec chmod 644 {} +
	find "$1" -type f -perm -u+x -exec chmod 755 {} +
	find "$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
}

# package SRC BINARIES OUT: the packages of the tree at SRC, in OUT.
package() {
	local src=$1 binaries=$2 out=$3 stage="$tmp/stage" name goarch deb rpm apk ipk format arch v release file
	rm -rf "$stage"
	stage "$src" "$stage"
	mkdir -p "$out"
	for name in "${names[@]}"; do
		read -r _ goarch deb rpm apk ipk <<<"$(printf '%s\n' "${machines[@]}" | grep "^$name ")"
		cp "$binaries/edgebroker-linux-$name" "$stage/edgebroker"
		chmod 755 "$stage/edgebroker"
		(cd "$src" && "$tmp/sbom" -binary "$stage/edgebroker" -version "$VERSION" -epoch "$SOURCE_DATE_EPOCH" -out "$stage/sbom")
		cp "$stage/sbom/sbom.cdx.json" "$out/edgebroker-linux-$name.cdx.json"
		made+=("edgebroker-linux-$name" "edgebroker-linux-$name.cdx.json")
		cp "$stage/sbom"/{sbom.cdx.json,copyright,licences.txt} "$stage/documents/usr/share/doc/edgebroker/"
		dated "$stage"
		for format in "${formats[@]}"; do
			v=$version release=
			case $format in
			deb) arch=$deb file=edgebroker_${version}_$deb.deb ;;
			rpm) arch=$rpm release=1 file=edgebroker-$version-1.$rpm.rpm ;;
			apk) arch=$apk release=0 v=$(apk_version "$version") file=edgebroker-$v-r0.$apk.apk ;;
			ipk) arch=$ipk file=edgebroker_${version}_$ipk.ipk ;;
			tar) arch=$name file=edgebroker-$version-linux-$name.tar.gz ;;
			esac
			[ "$arch" != - ] || continue
			made+=("$file")
			if [ "$format" = tar ]; then
				tarball "$src" "$stage" "$out/$file"
				continue
			fi
			sed -e "s|@STAGE@|$stage|g; s|@SCRIPTS@|$stage/scripts|g; s|@VERSION@|$v|g; s|@RELEASE@|$release|g; s|@GOARCH@|$goarch|g" \
				-e "s|@MTIME@|$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)|g" \
				-e "s|@DEB@|$deb|g; s|@RPM@|$rpm|g; s|@APK@|$apk|g; s|@IPK@|$ipk|g" "$src/packaging/nfpm.yaml" >"$tmp/nfpm.yaml"
			if [ "$format" = apk ]; then # its descriptions have one line
				awk '/^description:/ { print; getline; print; skip = 1; next } /^$/ { skip = 0 } !skip' "$tmp/nfpm.yaml" >"$tmp/apk.yaml"
				mv "$tmp/apk.yaml" "$tmp/nfpm.yaml"
			fi
			(cd "$src" && "$nfpm" package --config "$tmp/nfpm.yaml" --packager "$format" --target "$out/$file" >"$tmp/nfpm.log" 2>&1) || {
				cat "$tmp/nfpm.log" >&2
				die "nfpm could not make $file"
			}
		done
	done
}

# tarball SRC STAGE FILE: the bare binary with scripts/install.sh and what that needs.
tarball() {
	local dir=$tmp/edgebroker-$version
	rm -rf "$dir"
	mkdir -p "$dir/scripts" "$dir/systemd" "$dir/packaging"
	cp "$2/edgebroker" "$dir/edgebroker"
	cp "$1/scripts/install.sh" "$dir/scripts/"
	cp "$1/systemd/edgebroker.service" "$1/systemd/254.conf" "$1/systemd/edgebroker.socket" "$1/systemd/README".md "$dir/systemd/"
	cp -r "$1/packaging/steps.sh" "$1/packaging/openrc" "$1/packaging/procd" "$1/packaging/edgebroker.sysusers" "$dir/packaging/"
	cp "$1/docs/INSTALL".md "$1/LICENSE" "$2/sbom"/{sbom.cdx.json,copyright,licences.txt} "$dir/"
	dated "$dir"
	tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C "$tmp" -cf - "edgebroker-$version" | gzip -9n >"$3"
}

sums() { (cd "$1" && printf '%s\n' "${made[@]}" | sort -u | xargs sha256sum >SHA256SUMS); }

made=()
scripts/build.sh "${names[@]}" >/dev/null
package "$root" "$root/dist" "$root/dist"
sums dist
(cd dist && cut -c67- SHA256SUMS | xargs -r ls -l | awk '{ printf "%10d  %s\n", $5, $9 }')
[ $verify = yes ] || exit 0

# Once more, of a copy at another path, with another umask.
mkdir "$tmp/src"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	[ ! -e "$f" ] || printf '%s\0' "$f"
done | tar --null -T - -cf - | tar -xf - -C "$tmp/src"
umask 077
"$tmp/src/scripts/build.sh" "${names[@]}" >/dev/null
package "$tmp/src" "$tmp/src/dist" "$tmp/again"
cp "$tmp/src"/dist/edgebroker-linux-* "$tmp/again/"
sums "$tmp/again"
cmp dist/SHA256SUMS "$tmp/again/SHA256SUMS" || {
	diff dist/SHA256SUMS "$tmp/again/SHA256SUMS" >&2 || true
	die "the two builds differ; something of the machine got into them"
}
echo "reproducible: built again elsewhere, every file has the same bytes"
