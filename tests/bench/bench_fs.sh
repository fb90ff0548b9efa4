#!/bin/bash
# bench_fs -- what the mount costs beside a plain Maildir on the same disk, with the same mail in both: reading, changing, mail
# programs, space, memory, opening folders of several sizes; and what libfuse's passthrough example and bindfs cost there.
#
#	bench_fs.sh [BIN]		BIN: the build's directory
#
# BENCH_SHORT=1: small sizes, to see that it runs.  These change sizes and choice:
#	BENCH_FS_MESSAGES (50000)	in one cur		BENCH_FS_CHANGES (1000)	of a kind in a round
#	BENCH_FS_TOOLS (3000)		for notmuch and mu	BENCH_FS_SIZES (5000 50000)	of folders that are opened
#	BENCH_FS_OTHERS (10000)		beside other file systems
#	BENCH_ROUNDS (5)		of calls		BENCH_TOOL_ROUNDS (3)		of programs
#	BENCH_FS_PARTS (store read cold change pinned tools index open others)	what is measured
#	BENCH_LARGE=1			a folder of 500,000 is opened too
#
# Both take turns in each round, every other round the other way round; a ratio is the median of the rounds' ratios, times are
# medians.  What a row should reach is beside it, (in brackets) what the method of fs/DESIGN.md reached where the two processes
# run on any CPU.  Cold is after `sync` and drop_caches, which need root: no pages, inodes or names are in memory, but the mount
# runs on with its index in its own memory.  Pinned is with the client and all of the mount on one CPU.
# Nothing is removed before the last delivery into the directory: ext4 makes new files slowly where many have just been removed.
# Nothing fails by time; a program that fails, or mail that is not the same in both at the end, does.
. "$(dirname "$0")/lib.sh"
DRIVER=$BIN/tests/bench/bench_fs
needs "$DRIVER" taskset notmuch mu mlist mscan grep tar neomutt
unset -f script		# lib.sh's, which is in the way of script(1)
needs script

messages=${BENCH_FS_MESSAGES:-50000} changes=${BENCH_FS_CHANGES:-1000} indexed=${BENCH_FS_TOOLS:-3000}
beside=${BENCH_FS_OTHERS:-10000} sizes=${BENCH_FS_SIZES:-5000 50000} rounds=${BENCH_ROUNDS:-5} tool_rounds=${BENCH_TOOL_ROUNDS:-3}
[ -z "${BENCH_LARGE:-}" ] || sizes="$sizes 500000"
[ -z "${BENCH_SHORT:-}" ] || { messages=300 changes=20 indexed=50 beside=100 sizes="100 300" rounds=1 tool_rounds=1; }
parts=" ${BENCH_FS_PARTS:-store read cold change pinned tools index open others} "
wanted() { case $parts in *" $1 "*) ;; *) return 1 ;; esac; }

PLAIN=$TMP/plain
ROWS=$TMP/rows
REQUESTS=$TMP/requests
: >"$ROWS" >"$REQUESTS"
cpus=$(taskset -cp $$ | sed 's/.*: //')
cpu=${cpus##*[,-]}
can_drop=1
{ [ "$(id -u)" = 0 ] && echo 1 >/proc/sys/vm/drop_caches; } 2>/dev/null || can_drop=

dir_of() { case $1 in plain) echo "$PLAIN" ;; mount) echo "$MNT" ;; *) echo "$TMP/$1" ;; esac; }
drop() { sync; sleep 0.2; echo 3 >/proc/sys/vm/drop_caches; }
cold_or_say() { [ -n "$can_drop" ] || { echo "$1: not measured cold, which needs root"; return 1; }; }
row() { printf '%s\t%s\n' "$1" "$2" >>"$ROWS"; }	# NAME TARGET

# ---- the mount's processes ----

pids_of_mount() { pgrep -f "^$MOUNT .*dsyncfs:$1 "; }
# The helper is the child of the one that is the mount.
daemon_of() {
	local p all
	all=$(pids_of_mount "$1" | tr '\n' ' ')
	for p in $all; do
		case " $all" in *" $(ps -o ppid= -p "$p" | tr -d ' ') "*) ;; *) echo "$p"; return ;; esac
	done
}
# Another mount namespace that was made meanwhile may have a copy of the mount, so unmounting need not end it.
end_mount() {	# STORE
	must kill "$(daemon_of "$1")"
	must within 15 store_is_free "$1"
}
pin_mount() {	# CPUS
	local p
	for p in $(pids_of_mount "$STORE"); do must taskset -acp "$1" "$p"; done
}
memory_of() {	# STORE
	awk '/^VmRSS|^RssAnon/ { printf "%s %.1f MB  ", $1, $2 / 1024 }' "/proc/$(daemon_of "$1")/status"
}

