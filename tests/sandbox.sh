# sandbox -- for scripts that try to break out of a process that reads a peer's bytes: real.sh and what they need besides.  Sourced.
#
#	near ARGS...		dsyncfs-sync on $STORE; "${near[@]}" where its process is wanted; far for $FAR
#	same NAME		a check that both have the same
#	ended NAME PID		a check that a child of the script ends well
#	is_closed PID		the kernel says so
#	break_out PID DIRECTORY [mount | nothing]	a debugger has it make calls that it never makes; a mount changes modes and owners, and there may be nothing that it may use
#	unknown PID WORD...	no core of it has any of the words, nor what others can see of it
#
# $MD is a Maildir with mail that $STORE has, $TMP/outside and $TMP/dir are what a closed process must not reach.
# $TMP/held is a far side that says nothing before $TMP/go is there.
. "$(dirname "${BASH_SOURCE[0]}")/real.sh"
LANDLOCK=$(python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))')
FAR=$TMP/far-store MD=$TMP/Maildir
near=("$SYNC" -o "mail_location=dsyncfs:$STORE") far=("$SYNC" -o "mail_location=dsyncfs:$FAR")
near() { "${near[@]}" "$@"; }
# NAME PID: a child of this script ends well
ended() { wait "$2"; report $? "$1" "$(cat "$TMP/out")"; }
maildir_new "$MD"
mail "$MD" 1
mail "$MD" 2 S
near mirror "maildir:$MD" >/dev/null || echo "first mirror failed"
echo outside >"$TMP/outside"
mkdir "$TMP/dir"
same() { equal "$1" "$(dump "dsyncfs:$STORE")" "$(dump "dsyncfs:$FAR")"; }
cat >"$TMP/held" <<H
#!/bin/sh
while [ ! -e $TMP/go ]; do sleep 0.05; done
exec $SYNC -l 20 -o mail_location=dsyncfs:$FAR dsync-server
H
chmod +x "$TMP/held"

# ---- breaking out ----

