# sshd -- throw-away ssh servers on loopback.  Sourced.
#
#	host_up NAME HOSTKEYS [LINE...]	a server of that name, with $K/host_KEY for each of HOSTKEYS and lines of sshd_config;
#					${port[NAME]}, its log in $TMP/sshd_NAME.log
#	free_port			a port that nobody has
#	answers PORT [ADDRESS]		does somebody?
#	kill_tree PID			a process and its children
#
# SSHD_ADDRESS (loopback) is where it listens, SSHD_IN a command that runs it somewhere else.
# $K has the keys, $TMP/authorized_keys who may log in.  All are gone at the end.
# With FLAVOUR=asan: what libssh2 itself leaks is known by whole stacks.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}fast_unwind_on_malloc=0 LSAN_OPTIONS=suppressions=$ROOT/tests/sanitize/lsan.supp:print_suppressions=0
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd	# a fixed name in sshd
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
answers() { (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1"); }
declare -A port
sshds=()
host_up() {	# NAME HOSTKEYS [LINE...]
	local name=$1 keys=$2 address=${SSHD_ADDRESS:-127.0.0.1} k
	port[$name]=$(free_port)
	{
		echo "ListenAddress $address:${port[$name]}"
		for k in $keys; do echo "HostKey $K/host_$k"; done
		cat <<-C
			PidFile none
			StrictModes no
			UsePAM no
			PasswordAuthentication no
			KbdInteractiveAuthentication no
			PermitRootLogin yes
			PrintMotd no
			MaxStartups 100
			LogLevel VERBOSE
		C
		shift 2
		printf '%s\n' "$@"
		echo "AuthorizedKeysFile $TMP/authorized_keys"
	} >"$TMP/sshd_$name"
	${SSHD_IN:-} "$(command -v sshd)" -D -e -f "$TMP/sshd_$name" 2>"$TMP/sshd_$name.log" &
	sshds+=($!)
	disown
	wait_for answers "${port[$name]}" "$address" || { cat "$TMP/sshd_$name.log"; exit 1; }
}
kill_tree() { local c; for c in $(pgrep -P "$1"); do kill_tree "$c"; done; kill -9 "$1" 2>/dev/null; }
hosts_down() { local p; for p in "${sshds[@]}"; do kill_tree "$p"; done; }
on_exit hosts_down