# Requests that the kernel has sent, where status counts them; looking costs some itself.
requests() { grep '^requests' "$MNT/.dsyncfs/status"; }
own_requests() { requests >"$TMP/own1"; requests >"$TMP/own2"; }
count_requests() {	# ROW OPERATIONS: since $TMP/before
	[ -s "$TMP/before" ] || return 0
	requests >"$TMP/after"
	awk -v row="$1" -v n="$2" -v OFS='\t' '
		FILENAME ~ /own1$/ { own[$1] -= $2; next }
		FILENAME ~ /own2$/ { own[$1] += $2; next }
		FILENAME ~ /before$/ { was[$1] = $2; next }
		{ d = $2 - was[$1] - own[$1]; if (d > 0 && d / n >= 0.001) print row, n, substr($1, 10), d }' \
		"$TMP/own1" "$TMP/own2" "$TMP/before" "$TMP/after" >>"$REQUESTS"
}

# ---- measuring ----

# The driver and programs leave seconds, and how often it was done, in $TMP/out.
driver() { must "$DRIVER" time "$@"; }
program() {	# COMMAND: given to bash
	rm -f "$TMP/one"
	must "$TOOL" run "$TMP/one" x bash -o pipefail -c "$1"
	awk '{ print $3, 1 }' "$TMP/one" >"$TMP/out"
}
# SIDE ROW driver|program ARGS...
cost() {
	local side=$1 row=$2
	shift 2
	[ "$side" != mount ] || requests >"$TMP/before"
	"$@"
	printf '%s\t%s\t%s\n' "$row" "$side" "$(tail -1 "$TMP/out" | tr ' ' '\t')" >>"$COSTS"
	[ "$side" != mount ] || count_requests "$row" "$(tail -1 "$TMP/out" | cut -d' ' -f2)"
}
# ROUND SIDE...: the sides in this round's order
order() {
	local r=$1
	shift
	[ $((r % 2)) = 0 ] && echo "$*" || tac -s' ' <<<"$* " | tr '\n' ' '
}

report() {	# TITLE SIDE...: the rows so far; they are forgotten then
	local title=$1
	shift
	awk -F'\t' -v title="$title" -v list="$*" "$UNITS"'
	FILENAME ~ /rows$/ { rows[++n_rows] = $1; target[$1] = $2; next }
	{ k = $1 SUBSEP $2; cost[k, ++count[k]] = $3 / $4; if ($4 > 0) ops[$1] = $4 }
	function of(k,	i) {
		for (i = 1; i <= count[k]; i++)
			sorted[i] = cost[k, i]
		return median(sorted, count[k])
	}
	function ratio(a, b,	i) {
		for (i = 1; i <= count[a]; i++)
			sorted[i] = cost[b, i] > 0 ? cost[a, i] / cost[b, i] : 0
		return median(sorted, count[a])
	}
	function text(s) { return s < 1e-3 ? sprintf("%.1f us", s * 1e6) : time(s) }
	END {
		n = split(list, side, " ")
		printf "%s\n%-40s %7s", title, "", "target"
		for (i = 1; i <= n; i++)
			printf i == 1 ? " %10s" : " %10s   ratio", side[i]
		print ""
		for (r = 1; r <= n_rows; r++) {
			if (!((rows[r] SUBSEP side[1]) in count))
				continue
			printf "%-40s %7s", rows[r], target[rows[r]]
			each = rows[r] ~ /^each/ ? 1 : ops[rows[r]]
			printf " %10s", text(of(rows[r] SUBSEP side[1]) * each)
			for (i = 2; i <= n; i++) {
				k = rows[r] SUBSEP side[i]
				if (k in count)
					printf " %10s %7.2f", text(of(k) * each), ratio(k, rows[r] SUBSEP side[1])
				else
					printf " %10s %7s", "-", "-"
			}
			print ""
		}
	}' "$ROWS" "$COSTS"
	: >"$ROWS" >"$COSTS"
	[ -s "$REQUESTS" ] || return 0
	echo "requests of the mount, each operation:"
	awk -F'\t' '
	{ if (!($1 in at)) { at[$1] = ++n; row[n] = $1 }
	  if (!(($1, $3) in sum)) kinds[$1] = kinds[$1] " " $3
	  sum[$1, $3] += $4 / $2; seen[$1, $3]++ }
	END {
		for (i = 1; i <= n; i++) {
			printf "  %-38s", row[i]
			k = split(kinds[row[i]], kind, " ")
			for (j = 1; j <= k; j++)
				printf " %s %.3g", kind[j], sum[row[i], kind[j]] / seen[row[i], kind[j]]
			print ""
		}
	}' "$REQUESTS"
	: >"$REQUESTS"
}

