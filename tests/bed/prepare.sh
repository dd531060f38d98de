# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by ./quickstart and ./check, which are in the root of the project: what must be there
# before Python can take over.  prepare_machine looks at the machine and installs what is missing.

PREPARE_DISK_MB=2048
POLICY=/usr/sbin/policy-rc.d
POLICY_SAVED=/usr/sbin/policy-rc.d.bypost-saved

prepare_missing=()

prepare_say() {
	printf '%s\n' "$*" >&2
}

# prepare_need TEXT: one more thing that is missing, with its remedy.
prepare_need() {
	prepare_missing+=("$*")
}

prepare_stop_if_missing() {
	[ ${#prepare_missing[@]} -eq 0 ] && return
	prepare_say "This machine cannot run $PREPARE_NAME yet:"
	local text
	for text in "${prepare_missing[@]}"; do
		prepare_say "  - $text"
	done
	exit 1
}

# Things no package can bring.
prepare_look() {
	[ "$(id -u)" = 0 ] || prepare_need "not root: network namespaces need it; run: sudo ./$PREPARE_NAME"
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		prepare_need "no apt-get: this script knows Debian 12 and its relatives; README.md names the packages"
	fi
	case "$(uname -m)" in
	x86_64 | aarch64) ;;
	*) prepare_need "a $(uname -m) CPU: DPDK is only tried on x86_64; use such a machine" ;;
	esac
	if [ "$(uname -m)" = x86_64 ] && ! grep -q -m1 -w sse4_2 /proc/cpuinfo; then
		prepare_need "the CPU has no SSE4.2, which DPDK needs; in a virtual machine choose CPU model \"host\""
	fi
	if [ ! -c /dev/net/tun ]; then
		prepare_need "no tun device: run: modprobe tun; in a container pass --device /dev/net/tun"
	elif [ "$(id -u)" = 0 ] && ! (exec 3<>/dev/net/tun) 2>/dev/null; then
		prepare_need "/dev/net/tun does not open: run: modprobe tun; in a container allow the device"
	fi
	local free
	free=$(df --output=avail -BM . | tail -n 1 | tr -dc 0-9)
	if [ "${free:-0}" -lt $PREPARE_DISK_MB ]; then
		prepare_need "only ${free:-0} MB free in $PWD: make room for $PREPARE_DISK_MB MB"
	fi
}

# Things a kernel or a container may forbid, once the tools are there.
prepare_look_kernel() {
	local ns="bypost-probe-$$"
	if ! ip netns add "$ns" 2>/dev/null; then
		prepare_need "network namespaces are refused (ip netns add): in a container run it with --privileged"
		return
	fi
	if ! ip -n "$ns" link add probe0 type veth peer name probe1 2>/dev/null; then
		prepare_need "no veth interfaces: run: modprobe veth"
	fi
	if ! ip netns exec "$ns" nft add table inet probe 2>/dev/null; then
		prepare_need "nftables does not work in this kernel: run: modprobe nf_tables"
	fi
	ip netns del "$ns"
}

prepare_packages() {
	local package who
	while read -r package who; do
		case "$package" in '' | '#'*) continue ;; esac
		if [ "$who" = quickstart ] || [ "$who" = "$PREPARE_NAME" ]; then
			printf '%s\n' "$package"
		fi
	done <tests/bed/packages
}

prepare_policy_restore() {
	if [ -e "$POLICY_SAVED" ] || [ -L "$POLICY_SAVED" ]; then
		mv -f "$POLICY_SAVED" "$POLICY"
	elif [ -f "$POLICY" ] && grep -q bypost-forbids-starts "$POLICY"; then
		rm -f "$POLICY"
	fi
}

# Until prepare_policy_restore no package may start a service (exit 101: action forbidden).
prepare_policy_forbid() {
	prepare_policy_restore
	trap prepare_policy_restore EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
		mv -f "$POLICY" "$POLICY_SAVED"
	fi
	printf '#!/bin/sh\n# bypost-forbids-starts\nexit 101\n' >"$POLICY"
	chmod 755 "$POLICY"
}

prepare_install() {
	local package missing=()
	for package in $(prepare_packages); do
		if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
			missing+=("$package")
		fi
	done
	[ ${#missing[@]} -eq 0 ] && return
	prepare_say "Installing ${#missing[@]} packages (no service will be started): ${missing[*]}"
	local log=/tmp/bypost-apt-$$.log status=0
	prepare_policy_forbid
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q update && apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null || status=$?
	prepare_policy_restore
	trap - EXIT INT TERM HUP
	if [ $status -ne 0 ]; then
		tail -n 15 "$log" >&2
		prepare_say "apt-get failed ($log). Without a network: install the packages above by hand."
		exit 1
	fi
	rm -f "$log"
}

# prepare_machine NAME: NAME is quickstart or check.
prepare_machine() {
	PREPARE_NAME=$1
	prepare_look
	prepare_stop_if_missing
	prepare_install
	prepare_look_kernel
	prepare_stop_if_missing
}

# prepare_python MODULE ARG...: the logic proper, which replaces this shell.
prepare_python() {
	export PYTHONPATH="$PWD/tests" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
	unset PYTHONHOME PYTHONSTARTUP
	exec /usr/bin/python3 -m "$@"
}
