#!/usr/bin/env bash
# Emulated machines for scripts that boot some: a Debian for arm64, armhf or amd64
# with its own kernel, on a disk that outlives power cuts. To be sourced after fetch.bash, by root.
#
# What takes minutes to make is kept in EDGEBROKER_LAB_CACHE, by default
# /var/cache/edgebroker-lab.

machine_cache=${EDGEBROKER_LAB_CACHE:-/var/cache/edgebroker-lab}

# machine_need ARCH...: what all of this takes, installed if it is not there.
machine_need() {
	local arch pair missing=() pairs=(mmdebstrap=mmdebstrap eatmydata=eatmydata depmod=kmod cpio=cpio mke2fs=e2fsprogs)
	for arch; do
		case $arch in
		amd64) pairs+=(qemu-system-x86_64=qemu-system-x86) ;;
		*) pairs+=(qemu-system-aarch64=qemu-system-arm qemu-aarch64-static=qemu-user-static arch-test=arch-test) ;;
		esac
	done
	for pair in "${pairs[@]}"; do
		command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
	done
	[ "$(id -u)" = 0 ] || die "machines can be made by root only"
	install_packages "${missing[@]}"
	mkdir -p "$machine_cache"
}

# machine_mirror: where this machine gets its packages from.
machine_mirror() {
	{ cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null || true; } |
		grep -v '^ *#' | grep -oE '[a-z+]+://[^ ]+' | head -n 1
}

# machine_foreign ARCH: lets programs for ARCH run here, for the scripts of its
# packages.
machine_foreign() {
	local name=qemu-aarch64 formats=/proc/sys/fs/binfmt_misc
	[ "$1" != "$(dpkg --print-architecture)" ] || return 0
	[ "$1" = arm64 ] || name=qemu-arm
	[ -e $formats/register ] || mount -t binfmt_misc binfmt_misc $formats
	[ -e $formats/$name ] || cat "/usr/lib/binfmt.d/$name.conf" >$formats/register
	arch-test "$1" >/dev/null || die "programs for $1 do not run here, not even in qemu's user mode"
}

# machine_base ARCH: the kernel of a machine, and its root without edgebroker.
machine_base() {
	local arch=$1 image=linux-image-$1 mirror
	[ "$arch" != armhf ] || image=linux-image-armmp
	mirror=$(machine_mirror)
	# Unpacked only: its scripts would take an hour as foreign code.
	[ -d "$machine_cache/kernel-$arch" ] || {
		rm -rf "$machine_cache/kernel-$arch.new"
		mmdebstrap --quiet --arch="$arch" --variant=extract --include="$image" bookworm "$machine_cache/kernel-$arch.new" "$mirror"
		mv "$machine_cache/kernel-$arch.new" "$machine_cache/kernel-$arch"
	}
	[ -d "$machine_cache/machine-$arch" ] || {
		machine_foreign "$arch"
		rm -rf "$machine_cache/machine-$arch.new"
		eatmydata mmdebstrap --quiet --mode=root --arch="$arch" --variant=minbase \
			--include=systemd,systemd-sysv,dbus,libpam-systemd,udev,kmod,iproute2 \
			bookworm "$machine_cache/machine-$arch.new" "$mirror"
		mv "$machine_cache/machine-$arch.new" "$machine_cache/machine-$arch"
	}
}

# machine_boot_files ARCH DIR: DIR/kernel and DIR/initrd.
machine_boot_files() {
	local arch=$1 dir=$2 kernel=$machine_cache/kernel-$1 version module arm=
	version=$(ls "$kernel/lib/modules")
	cp "$kernel/boot/vmlinuz-$version" "$dir/kernel"
	depmod -b "$kernel" "$version"
	mkdir -p "$dir/init/modules"
	for module in virtio_pci virtio_blk virtio_net ext4 sch_prio sch_netem cls_u32; do
		modprobe -d "$kernel" -S "$version" --show-depends $module | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' | while IFS= read -r module; do
		cp "$module" "$dir/init/modules"
		basename "$module"
	done >"$dir/order"
	mv "$dir/order" "$dir/init/modules/order"
	[ "$arch" != armhf ] || arch=arm arm=7
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOARM=$arm go build -ldflags='-s -w' -o "$dir/init/init" ./internal/lab/vminit
	(cd "$dir/init" && find . | cpio --quiet -o -H newc) >"$dir/initrd"
}

# machine_disk ARCH DIR PREPARE...: DIR/disk, after the function PREPARE has been
# called with the folder that goes on it.
machine_disk() {
	local arch=$1 dir=$2 root=$2/root
	shift 2
	cp -a "$machine_cache/machine-$arch" "$root"
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
	echo gateway >"$root/etc/hostname"
	# The network that qemu makes, and nobody who wants to log in.
	printf '[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >"$root/etc/systemd/network/10-gateway.network"
	local wants=$root/etc/systemd/system/multi-user.target.wants
	mkdir -p "$wants"
	ln -sf /lib/systemd/system/systemd-networkd.service "$wants/systemd-networkd.service"
	ln -sf /dev/null "$root/etc/systemd/system/getty@tty1.service"
	ln -sf /dev/null "$root/etc/systemd/system/serial-getty@.service"
	ln -sf /dev/null "$root/etc/systemd/system/systemd-timesyncd.service"
	"$@" "$root"
	mke2fs -q -F -t ext4 -d "$root" "$dir/disk" 2G
	rm -rf "$root"
}

# machine_console ARCH: the device that is its console.
machine_console() {
	case $1 in
	amd64) echo ttyS0 ;;
	*) echo ttyAMA0 ;;
	esac
}

# machine_port: one of the loopback's that nobody has.
machine_port() {
	local port
	for ((port = 20000 + RANDOM % 20000; port < 65000; port++)); do
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}

# machine_command ARCH DIR PORT MEMORY: the words of the command that boots it, one a
# line; port 1883 inside is PORT of this machine's loopback.
machine_command() {
	local arch=$1 dir=$2 port=$3 memory=$4
	local machine
	case $arch in
	arm64) machine=(qemu-system-aarch64 -M "virt,gic-version=3" -cpu cortex-a53) ;;
	armhf) machine=(qemu-system-arm -M "virt,highmem=off" -cpu cortex-a7) ;;
	amd64) machine=(qemu-system-x86_64 -M q35 -cpu max) ;;
	esac
	printf '%s\n' "${machine[@]}" -smp 2 -m "$memory" -nodefaults -nographic -no-reboot \
		-kernel "$dir/kernel" -initrd "$dir/initrd" -append "console=$(machine_console "$arch") panic=1 quiet" \
		-drive "file=$dir/disk,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0,romfile= \
		-netdev "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:$port-:1883" -device virtio-net-pci,netdev=n0,romfile= \
		-chardev "file,id=c0,path=$dir/console,append=on" -serial chardev:c0
}