# ---- reading ----

scans="list stat heads whole"
declare -A scan_name=([list]="readdir" [stat]="readdir + stat" [heads]="heads (open, fstat, read 4 KiB)" [whole]="whole messages")
declare -A warm_target=([list]=0.4 [stat]=0.85 [heads]=1.1 [whole]=1.15)
declare -A cold_target=([list]=- [stat]=0.5 [heads]=0.45 [whole]=0.55)

warm_one() {	# SIDE SCAN
	driver $2 "$(dir_of $1)"
	cost $1 "warm ${scan_name[$2]}" driver $2 "$(dir_of $1)"
}
cold_one() {
	drop
	cost $1 "cold ${scan_name[$2]}" driver $2 "$(dir_of $1)"
}
reading() {	# warm|cold SIDE...
	local how=$1 r scan side
	local -n target=${how}_target
	shift
	for scan in $scans; do
		row "$how ${scan_name[$scan]}" "${target[$scan]}"
		for ((r = 0; r < rounds; r++)); do
			for side in $(order $r "$@"); do ${how}_one $side $scan; done
		done
	done
}

# ---- changing ----

# A block is used by both sides, and only once.
block=0 to_unlink=
declare -A op_name=([deliver]="each delivery (rename)" [link]="each delivery (link, unlink)" [cur]="each new -> cur"
	[flag]="each flag change" [fsync]="each delivery, fsync of the file" [fsync2]="each delivery, fsync of file and new"
	[unlink]="each unlink")
declare -A pinned_target=([deliver]=2.2 [link]=2.5 [cur]=1.4 [flag]=1.4 [fsync]=0.8 [fsync2]=0.8)
declare -A free_target=([deliver]="(4.3)" [link]="(6.2)" [cur]="(3.12)" [flag]="(3.42)" [fsync]=0.8 [fsync2]=0.8 [unlink]=-)

# What passes through has the plain directory's names.
block_of() { case $1 in plain | mount) echo $2 ;; *) echo $(($2 + 1000)) ;; esac; }
change_row() {	# PIN ROUND OPERATION BLOCK COUNT SIDE...
	local pin=$1 r=$2 op=$3 b=$4 n=$5 side
	shift 5
	for side in $(order $r "$@"); do
		cost $side "${op_name[$op]}" driver $pin $op "$(dir_of $side)" $(block_of $side $b) $n
	done
}
changing() {	# PIN SIDE...
	local pin=$1 r op
	local -n target=$([ -n "$pin" ] && echo pinned || echo free)_target
	shift
	for op in deliver cur flag link fsync fsync2; do row "${op_name[$op]}" "${target[$op]}"; done
	for ((r = 0; r < rounds; r++)); do
		block=$((block + 1))
		for op in deliver cur flag; do change_row "$pin" $r $op $block $changes "$@"; done
		to_unlink="$to_unlink $block"
		for op in link fsync fsync2; do
			block=$((block + 1))
			change_row "$pin" $r $op $block $([ $op = link ] && echo $changes || echo $(((changes + 3) / 4))) "$@"
		done
	done
}
unlinking() {	# "BLOCK..." SIDE...
	local b r=0 blocks=$1
	shift
	row "${op_name[unlink]}" "${free_target[unlink]}"
	for b in $blocks; do
		change_row "" $r unlink $b $changes "$@"
		r=$((r + 1))
	done
	[ -z "$blocks" ] || report "removing:" "$@"
}

# ---- programs ----

