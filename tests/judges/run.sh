#!/bin/bash
# run -- what third parties' tests say of a mount: `make judges`, or `tests/judges/run.sh NAME...` for some of them.
#
#	KIT		the scripts that drive them, with figures of other file systems (../shared/kit)
#	PJDFSTEST LTP XFSTESTS	built trees of these
#	XFSTESTS_ONLY	some of its tests
#	FSX FSSTRESS LAZYFS	these programs
#	IMAPTEST	a built tree of it
#	CUTS		power cuts on each file system (5); CUTS_SEED the first seed (1)
#	KILLS		SIGKILLs of the mount (10)
#	KILLED		syncs that are killed, of dsyncfs-sync, Dovecot's dsync and mbsync each (20); SEED of their moments (1)
#	SEEDS		histories that a sync with a Dovecot has to settle (40)
#	SECS		how long those run that run for a time (10)
#	LOGS		where all is kept that they say (build/judges)
#	FLAVOUR		how the programs were built (release); with asan, tsan and valgrind what these report fails, too
#
# Each judge has a mount of its own, as root one for all users, and what is in the mount is in $TMPDIR: that should be ext4.  Most
# of them work in a plain directory in the mount; those of deliveries and readers in its mail folders.  Where a judge tells figures
# it judges a plain directory of the disk, too.  A judge passes when it says so, nothing was left out that it does elsewhere, and the
# store is whole afterwards.  One that is not there has not passed.
[ -n "${JUDGES_NS:-}" ] || [ "$(id -u)" != 0 ] || exec env JUDGES_NS=1 unshare --mount "$0" "$@"
export TMPDIR=${TMPDIR:-/var/tmp}
KIT=${KIT:-$(dirname "$0")/../../../shared/kit}
. "$(dirname "$0")/../real.sh"
# Others' mounts, copied into the namespace, would go on here when they are unmounted there.
[ -z "${JUDGES_NS:-}" ] || awk '$3 ~ /^fuse\./ { print $2 }' /proc/self/mounts | xargs -r umount -l 2>/dev/null
here=$ROOT/tests/judges
LOGS=${LOGS:-$ROOT/build/judges}
CUTS=${CUTS:-5} CUTS_SEED=${CUTS_SEED:-1} KILLS=${KILLS:-10} SECS=${SECS:-10}
XFSTESTS_ONLY=${XFSTESTS_ONLY:-}
SEEDS=${SEEDS:-40} KILLED=${KILLED:-20} SEED=${SEED:-1}
export PJDFSTEST=${PJDFSTEST:-} LTP=${LTP:-} XFSTESTS=${XFSTESTS:-} FSX=${FSX:-} FSSTRESS=${FSSTRESS:-} LAZYFS=${LAZYFS:-} IMAPTEST=${IMAPTEST:-}
JUDGES="pjdfstest ltp xfstests fsx fsstress fio stress-ng dbench postmark bonnie fsmark racer maildir-race deliver readers imaptest converge killed-sync
	kill9 nospace powercut-ext4 powercut-xfs powercut-lazyfs powercut-beside"
[ -d "$KIT" ] || { echo "FAIL: no test kit in $KIT: set KIT"; exit 1; }
KIT=$(cd "$KIT" && pwd)
[ "$(id -u)" = 0 ] || echo "note: some judges work for root only, and will fail"
mkdir -p "$LOGS"
chmod 755 "$TMP"
OPTS=umask=022
[ "$(id -u)" != 0 ] || OPTS=allow_other,umask=022

