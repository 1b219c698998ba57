#!/bin/sh
# Installs a bare binary of edgebroker as a service, on a gateway with systemd,
# OpenRC or procd (OpenWrt), as root. Run it again to upgrade.
#
#   install.sh [BINARY]           BINARY: by default the one beside this script, or in dist/
#   install.sh --uninstall        stop it and remove it; configuration and state stay
#   install.sh --purge            remove those, too
#
#   --root DIR        into the root file system at DIR, of an image; nothing is started
#   --init NAME       systemd, openrc, procd or none, where it cannot be told
#   --no-start        do not start it, nor at boot
set -eu

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"; }
die() {
	echo "install.sh: error: $*" >&2
	exit 1
}

here=$(cd "$(dirname "$0")/.." && pwd)
[ -r "$here/packaging/steps.sh" ] || die "$here/packaging/steps.sh is missing; unpack all of the archive, and leave it together"
# shellcheck source=packaging/steps.sh
. "$here/packaging/steps.sh"

action=install init='' binary='' start=yes
while [ $# -gt 0 ]; do
	case $1 in
	--uninstall) action=uninstall ;;
	--purge) action=purge ;;
	--no-start) start=no ;;
	--root | --init)
		[ $# -gt 1 ] || die "$1 needs a value"
		if [ "$1" = --root ]; then eb_root=${2%/}; else init=$2; fi
		[ "$1" != --root ] || [ -d "$2" ] || die "there is no folder $2"
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
	*)
		[ -z "$binary" ] || die "one binary is enough"
		binary=$1
		;;
	esac
	shift
done
live() { [ -z "$eb_root" ]; }
if live && [ "$(id -u)" != 0 ]; then die "this needs root; try: sudo $0"; fi

# What starts services here.
if [ -z "$init" ]; then
	init=none
	if live && booted_systemd; then
		init=systemd
	elif [ -e "$eb_root/etc/rc.common" ]; then
		init=procd
	elif [ -x "$eb_root/sbin/openrc-run" ]; then
		init=openrc
	elif ! live && { [ -x "$eb_root/usr/lib/systemd/systemd" ] || [ -x "$eb_root/lib/systemd/systemd" ]; }; then
		init=systemd
	fi
fi
case $init in
systemd) service=$eb_root/etc/systemd/system/edgebroker.service ;;
openrc | procd) service=$eb_root/etc/init.d/edgebroker ;;
none) service= ;;
*) die "no files for '$init'; there are systemd, openrc, procd and none" ;;
esac

# put FROM TO MODE: a new file, and only when it is complete in the place of the old.
put() {
	mkdir -p "$(dirname "$2")"
	cp "$1" "$2.edgebroker-new"
	chmod "$3" "$2.edgebroker-new"
	mv "$2.edgebroker-new" "$2"
}

stop_service() {
	live || return 0
	case $init in
	systemd) systemctl disable --now edgebroker.service ;;
	openrc)
		rc-service --ifstarted edgebroker stop
		rc-update --quiet delete edgebroker
		;;
	procd)
		/etc/init.d/edgebroker stop
		/etc/init.d/edgebroker disable
		;;
	esac
}

if [ "$action" != install ]; then
	if [ -n "$service" ] && [ -e "$service" ]; then
		stop_service || say "could not stop the service; going on" >&2
		rm -f "$service" "$eb_root/usr/lib/edgebroker/254.conf"
		unfollow_systemd
		if live && [ "$init" = systemd ]; then systemctl daemon-reload; fi
	fi
	rm -f "$eb_root/usr/bin/edgebroker" "$eb_root/etc/conf.d/edgebroker" "$eb_root/lib/upgrade/keep.d/edgebroker" \
		"$eb_root/usr/lib/sysusers.d/edgebroker.conf" "$eb_root/usr/share/bash-completion/completions/edgebroker" \
		"$eb_root/usr/local/share/man/man5/edgebroker.yml.5" "$eb_root/usr/local/share/man/man1/edgebroker.1" \
		"$eb_root/usr/local/share/man/man1/edgebroker-"*.1
	forget_previous
	if [ "$action" = purge ]; then
		remove_all
		say "removed, with its configuration and state; the user edgebroker stays"
	else
		say "removed; /etc/edgebroker and /var/lib/edgebroker stay, --purge removes them"
	fi
	exit 0