neomutt_rc() {	# NAME FOLDER HEADER-CACHE: what opens the folder and leaves
	cat >"$TMP/$1.rc" <<-C
	set folder=$2 spoolfile=$2 mbox_type=Maildir record="" postponed="" mbox="" move=no confirmcreate=no
	set wait_key=no sleep_time=0 mail_check=60 beep=no sort=mailbox-order quit=yes mark_old=no use_threads=no
	set realname=Ann from=ann@example.org${3:+ header_cache=$3}
	C
	echo "TERM=xterm script -qefc \"neomutt -n -F $TMP/$1.rc -f $2 -e 'push <exit>'\" /dev/null </dev/null >/dev/null"
}
declare -A program=([grep]="grep -r" [tar]="tar to a pipe" [mscan]="mlist | mscan" [mutt]="neomutt, no header cache"
	[mutt-hcache]="neomutt, header cache")
command_of() {	# PROGRAM SIDE
	local d
	d=$(dir_of $2)
	case $1 in
	grep) echo "grep -r 'one line that is in no mail' $d/cur || [ \$? = 1 ]" ;;
	tar) echo "tar -C $d -cf - cur | cat >/dev/null" ;;
	mscan) echo "mlist $d/cur | MBLAZE=$TMP mscan >/dev/null" ;;
	mutt) neomutt_rc $2 "$d" "" ;;
	mutt-hcache) neomutt_rc $2-hcache "$d" "$TMP/hcache-$2" ;;
	esac
}
programs() {	# SIDE...
	local p r side
	for p in grep tar mscan mutt mutt-hcache; do
		row "warm ${program[$p]}" 1.05
		row "cold ${program[$p]}" 0.7
		for ((r = 0; r < tool_rounds; r++)); do
			for side in $(order $r "$@"); do
				[ $r != 0 ] || program "$(command_of $p $side)"
				program "$(command_of $p $side)"
				cost $side "warm ${program[$p]}" program "$(command_of $p $side)"
			done
			[ -n "$can_drop" ] || continue
			for side in $(order $r "$@"); do
				drop
				cost $side "cold ${program[$p]}" program "$(command_of $p $side)"
			done
		done
	done
}

notmuch_conf() {	# SIDE FOLDER DATABASE
	printf '[database]\nmail_root=%s\npath=%s\n[user]\nname=Ann\nprimary_email=ann@example.org\n' "$2" "$3" >"$TMP/notmuch-$1"
	printf '[new]\ntags=inbox\nignore=.dsyncfs;dovecot-keywords;subscriptions\n[maildir]\nsynchronize_flags=false\n' >>"$TMP/notmuch-$1"
}
index_one() {	# PROGRAM SIDE: from nothing, with everything in memory
	local d at=$TMP/db-$2
	d=$(dir_of $2)
	driver whole "$d"
	case $1 in
	"notmuch new")
		rm -rf "$at"
		mkdir "$at"
		notmuch_conf $2 "$d" "$at"
		cost $2 "$1" program "NOTMUCH_CONFIG=$TMP/notmuch-$2 notmuch new --quiet" ;;
	"notmuch new again")
		cost $2 "$1" program "NOTMUCH_CONFIG=$TMP/notmuch-$2 notmuch new --quiet" ;;
	"notmuch new, database in the mail")
		at=$d/.notmuch
		rm -rf "$at"
		notmuch_conf $2 "$d" "$d"
		cost $2 "$1" program "NOTMUCH_CONFIG=$TMP/notmuch-$2 notmuch new --quiet"
		rm -rf "$at" ;;
	"mu index")
		rm -rf "$at"
		must mu init --muhome="$at" --maildir="$d"
		cost $2 "$1" program "mu index --quiet --muhome=$at" ;;
	"mu index again")
		cost $2 "$1" program "mu index --quiet --muhome=$at" ;;
	esac
}
indexing() {
	local PLAIN=$TMP/index-plain STORE=$TMP/index-store MNT=$TMP/index-mount p r side
	filled $indexed
	must mount_store "$STORE" "$MNT"
	while read -r p; do
		row "$p" 1.0
		for ((r = 0; r < tool_rounds; r++)); do
			for side in $(order $r plain mount); do index_one "$p" $side </dev/null; done
		done
	done <<-L
	notmuch new
	notmuch new again
	notmuch new, database in the mail
	mu index
	mu index again
	L
	end_mount "$STORE"
	report "programs that index, $indexed messages:" plain mount
}