# NAME | ERRNO of it | the call, and its type.  13 is EACCES, 1 EPERM, 0 success.
# Of a process without a program to end: not even a signal, where Landlock knows of them.
tries() {	# DIRECTORY: that the process may use; mount: it is one; nothing: it may not
	local d=$1 no=13 mode=1 own=0 path='int(*)(const char*,...)' o='int(*)(const char*,int,int)'
	# Without Landlock these are what the user may do.
	[ "$LANDLOCK" -ge 2 ] || no=0
	# A mount's modes and owners are for its store, but Landlock knows nothing of them.
	case ${2:-} in mount) mode=0 ;; nothing) own=$no ;; esac
	cat <<-T
		read a file of its own|$own|($o)open|"$d/$(cd "$d" && find . -type f ! -name socket | head -1)",0,0
		list its directory|$own|($o)open|"$d",65536,0
		read /etc/passwd|$no|($o)open|"/etc/passwd",0,0
		read another file of the user's|$no|($o)open|"$TMP/outside",0,0
		read it by .. from its directory|$no|($o)open|"$d/../outside",0,0
		read it by a link in its directory|$no|($o)open|"$d/link",0,0
		list a directory by a link in its own|$no|($o)open|"$d/dirlink",65536,0
		read its environment|$no|($o)open|"/proc/self/environ",0,0
		read its memory|$no|($o)open|"/proc/self/mem",2,0
		write outside|$no|($o)open|"$TMP/outside",1,0
		make a file outside|$no|($o)open|"$TMP/dir/made",65,384
		truncate outside|$no|(int(*)(const char*,long))truncate|"$TMP/outside",1
		make a directory outside|$no|(int(*)(const char*,int))mkdir|"$TMP/dir/made.d",448
		unlink outside|$no|(int(*)(const char*))unlink|"$TMP/dir/victim"
		make a link outside|$([ $mode = 0 ] && echo $no || echo 1)|(int(*)(const char*,const char*))symlink|"/etc","$TMP/dir/made.l"
		make a fifo outside|$([ $mode = 0 ] && echo $no || echo 1)|(int(*)(const char*,int,long))mknod|"$TMP/dir/made.f",4480,0
		a file for everybody|$mode|(int(*)(const char*,int))chmod|"$TMP/outside",511
		another owner|$mode|(int(*)(const char*,int,int))chown|"$TMP/outside",0,0
		an attribute|$mode|(int(*)(const char*,const char*,const char*,long,int))setxattr|"$TMP/outside","user.x","1",1,0
		a program|1|(int(*)(const char*,void*,void*))execve|"/bin/true",0,0
		a process|1|(int(*)(void))fork|
		trace its parent|1|(long(*)(long,long,long,long))ptrace|16,getppid(),0,0
		memory of its parent|1|(long(*)(int,void*,long,void*,long,long))process_vm_readv|getppid(),0,0,0,0,0
		a socket to the network|1|(int(*)(int,int,int))socket|2,1,0
		a socket to this machine|1|(int(*)(int,int,int))socket|1,1,0
		connect|1|(int(*)(int,void*,int))connect|0,0,0
		mount|1|(int(*)(const char*,const char*,const char*,long,void*))mount|"x","/","tmpfs",0,0
		unmount|1|(int(*)(const char*,int))umount2|"/nowhere",0
		another root|1|(int(*)(const char*))chroot|"/"
		a namespace|1|(int(*)(int))unshare|268435456
		another's namespace|1|(int(*)(int,int))setns|0,0
		a user|1|(int(*)(int))setuid|65534
		groups|1|(int(*)(long,void*))setgroups|0,0
		a file by its handle|1|(int(*)(int,void*,int))open_by_handle_at|0,0,0
		typing into its terminal|1|(int(*)(int,long,const char*))ioctl|0,21522,"x"
	T
	[ -z "${SILENT:-}" ] || [ "$LANDLOCK" -lt 6 ] || echo 'a signal to its parent|1|(int(*)(int,int))kill|getppid(),0'
}
# PID DIRECTORY [mount | nothing]: each of them; what happens otherwise than it should is said.  A mount does not try what the C library does
# in all threads of a process.
break_out() {
	local name want call args got errno bad=0 n=0
	rm -rf "${TMP:?}/dir"/*
	echo keep >"$TMP/dir/victim"
	echo outside >"$TMP/outside"
	ln -sfn "$TMP/outside" "$2/link"
	ln -sfn "$TMP/dir" "$2/dirlink"
	tries "$2" "${3:-}" | if [ "${3:-}" = mount ]; then grep -v '^a user|\|^groups|'; else cat; fi >"$TMP/tries"
	{
		printf 'set pagination off\npython\nfor t in gdb.selected_inferior().threads():\n if t.ptid[1] == %s: t.switch()\nend\n' "$1"
		echo 'set scheduler-locking on'
		while IFS='|' read -r name want call args; do
			args=${args//getppid()/((int(*)(void))getppid)()}
			[ "$call" = "${call#*)}" ] || call="(${call})"
			echo "set \$r = (long)($call)($args)"
			echo "printf \"TRY %ld %d\\n\", \$r, *((int*(*)(void))__errno_location)()"
		done <"$TMP/tries"
	} >"$TMP/tries.gdb"
	timeout 120 gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'set auto-load off' -p "$1" -x "$TMP/tries.gdb" >"$TMP/gdb.out" 2>&1
	grep '^TRY ' "$TMP/gdb.out" >"$TMP/got"
	[ "$(wc -l <"$TMP/got")" = "$(wc -l <"$TMP/tries")" ] || { echo "not all could be tried"; tail -5 "$TMP/gdb.out"; return 1; }
	while IFS='|' read -r name want call args && read -r _ got errno <&3; do
		n=$((n + 1))
		if [ "$want" = 0 ]; then [ "$got" -ge 0 ]; else [ "$got" = -1 ] && [ "$errno" = "$want" ]; fi ||
			{ echo "$name: $got, errno $errno, not $want"; bad=1; }
	done <"$TMP/tries" 3<"$TMP/got"
	[ "$(cat "$TMP/outside")" = outside ] && [ "$(ls "$TMP/dir")" = victim ] || { [ "$LANDLOCK" -lt 2 ] || { echo "it changed something"; bad=1; }; }
	rm -f "$2/link" "$2/dirlink"
	echo "$n tries"
	return $bad
}
field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
is_closed() { [ "$(field "$1" Seccomp)" = 2 ] && [ "$(field "$1" NoNewPrivs)" = 1 ]; }
no_core() { grep -q '^Max core file size  *0  *0 ' "/proc/$1/limits"; }
closed_child() { local p; for p in $(pgrep -P "$1"); do is_closed "$p" && { echo "$p" >"$TMP/child"; return; }; done; return 1; }


# PID WORD...
unknown() {
	local pid=$1 words=()
	shift
	for w in "$@"; do words+=(-e "$w"); done
	gcore -o "$TMP/core" "$pid" >"$TMP/gcore.out" 2>&1 || { cat "$TMP/gcore.out"; return 1; }
	! grep -qaF "${words[@]}" "$TMP/core.$pid" "/proc/$pid/cmdline" "/proc/$pid/environ"
}