fi

# Of whom the program is now.
for owner in "dpkg -S" "rpm -qf" "apk info -W" "opkg search"; do
	if live && command -v "${owner%% *}" >/dev/null 2>&1 && [ -e /usr/bin/edgebroker ]; then
		# shellcheck disable=SC2086
		if said=$($owner /usr/bin/edgebroker 2>/dev/null) && [ -n "$said" ]; then
			die "/usr/bin/edgebroker is of a package; upgrade or remove that"
		fi
	fi
done

if [ -z "$binary" ]; then
	binary=$here/edgebroker
	if [ ! -f "$binary" ]; then
		case $(uname -m) in
		armv6*) machine=armv6 ;;
		armv7* | armv8l) machine=armv7 ;;
		aarch64) machine=arm64 ;;
		x86_64) machine=amd64 ;;
		riscv64) machine=riscv64 ;;
		*) die "there is no binary for $(uname -m)" ;;
		esac
		binary=$here/dist/edgebroker-linux-$machine
	fi
fi
[ -f "$binary" ] || die "there is no $binary; name the binary, or make it with scripts/build.sh"
if live; then "$binary" version >/dev/null || die "$binary does not run here; is it for another kind of machine?"; fi

# The same program once more is nothing to go back to.
cmp -s "$binary" "$eb_root/usr/bin/edgebroker" || keep_previous
put "$binary" "$eb_root/usr/bin/edgebroker" 755
put "$here/packaging/edgebroker.sysusers" "$eb_root/usr/lib/sysusers.d/edgebroker.conf" 644
case $init in
systemd)
	put "$here/systemd/edgebroker.service" "$service" 644
	put "$here/systemd/254.conf" "$eb_root/usr/lib/edgebroker/254.conf" 644
	if live; then follow_systemd; fi
	;;
openrc)
	put "$here/packaging/openrc/edgebroker" "$service" 755
	[ -e "$eb_root/etc/conf.d/edgebroker" ] || put "$here/packaging/openrc/edgebroker.confd" "$eb_root/etc/conf.d/edgebroker" 644
	;;
procd)
	put "$here/packaging/procd/edgebroker" "$service" 755
	put "$here/packaging/procd/keep" "$eb_root/lib/upgrade/keep.d/edgebroker" 644
	;;
esac

if ! live; then
	say "installed into $eb_root; on each gateway, at its first boot, as root:"
	say "  the user edgebroker (systemd makes it by itself), chgrp edgebroker /etc/edgebroker, edgebroker init"
	exit 0
fi

if [ -d /usr/share/man ]; then edgebroker man /usr/local/share/man || true; fi
if [ -d /usr/share/bash-completion/completions ]; then
	edgebroker completion bash >/usr/share/bash-completion/completions/edgebroker || true
fi
make_user
prepare_config
first_config
if [ "$start" = no ]; then
	say "installed, not started"
	exit 0
fi
case $init in
systemd)
	systemctl daemon-reload
	systemctl enable --quiet edgebroker.service
	systemctl restart edgebroker.service
	;;
openrc)
	rc-update --quiet add edgebroker
	rc-service edgebroker restart
	;;
procd)
	/etc/init.d/edgebroker enable
	/etc/init.d/edgebroker restart
	;;
none)
	say "installed; nothing that starts services was found here. Run it as the user edgebroker:"
	say "  edgebroker serve --config /etc/edgebroker/edgebroker.yml --data /var/lib/edgebroker"
	exit 0
	;;
esac
say "installed and started; see: edgebroker stats"
