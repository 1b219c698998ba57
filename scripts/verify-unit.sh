#!/usr/bin/env bash
# Checks systemd/edgebroker.service, and the examples beside it, as a gateway's
# systemd would read them, without booting one: every key known,
# everything they name present, and exposure no higher than it was. Works on systemd 252 (Debian 12) and later.
set -euo pipefail
cd "$(dirname "$0")/.."

# Highest exposure that "systemd-analyze security" may report, in tenths.
max_exposure=12

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{usr/bin,usr/lib/systemd,etc/systemd/system,etc/edgebroker}
printf '#!/bin/sh\n' >"$root/usr/bin/edgebroker"
chmod 755 "$root/usr/bin/edgebroker"
# The units that ours depends on (sysinit.target and the like) come from here.
for dir in /usr/lib/systemd/system /lib/systemd/system; do
	if [ -e "$dir/sysinit.target" ]; then
		cp -r "$dir" "$root/usr/lib/systemd/system"
		break
	fi
done
[ -e "$root/usr/lib/systemd/system/sysinit.target" ] || {
	echo "verify-unit.sh: error: no sysinit.target on this machine; install the systemd package" >&2
	exit 1
}

# verify FILE: whether systemd accepts FILE as edgebroker.service.
verify() {
	cp "$1" "$root/etc/systemd/system/edgebroker.service"
	# Without --recursive-errors=yes an unknown key passes.
	systemd-analyze verify --man=no --recursive-errors=yes --root="$root" edgebroker.service
}

# A check that cannot fail proves nothing: a misspelt key must be refused.
sed 's/^Restart=/Restrat=/' systemd/edgebroker.service >"$root/misspelt"
if verify "$root/misspelt" 2>/dev/null; then
	echo "verify-unit.sh: error: systemd-analyze accepts an unknown key; this check is blind here" >&2
	exit 1
fi

verify systemd/edgebroker.service
for example in edgebroker.socket edgebroker-init.service; do
	cp "systemd/$example" "$root/etc/systemd/system/$example"
	systemd-analyze verify --man=no --recursive-errors=yes --root="$root" "$example"
done
if ! report=$(systemd-analyze security --offline=true --root="$root" \
	--threshold=$max_exposure --no-pager edgebroker.service); then
	grep '✗' <<<"$report" || true
	tail -n 1 <<<"$report"
	echo "verify-unit.sh: error: exposure above $max_exposure tenths; the lines above say what is open" >&2
	exit 1
fi
tail -n 1 <<<"$report"