# ---- opening folders of several sizes ----

open_one() {	# SIZE [AGAIN]
	local s=$TMP/open$1 m=$TMP/open$1.mnt
	must mount_store "$s" "$m"
	[ -n "$2" ] || memory="fresh $(memory_of "$s")"
	driver stat "$m"
	echo "fresh $1 $(cat "$TMP/out")" >>"$COSTS"
	driver stat "$m"
	echo "warm $1 $(cat "$TMP/out")" >>"$COSTS"
	[ -n "$2" ] || memory="$memory| listed $(memory_of "$s")"
	driver heads "$m"
	[ -n "$2" ] || driver stat "$s.plain"
	driver stat "$s.plain"
	echo "plain $1 $(cat "$TMP/out")" >>"$COSTS"
	[ -n "$2" ] || echo "memory of the mount, $1 messages: $memory| heads read $(memory_of "$s")" >>"$TMP/memory"
	end_mount "$s"
}
opening() {
	local n r memory
	: >"$TMP/memory"
	for n in $sizes; do
		must "$TOOL" fill "dsyncfs:$TMP/open$n" $n 1
		must "$TOOL" fill "maildir:$TMP/open$n.plain" $n 1
	done
	for ((r = 0; r < rounds; r++)); do
		for n in $(order $r $sizes); do open_one $n "$([ $r = 0 ] || echo again)"; done
	done
	awk -v list="$sizes" "$UNITS"'
	{ k = $1 " " $2; cost[k, ++count[k]] = $3 / $4 }
	function of(k,	i) {
		for (i = 1; i <= count[k]; i++)
			sorted[i] = cost[k, i]
		return median(sorted, count[k])
	}
	function ratio(a, b,	i) {
		for (i = 1; i <= count[a]; i++)
			sorted[i] = cost[a, i] / cost[b, i]
		return median(sorted, count[a])
	}
	END {
		n = split(list, size, " ")
		print "opening a folder (readdir + stat), each message; ratio to the smallest, which should not be above 1:"
		for (i = 1; i <= n; i++)
			printf "%-24d fresh mount %6.2f us %5.2f   warm %6.2f us %5.2f   plain, warm %6.2f us %5.2f\n", size[i],
			    of("fresh " size[i]) * 1e6, ratio("fresh " size[i], "fresh " size[1]), of("warm " size[i]) * 1e6,
			    ratio("warm " size[i], "warm " size[1]), of("plain " size[i]) * 1e6, ratio("plain " size[i], "plain " size[1])
	}' "$COSTS"
	cat "$TMP/memory"
	: >"$COSTS"
}

# ---- other file systems that only pass through ----

PASS=$TMP/passthrough_ll
source_of_passthrough() {
	local s
	for s in /usr/share/doc/libfuse3-dev/examples/passthrough_ll.c; do
		[ ! -e "$s" ] || { echo "$s"; return; }
		[ ! -e "$s.gz" ] || { cp "${s%/*}"/passthrough_helpers.h* "$TMP"; gunzip -fc "$s.gz" >"$TMP/passthrough_ll.c"; \
			gunzip -f "$TMP"/passthrough_helpers.h.gz 2>/dev/null; echo "$TMP/passthrough_ll.c"; return; }
	done
	return 1
}
can_pass() {
	local src
	src=$(source_of_passthrough) || { echo "passthrough_ll: left out: libfuse3-dev's examples are not there"; return 1; }
	${CC:-cc} -O2 -w "$src" -o "$PASS" $(pkg-config --cflags --libs fuse3) -pthread >"$TMP/out" 2>&1 ||
		{ echo "passthrough_ll: left out: it does not build here: $(head -1 "$TMP/out")"; return 1; }
	# It holds a descriptor for each file that the kernel knows.
	local need=$((beside + tool_rounds * changes * 3 + 500))
	[ "$(ulimit -n)" -ge $need ] || ulimit -Sn $need 2>/dev/null ||
		{ echo "passthrough_ll: left out: it needs $need descriptors, and $(ulimit -Hn) are allowed"; return 1; }
}
mount_other() {	# passthrough|pass-always|bindfs
	mkdir -p "$TMP/$1"
	case $1 in
	passthrough) must "$PASS" -o "source=$PLAIN" "$TMP/$1" ;;
	pass-always) must "$PASS" -o "source=$PLAIN,cache=always" "$TMP/$1" ;;
	bindfs) must bindfs "$PLAIN" "$TMP/$1" ;;
	esac
	must mountpoint -q "$TMP/$1"
}
umount_other() { must within 5 fusermount3 -u "$TMP/$1"; }

