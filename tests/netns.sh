# netns -- two hosts on this machine, with a link between them that can be cut.  Sourced before real.sh: the script runs once more in a
# network and a mount namespace of its own (as a plain user in a user namespace too), so that nothing is left behind.
#
#	hosts_up		the other host, b, and the link
#	in_b COMMAND...		runs there
#	ssh_up [LINE...]	an sshd over there, with lines of sshd_config; here ssh knows the host b.  Needs sshd.sh
#	far_program NAME WORD...	what is called NAME over there: the words, and then its first argument.  When $TMP/hold is
#				there it is held as net_hold.py says
#	link_down, link_up	as a cable that is out: both ends see it
#	b_down, b_up		the same, from the other end
#	silence, sound		what is sent goes nowhere, and nobody is told
#	far_gone, far_back	b drops its answers
#
# $TMP/far.pids has the processes that have served over there, the last one last.
if [ -z "${NETNS_INSIDE:-}" ]; then
	export NETNS_INSIDE=1
	as=()
	[ "$(id -u)" = 0 ] || as=(--user --map-current-user --keep-caps)
	PATH=$PATH:/usr/sbin:/sbin exec unshare "${as[@]}" --net --mount -- bash "$0" "$@"
fi

A_IP=10.77.0.1 B_IP=10.77.0.2
hosts_up() {
	needs ip nsenter unshare ssh ssh-keygen sshd python3
	mkdir -p "$TMP/path" "$TMP/ours" "$TMP/keys"
	PATH=$TMP/path:$PATH
	if [ "$(id -u)" != 0 ]; then
		# It is root's by its mode, which means nothing in this namespace; what is mounted here is ours.
		cat >"$TMP/path/fusermount3" <<-'P'
			#!/usr/bin/python3
			import ctypes, os, sys
			libc = ctypes.CDLL(None, use_errno=True)
			if libc.umount2(sys.argv[-1].encode(), 2 if "z" in sys.argv[1] else 0) != 0:
			    sys.exit("fusermount3: " + os.strerror(ctypes.get_errno()))
		P
		chmod 755 "$TMP/path/fusermount3"
	fi
	unshare --net sleep infinity &
	B_PID=$!
	background+=("$B_PID")
	disown
	within 20 b_is_apart || exit 1
	ip link add va type veth peer name vb netns "$B_PID" &&
		ip address add $A_IP/24 dev va && in_b ip address add $B_IP/24 dev vb &&
		ip link set lo up && in_b ip link set lo up && ip link set va up && in_b ip link set vb up ||
		{ echo "FAIL: no network namespaces here"; exit 1; }
	A_MAC=$(cat_mac ip va) B_MAC=$(cat_mac "in_b ip" vb)
	sound
	# What runs over there may be stopped.
	on_exit 'kill -CONT $(cat "$TMP/far.pids" 2>/dev/null) 2>/dev/null'
}
b_is_apart() { [ "$(readlink "/proc/$B_PID/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
in_b() { nsenter --net="/proc/$B_PID/ns/net" "$@"; }
cat_mac() { $1 -o link show dev "$2" | sed 's|.* link/ether \([0-9a-f:]*\).*|\1|'; }

link_down() { ip link set va down; }
link_up() { ip link set va up && sound; }
b_down() { in_b ip link set vb down; }
b_up() { in_b ip link set vb up && sound; }
# Who is where is fixed, so that frames for nobody are what a dead host is: silent.
neighbours() { ip neigh replace $B_IP lladdr "$1" dev va nud permanent && in_b ip neigh replace $A_IP lladdr "$2" dev vb nud permanent; }
silence() { neighbours 02:00:00:00:00:99 02:00:00:00:00:98; }
sound() { neighbours "$B_MAC" "$A_MAC"; }
far_gone() { in_b ip route add blackhole $A_IP/32; }
far_back() { in_b ip route del blackhole $A_IP/32; }
all_well() { far_back 2>/dev/null; in_b ip link set vb up; ip link set va up; sound; }

ssh_up() {
	local me
	me=$(id -un)
	K=$TMP/keys
	chmod 755 "$TMP"
	ssh-keygen -q -t ed25519 -N '' -f "$K/host_ed25519"
	ssh-keygen -q -t ed25519 -N '' -f "$K/id_ed25519"
	cp "$K/id_ed25519.pub" "$TMP/authorized_keys"
	: >"$TMP/far.pids"
	cat >"$TMP/path/ssh" <<-C
		#!/bin/sh
		exec $(command -v ssh) -F $TMP/ssh_config "\$@"
	C
	chmod 755 "$TMP/path/ssh"
	SSHD_IN="nsenter --net=/proc/$B_PID/ns/net" SSHD_ADDRESS=$B_IP host_up b ed25519 "SetEnv PATH=$TMP/ours:/usr/bin:/bin" "$@"
	echo "[$B_IP]:${port[b]} $(cut -d' ' -f1,2 "$K/host_ed25519.pub")" >"$TMP/known_hosts"
	cat >"$TMP/ssh_config" <<-C
		Host b
		HostName $B_IP
		Port ${port[b]}
		Host *
		User $me
		IdentitiesOnly yes
		IdentityFile $K/id_ed25519
		UserKnownHostsFile $TMP/known_hosts
		GlobalKnownHostsFile none
	C
}
far_program() {	# NAME WORD...
	cat >"$TMP/ours/$1" <<-C
		#!/bin/sh
		echo \$\$ >>$TMP/far.pids
		set --$(printf " %q" "${@:2}") "\$1"
		[ ! -e $TMP/hold ] || exec python3 $ROOT/tests/interop/net_hold.py $TMP/hold $TMP/far.pids "\$@"
		exec "\$@"
	C
	chmod 755 "$TMP/ours/$1"
}