# WHO SCRIPT DIRECTORY ARGS...: the kit's script; what it says in $LOGS/WHO/said.
judged() {
	local who=$1 script=$2
	shift 2
	mkdir -p "$LOGS/$who"
	KIT_LOG=$LOGS/$who timeout "${HANG:-7200}" "$KIT/$script.sh" "$@" >"$LOGS/$who/said" 2>&1 </dev/null
}
figure() { grep -s '^FIGURE ' "$LOGS/$1/said" | tail -1 | sed "s|^FIGURE [^ ]* |     $2: |; s| log=[^ ]*||"; }
field() { figure "$1" "" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
field_is() { [ "$(field "$1" "$2")" = "$3" ] || { echo "$2=$(field "$1" "$2"), not $3"; return 1; }; }
all_there() {	# WHO FIELD...: nothing was left out
	local who=$1 f
	shift
	for f in "$@"; do field_is "$who" "$f" 0 || return 1; done
}
# NAME COMMAND...: the judge in a mount of its own
in_mount() {
	local name=$1 text rc
	shift
	STORE=$TMP/store.$name MNT=$TMP/mnt.$name
	text=$(mount_store "$STORE" "$MNT" "$OPTS" && mkdir "$MNT/judge" "$TMP/plain.$name" && "$@" 2>&1)
	rc=$?
	[ $rc = 0 ] || text="$text
$(tail -5 "$LOGS/$name/said" 2>/dev/null)"
	report $rc "$name" "$text"
	figure "$name" mount
	[ ! -f "$LOGS/$name.plain/said" ] || figure "$name.plain" "$(stat -f -c %T "$TMP")"
	check "$name: unmount" umount_store "$STORE" "$MNT"
	check "$name: the store is whole" ds verify
	rm -rf "$TMP/plain.$name" "$STORE"
}
# In a plain directory of the mount; there and in one of the disk; in mail folders.
aux() { local name=$1 script=$2; shift 2; judged "$name" "$script" "$MNT/judge" "$@"; }
beside() {
	local name=$1 script=$2
	shift 2
	judged "$name.plain" "$script" "$TMP/plain.$name" "$@" || { echo "fails on the plain directory: $(tail -1 "$LOGS/$name.plain/said")"; return 1; }
	aux "$name" "$script" "$@"
}
mail_folders() { local name=$1 script=$2; shift 2; judged "$name" "$script" "$MNT" "$@"; }
# One that mounts by itself.
alone() {
	local name=$1 script=$2 rc text
	shift 2
	text=$(KIT_BOX=.Kit KIT_MOUNT="'$MOUNT' -o $OPTS \"dsyncfs:\$STORE\" \"\$MNT\"" judged "$name" "$script" "$TMP" "$@" 2>&1)
	rc=$?
	[ $rc = 0 ] || text="$text$(tail -5 "$LOGS/$name/said")"
	report $rc "$name" "$text"
	figure "$name" mount
}

# ---- those that need more than a directory ----

# Fails where the mount does less than ext4 and differs.ltp does not say so, and where that says too much.
ltp() {
	KIT_BASELINE=$KIT/baseline/ltp-ext4 mail_folders ltp ltp-fs
	field_is ltp missing 0 && [ -f "$LOGS/ltp/regressions" ] &&
		diff <(grep -v '^#' "$here/differs.ltp" | sort) <(sort "$LOGS/ltp/regressions")
}
pjdfstest() { KIT_EXPECT=$here/differs.pjdfstest judged pjdfstest pjdfstest "$MNT/judge"; }
# Some of its stressors are not in each version, or fail anywhere.
stress() {
	judged stress-ng.plain stress-ng-fs "$TMP/plain.stress-ng" 1 || true
	judged stress-ng stress-ng-fs "$MNT/judge" 1
	equal_lists "$(field stress-ng.plain fails)" "$(field stress-ng fails)" &&
		equal_lists "$(field stress-ng.plain skips)" "$(field stress-ng skips)"
}
names_of() { tr ',' '\n' <<<"$1" | grep -v '^none$' | sort | grep .; }
equal_lists() { diff <(names_of "$1") <(names_of "$2"); }
race() { KIT_BOX=.Race mail_folders maildir-race maildir-race "$SECS"; }
deliver() { KIT_BOX=.Deliver mail_folders deliver deliver && all_there deliver skipped && ! grep -q skipped- <(figure deliver x); }
readers() { KIT_BOX=.Read mail_folders readers readers && all_there readers tools_skipped; }

# xfstests mounts and unmounts by mount(8), and wants users: both are there in this namespace only.
xfstests_says() {
	local opts=$OPTS
	[ -n "${JUDGES_NS:-}" ] || { echo "works for root only"; return 1; }
	[ -x "$XFSTESTS/check" ] || { echo "XFSTESTS is no built tree"; return 1; }
	mkdir -p "$TMP/stores" "$TMP/xfstests" "$TMP/pam.d"
	script mount.fuse3 <<-S
	#!/bin/bash
	what=\$1 where=\$2 opts=$opts
	shift 2
	while [ \$# != 0 ]; do
		[ "\$1" != -o ] || opts=\$opts,\$2
		shift
	done
	exec "$MOUNT" -o "\$opts,fsname=\$what" "dsyncfs:$TMP/stores/\$what" "\$where"
	S
	# A file system of this kind has no subtype for xfstests.
	script df <<-'S'
	#!/bin/bash
	set -o pipefail
	/usr/bin/df "$@" | sed 's/ fuse\.dsyncfs / fuse /'
	S
	for f in passwd group shadow; do
		grep -v fsgqa "/etc/$f" >"$TMP/$f"
	done
	for u in fsgqa:61001 fsgqa2:61002 123456-fsgqa:61003; do
		echo "${u%:*}:x:${u#*:}:${u#*:}::/:/bin/bash" >>"$TMP/passwd"
		echo "${u%:*}:x:${u#*:}:" >>"$TMP/group"
		echo "${u%:*}:*:19000:0:99999:7:::" >>"$TMP/shadow"
	done
	# su(1) is for root only here.
	printf '%s required pam_permit.so\n' auth account session | tee "$TMP/pam.d/su" >"$TMP/pam.d/other"
	for f in passwd group shadow pam.d; do
		mount --bind "$TMP/$f" "/etc/$f" || return 1
	done
	mount --bind "$TMP/bin/mount.fuse3" "$(realpath /sbin/mount.fuse)" || return 1
	PATH=$TMP/bin:$PATH KIT_SUBTYP=dsyncfs judged xfstests xfstests "$TMP/xfstests" $XFSTESTS_ONLY
	# Fails where differs.xfstests does not say so, and where that says too much.
	[ -n "$(field xfstests run)" ] && field_is xfstests not_run 0 &&
		diff <(grep -v '^#' "$here/differs.xfstests" | sort) <(sed -n 's/^Failures: //p' "$LOGS/xfstests/out" | xargs -n1 | sort)
}
xfstests() {
	local text rc
	text=$(xfstests_says 2>&1)
	rc=$?
	[ $rc = 0 ] || text="$text
$(grep -E '^(Failures|Not run):' "$LOGS/xfstests/out" 2>/dev/null)"
	report $rc xfstests "$text"
	figure xfstests mount
}

# Dovecot's own tester of IMAP servers, on a Dovecot whose Maildir is the mount, and one with a plain Maildir.
at_lab() { LAB=$TMP/lab LAB_PORT=41630 "$@"; }
lab() { at_lab "$KIT/dovecot-lab.sh" "$@"; }
imaptest_of() {	# USER ARGS...
	local user=$1
	shift
	LD_LIBRARY_PATH=/usr/lib/dovecot timeout 600 "$IMAPTEST/src/imaptest" host=127.0.0.1 port=41630 user="$user" pass="pw-$user" "$@"
}
imaptest() {
	local u rc=0 scripts=$IMAPTEST/src/tests
	[ -x "$IMAPTEST/src/imaptest" ] || { echo "IMAPTEST is no built tree"; return 1; }
	mkdir -p "$LOGS/imaptest"
	python3 - >"$LOGS/imaptest/mbox" <<-'P'
	import random
	r = random.Random(1)
	for i in range(300):
	    print("From u@example.org Thu Jan  1 00:00:00 2015\nFrom: u%d@example.org\nTo: you@example.org\nSubject: message %d" % (i, i))
	    print("Date: Thu, 1 Jan 2015 00:00:%02d +0000\nMessage-ID: <%d@example.org>\n" % (i % 60, i))
	    print("".join("line %d %x\n" % (j, r.getrandbits(100)) for j in range(r.choice([3, 20, 200]))))
	P
	lab start >/dev/null && lab user-add plain maildir && lab user-add mount "maildir:$MNT" || { echo "no Dovecot"; return 1; }
	for u in plain mount; do
		imaptest_of $u "test=$scripts" >"$LOGS/imaptest/scripts.$u" 2>&1 || rc=1
		imaptest_of $u mbox="$LOGS/imaptest/mbox" clients=20 secs="$SECS" seed=1 >"$LOGS/imaptest/load.$u" 2>&1 || rc=1
		grep -E '^(Error|Panic|Fatal):|BUG|failed:' "$LOGS/imaptest/load.$u" && rc=1
		echo "FIGURE imaptest user=$u $(sed -n 's/^\([0-9]*\) test groups: \([0-9]*\) failed.*/groups=\1 failed=\2/p' "$LOGS/imaptest/scripts.$u")"
	done >"$LOGS/imaptest/said"
	lab stop >/dev/null
	grep -vE 'Killed with signal 15' "$TMP/lab/log/dovecot.log" && rc=1
	return $rc
}
# dsyncfs-sync and the lab's password for the owner of the lab's mail.
for_owner() {
	cp "$SYNC" "$TMP/dsyncfs-sync" && echo lab-doveadm >"$TMP/password" && chown 65534:65534 "$TMP/password" && chmod 600 "$TMP/password" &&
		chmod 755 "$TMP/dsyncfs-sync"
}
# Histories that were random on both sides, settled with a Dovecot; between two Maildirs.
converge() {
	local far ops rc text
	[ "$(id -u)" = 0 ] || { report 1 converge "works for root only"; return; }
	for_owner
	for far in tcp maildir; do
		for ops in 0 1; do
			text=$(KIT_BOXOPS=$ops KIT_LOC_B=$([ $far = tcp ] && echo mdbox || echo maildir) KIT_SYNC=$here/converge_sync FAR=$far \
				PROGRAM=$TMP/dsyncfs-sync PASSWORD=$TMP/password judged "converge-$far-$ops" dsync-converge "$TMP" "$SEEDS" 60 2>&1)
			rc=$?
			report $rc "converge-$far-$ops" "$text$(tail -3 "$LOGS/converge-$far-$ops/said")"
			figure "converge-$far-$ops" "$far, mailboxes change: $ops"
		done
	done
}
# SIGKILL in the middle of a sync: dsyncfs-sync with a Dovecot, and what Dovecot's own and mbsync make of the same.
killed_by() {	# TOOL
	local name=killed-sync.$1
	PROGRAM=$TMP/dsyncfs-sync PASSWORD=$TMP/password at_lab timeout "${HANG:-7200}" \
		python3 "$here/killed_sync.py" "$1" "$KIT/dovecot-lab.sh" "$KILLED" "$SEED" >"$LOGS/$name/said" 2>"$LOGS/$name/errors" </dev/null ||
		{ tail -n 3 "$LOGS/$name/said" "$LOGS/$name/errors"; return 1; }
	field_is "$name" killed "$KILLED" || return 1
	# What the others make of it is told only.
	[ "$1" = dsyncfs ] || return 0
	field_is "$name" equal "$KILLED" && all_there "$name" lost doubled returned flags_undone never_settled && return 0
	grep -E '^(round|undisturbed).*(not equal|lost|doubled|returned|flags_undone|None)' "$LOGS/$name/said"
	return 1
}
killed_sync() {
	local tool
	[ "$(id -u)" = 0 ] || { report 1 killed-sync "works for root only"; return; }
	needs python3 dovecot doveadm mbsync
	on_exit lab stop
	# Not by $(...): what it starts would keep that open.
	for_owner && lab start >"$TMP/started" 2>&1 </dev/null || { report 1 killed-sync "no Dovecot: $(cat "$TMP/started")"; return; }
	for tool in dsyncfs dsync mbsync; do
		mkdir -p "$LOGS/killed-sync.$tool"
		check "killed-sync.$tool" killed_by $tool
		figure "killed-sync.$tool" $tool
	done
	lab stop
}

# The same cuts of others: of plain files, and of Dovecot's formats, which no test of ours is to pass.  A Dovecot waits two minutes
# for the lock that a cut has left in a Maildir.
powercut_beside() {
	local t name
	for t in posix dovecot:sdbox:optimized dovecot:mdbox:optimized dovecot:maildir:optimized; do
		name=powercut-$(tr : - <<<"$t")
		KIT_TARGET=$t KIT_SEED=$CUTS_SEED judged "$name" powercut "$TMP" "$CUTS" ext4
		[ -n "$(field "$name" acked)" ]
		report $? "$name was cut" "$(tail -3 "$LOGS/$name/said")"
		figure "$name" "$t"
	done
}

[ $# != 0 ] || set -- $JUDGES
for j in "$@"; do
	OPTS_WAS=$OPTS
	rm -rf "${LOGS:?}/$j" "${LOGS:?}/$j.plain"
	case $j in
	pjdfstest) in_mount $j pjdfstest ;;
	ltp) in_mount $j ltp ;;
	xfstests) xfstests ;;
	fsx) in_mount $j aux $j fsx 50000 ;;
	fsstress) in_mount $j aux $j fsstress ;;
	fio) in_mount $j beside $j fio-verify ;;
	stress-ng) in_mount $j stress ;;
	dbench) in_mount $j beside $j dbench "$SECS" ;;
	postmark) in_mount $j beside $j postmark ;;
	bonnie) in_mount $j beside $j bonnie ;;
	fsmark) in_mount $j beside $j fsmark ;;
	racer) in_mount $j aux $j racer "$SECS" ;;
	maildir-race) in_mount $j race ;;
	deliver)
		# Some agents do nothing as root, and the kit has them work as another user.
		[ "$(id -u)" != 0 ] || OPTS=allow_other,umask=0
		in_mount $j deliver ;;
	readers) in_mount $j readers ;;
	imaptest)
		[ "$(id -u)" != 0 ] || OPTS=allow_other,uid=65534,gid=65534
		in_mount $j imaptest ;;
	converge) converge ;;
	powercut-beside) powercut_beside ;;
	killed-sync) killed_sync ;;
	kill9) alone $j kill9 "$KILLS" ;;
	nospace) alone $j nospace ;;
	powercut-ext4 | powercut-xfs | powercut-lazyfs)
		# The kit's own way spares what has its name in a path.
		KIT_KILL="pkill -9 -f '[d]syncfs:$TMP/'" KIT_TARGET=mount KIT_SEED=$CUTS_SEED alone $j powercut "$CUTS" "${j#powercut-}" ;;
	*)
		echo "run: no judge '$j'; there are:" $JUDGES >&2
		exit 64 ;;
	esac
	OPTS=$OPTS_WAS
done
finish
