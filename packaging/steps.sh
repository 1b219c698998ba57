#!/bin/sh
# What the scripts of all packages, and scripts/install.sh, have in common.
# POSIX sh, since OpenWrt has no other; package.sh puts it into each of them.
# shellcheck shell=sh

# A folder in the place of /, for scripts/install.sh alone.
eb_root=

booted_systemd() { [ -d /run/systemd/system ]; }

say() { echo "edgebroker: $*"; }

# make_user: makes the user and the group edgebroker, with whatever there is here.
make_user() {
	if [ -d /run/systemd/system ] && ! getent -s files passwd edgebroker >/dev/null; then
		# A unit of before, with DynamicUser=yes, lends the name to a user that
		# goes with it; while that is there, no other can be made.
		case $(id -u edgebroker 2>/dev/null) in
		6[1-5][0-9][0-9][0-9]) systemctl stop edgebroker.service || true ;;
		esac
	fi
	id -u edgebroker >/dev/null 2>&1 && return 0
	if command -v systemd-sysusers >/dev/null 2>&1 && [ -e /usr/lib/sysusers.d/edgebroker.conf ]; then
		systemd-sysusers edgebroker.conf
	elif command -v useradd >/dev/null 2>&1; then
		getent group edgebroker >/dev/null || groupadd --system edgebroker
		useradd --system --gid edgebroker --no-create-home --home-dir /var/lib/edgebroker \
			--shell /usr/sbin/nologin --comment "edgebroker MQTT broker" edgebroker
	elif command -v adduser >/dev/null 2>&1; then # of busybox
		addgroup -S edgebroker 2>/dev/null || true # it may be there
		adduser -S -D -H -G edgebroker -h /var/lib/edgebroker -s /sbin/nologin -g "edgebroker MQTT broker" edgebroker
	elif [ -f /lib/functions.sh ]; then # of OpenWrt
		# shellcheck source=/dev/null
		. /lib/functions.sh
		mkdir -p /var/lock
		user_add edgebroker "" "$(group_add_next edgebroker)" "edgebroker MQTT broker" /var/lib/edgebroker /bin/false
	else
		say "no program here makes users; make the system user and group edgebroker" >&2
		return 1
	fi
}

# prepare_config: lets the group edgebroker read /etc/edgebroker, unless somebody
# has given that to somebody else.
prepare_config() {
	mkdir -p /etc/edgebroker
	# No stat(1) on every OpenWrt.
	# shellcheck disable=SC2012
	case $(ls -ldn /etc/edgebroker | awk '{ print $3 ":" $4 }') in
	0:0) chgrp edgebroker /etc/edgebroker && chmod 2750 /etc/edgebroker ;;
	esac
}

# first_config: makes certificates, an administrator and rules, if there are none.
# The administrator's password is shown to nobody: what a package says ends up
# in logs. For an image that many gateways get, EDGEBROKER_INIT=no leaves it to the
# first boot.
first_config() {
	for f in users rules pki; do
		[ ! -e "/etc/edgebroker/$f" ] || return 0
	done
	if [ "${EDGEBROKER_INIT-}" = no ]; then
		say "no certificates were made; run on each gateway: edgebroker init"
		return 0
	fi
	if said=$(edgebroker init 2>&1 >/dev/null); then
		say "made certificates and rules in /etc/edgebroker; TLS on port 8883, plain MQTT for this machine on 1883"
		say "give the administrator a password:  edgebroker users passwd admin"
		say "let a device in:                    edgebroker device add pump-7"
	elif [ "${said#*is there already}" != "$said" ]; then
		say "kept the configuration that is there"
	else
		say "could not make a first configuration: ${said#edgebroker: error: }" >&2
		say "mend that, and run: edgebroker init" >&2
	fi
}

# keep_previous: keeps the program that is about to be replaced, to go back to. A
# link costs no room; the new program comes as a new file.
keep_previous() {
	[ -x "$eb_root/usr/bin/edgebroker" ] || return 0
	if mkdir -p "$eb_root/usr/lib/edgebroker/previous" && rm -f "$eb_root/usr/lib/edgebroker/previous/edgebroker"; then
		ln "$eb_root/usr/bin/edgebroker" "$eb_root/usr/lib/edgebroker/previous/edgebroker" 2>/dev/null && return 0
		cp -p "$eb_root/usr/bin/edgebroker" "$eb_root/usr/lib/edgebroker/previous/edgebroker" && return 0
	fi
	forget_previous # a half copied one is none
	say "could not keep the previous program; there is no way back but the previous package" >&2
}

forget_previous() {
	rm -rf "$eb_root/usr/lib/edgebroker/previous"
	rmdir "$eb_root/usr/lib/edgebroker" 2>/dev/null || true
}

# follow_systemd: has a systemd that knows it follow what systemd/254.conf says; older
# ones complain about it.
follow_systemd() {
	known=$(systemctl --version 2>/dev/null | awk 'NR == 1 { print int($2) }')
	if [ "${known:-0}" -ge 254 ]; then
		mkdir -p "$eb_root/usr/lib/systemd/system/edgebroker.service.d"
		ln -sf ../../../edgebroker/254.conf "$eb_root/usr/lib/systemd/system/edgebroker.service.d/254.conf"
	else
		unfollow_systemd
	fi
}

unfollow_systemd() {
	rm -f "$eb_root/usr/lib/systemd/system/edgebroker.service.d/254.conf"
	rmdir "$eb_root/usr/lib/systemd/system/edgebroker.service.d" 2>/dev/null || true
}

# fits: whether the program that has come runs here and takes the configuration. The
# one that runs goes on if it does not: a restart would only find that out later.
fits() {
	if ! "$eb_root/usr/bin/edgebroker" version >/dev/null 2>&1; then
		say "the new program does not run here; the one before goes on until the next restart" >&2
		return 1
	fi
	if [ -e "$eb_root/etc/edgebroker/edgebroker.yml" ] && ! said=$("$eb_root/usr/bin/edgebroker" config check "$eb_root/etc/edgebroker/edgebroker.yml" 2>&1); then
		say "the new version does not take the configuration; the one before goes on until the next restart:" >&2
		echo "$said" >&2
		return 1
	fi
}

# remove_all: what is configured and stored, also by a unit with DynamicUser=yes.
# The user stays: files elsewhere may be its own.
remove_all() {
	rm -rf "$eb_root/etc/edgebroker" "$eb_root/var/lib/private/edgebroker" "$eb_root/var/lib/edgebroker" "$eb_root/run/edgebroker"
}