other() {
	local o=$1 scan r side
	for ((r = 0; r < tool_rounds; r++)); do
		for scan in $scans; do
			for side in $(order $r plain $o); do
				[ $side = plain ] || mount_other $o
				warm_one $side $scan
				[ $side = plain ] || umount_other $o
			done
		done
		[ -n "$can_drop" ] || continue
		for scan in $scans; do
			for side in $(order $r plain $o); do
				[ $side = plain ] || mount_other $o
				cold_one $side $scan
				[ $side = plain ] || umount_other $o
			done
		done
	done
	mount_other $o
	to_unlink=
	rounds=$tool_rounds changing "" plain $o
	unlink_later[$o]=$to_unlink
	umount_other $o
	for scan in $scans; do row "warm ${scan_name[$scan]}" -; done
	for scan in $scans; do row "cold ${scan_name[$scan]}" -; done
	report "$o beside the plain directory, $beside messages, on any CPU:" plain $o
}
declare -A unlink_later=()
others() {
	local PLAIN=$TMP/beside o
	must "$DRIVER" fill "$PLAIN" $beside
	if can_pass; then
		other passthrough
		other pass-always
	fi
	if command -v bindfs >/dev/null; then other bindfs
	else echo "bindfs: left out: it is not installed"
	fi
	for o in "${!unlink_later[@]}"; do
		mount_other $o
		unlinking "${unlink_later[$o]}" plain $o
		umount_other $o
	done
}

# ---- all ----

filled() {	# MESSAGES: both have the same
	must "$DRIVER" fill "$PLAIN" $1
	must "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$PLAIN"
	rm -rf "$PLAIN/dsyncfs-sidecar"
	sync
}
space() {
	local kib bytes store
	kib=$(du -sk "$PLAIN/cur" | cut -f1) bytes=$(du -sb "$PLAIN/cur" | cut -f1) store=$(du -sk "$STORE" | cut -f1)
	awk -v k=$kib -v b=$bytes -v s=$store "$UNITS"'BEGIN {
		printf "on disk: store %s, Maildir %s, its bytes %s: %.2f of the one, %.2f of the other (target 0.6)\n",
		    bytes(s * 1024), bytes(k * 1024), bytes(b), s / k, s * 1024 / b }'
}

# Without a journal ext4's fsync is cheap, and new files are slow after unlinks: of the mount's own too, for files on their way.
journal_of() {
	local d
	d=$(df --output=source "$1" | tail -1)
	[ "$(df --output=fstype "$1" | tail -1)" != ext4 ] || ls /proc/fs/jbd2 2>/dev/null | grep -q "^${d##*/}-" || echo " without a journal"
}
echo "$(uname -srm), $(nproc) CPUs, $(df --output=fstype "$TMP" | tail -1)$(journal_of "$TMP"), $messages messages in one cur, $rounds rounds, $tool_rounds of programs"
filled $messages
! wanted store || space
must mount_store "$STORE" "$MNT"
own_requests
echo "memory of the mount, fresh: $(memory_of "$STORE")"
if wanted read; then
	reading warm plain mount
	report "reading, warm:" plain mount
	echo "memory of the mount, all read: $(memory_of "$STORE")"
fi
if wanted cold && cold_or_say reading; then
	reading cold plain mount
	report "reading, cold:" plain mount
fi
if wanted tools; then
	cold_or_say programs
	programs plain mount
	report "programs:" plain mount
fi
if wanted pinned; then
	pin_mount $cpu
	changing "-p $cpu" plain mount
	pin_mount "$cpus"
	report "changing, client and mount on one CPU; blocks of $changes:" plain mount
fi
if wanted change; then
	changing "" plain mount
	report "changing, on any CPU:" plain mount
	echo "memory of the mount, after the changes: $(memory_of "$STORE")"
fi
must "$DRIVER" same "$PLAIN" "$MNT"
mine=$to_unlink
! wanted others || others
unlinking "$mine" plain mount
end_mount "$STORE"
rm -rf "$PLAIN" "$STORE"
! wanted index || indexing
! wanted open || opening
