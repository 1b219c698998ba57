#!/usr/bin/env bash
# What scripts have in common that need more than Go. To be sourced; the caller has
# die, and a folder $tmp that it removes at its end.

have() { command -v "$1" >/dev/null 2>&1; }

# install_packages PACKAGE...: installs Debian's packages, as root; for anybody
# else it ends with what to do. No daemon starts because its package was installed.
install_packages() {
	[ $# -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ] || ! have apt-get; then
		die "missing packages; run: sudo apt-get install $*"
	fi
	echo "installing: $*" >&2
	local policy=/usr/sbin/policy-rc.d ours=
	if [ ! -e "$policy" ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	local apt=(timeout 600 apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0) status=0
	{ "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@"; } \
		>"${tmp:?}/apt.log" 2>&1 || status=$?
	[ -z "$ours" ] || rm -f "$policy"
	[ $status = 0 ] || {
		tail -n 20 "${tmp:?}/apt.log" >&2
		die "install $*: see above"
	}
}

# npm_fetch PACKAGE: puts a package of npm and what it needs into
# $tmp/node_modules: no lock file, no install scripts.
npm_fetch() {
	timeout 120 npm install --prefix "${tmp:?}" --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
		"$1" >"${tmp:?}/npm.log" 2>&1
}

# must_npm_fetch PACKAGE: the same, or the end.
must_npm_fetch() {
	npm_fetch "$1" || {
		tail -n 20 "${tmp:?}/npm.log" >&2
		die "npm install $1: see above"
	}
}
