#!/bin/bash
# large_box -- a mailbox of many messages beside one of a tenth: what a mount of it takes when it is listed, looked at and changed, and a sync of
# a few changes after the first one, by the mount, without one, over a pipe, does not grow with it.  The first sync, and a look at a Maildir that
# has changed, which has no log, may take so much for each message.
#
#	large_box.sh [MESSAGES]
. "$(dirname "$0")/../real.sh"
needs python3 "$BIN/tests/bench/bench_sync"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

messages=${1:-20000}
FILL=$BIN/tests/bench/bench_sync
# KiB that the large one may take above the small one, all of whose index is less than what the caches of two stores hold (compact writes a MiB of records before it
# looks how many pages have changed); and where it may grow, bytes a message.
same=1024 caches=2560 pages=6144 first=320 maildir=320 upkeep=120 frame=65536
printf 'cache_size = 1M\n' >"$TMP/conf"
chmod 600 "$TMP/conf"

# FIGURE COMMAND...: the largest process of it
peak() { local name=$1; shift; python3 "$ROOT/tests/interop/peak.py" "$W/peaks" "$name" "$@"; }
ours() { local name=$1; shift; peak "$name" "$SYNC" -o "mail_location=dsyncfs:$W/a" "$@"; }
mount_peak() { awk -v n="$1" '$1 == "VmHWM:" { print n, $2 }' "/proc/$(mounted_process "$STORE" | head -1)/status" >>"$W/peaks"; }
# ROUND: flags of ten messages, three new ones, two that go.
change() {
	python3 - "$MNT" "$1" <<-P
	import os, sys
	mnt, r = sys.argv[1], int(sys.argv[2])
	seen = []
	with os.scandir(mnt + "/cur") as names:
	    for e in names:
	        if e.name.endswith(":2,S"):
	            seen.append(e.name)
	            if len(seen) == 100 * r:
	                break
	for n in seen[-10:]:
	    os.rename(f"{mnt}/cur/{n}", f"{mnt}/cur/{n[:-1]}FS")
	for n in seen[-20:-18]:
	    os.unlink(f"{mnt}/cur/{n}")
	for i in range(3):
	    with open(f"{mnt}/tmp/{r}.{i}", "w") as f:
	        f.write("Subject: new %d %d\n\n" % (r, i))
	    os.rename(f"{mnt}/tmp/{r}.{i}", f"{mnt}/new/{r}.{i}")
	P
}
listed() { [ "$(ls -f "$MNT/cur" "$MNT/new" | grep -c P1.bench)" = "$1" ]; }
looked_at() { ls -l "$MNT/cur" "$MNT/new" >"$W/ls" && rm "$W/ls"; }
mount_it() { "$MOUNT" -c "$TMP/conf" "dsyncfs:$STORE" "$MNT"; }
alike() { cmp <(dump "dsyncfs:$W/a") <(dump "$1"); }

round() {	# MESSAGES
	W=$TMP/$1 STORE=$TMP/$1/a MNT=$TMP/$1/mnt WHERE="$1: "
	mkdir -p "$MNT"
	script far <<-C
		#!/bin/sh
		exec python3 $ROOT/tests/interop/peak.py $W/peaks far.\$(cat $W/figure) $SYNC -o mail_location=dsyncfs:$W/c "\$@"
	C
	check "filled" "$FILL" fill "dsyncfs:$W/a" "$1" 1
	check "the first sync" ours first mirror "dsyncfs:$W/b"
	echo first >"$W/figure"
	check "the first sync, over a pipe" ours first.pipe mirror "$TMP/bin/far" dsync-server
	ours settled mirror "dsyncfs:$W/b"

	check "mount" mount_it
	mount_peak mount.start
	check "all is listed" listed "$1"
	mount_peak mount.listed
	check "all is looked at" looked_at
	mount_peak mount.looked_at
	check "some of it is changed" change 1
	mount_peak mount.changed
	echo change >"$W/figure"
	check "a sync by the mount" ours by_mount mirror "dsyncfs:$W/b"
	mount_peak mount.synced
	check "a sync by the mount, over a pipe" ours by_mount.pipe mirror "$TMP/bin/far" dsync-server
	mount_peak mount.synced.pipe
	check "some more is changed" change 2
	check "unmount" umount_store "$STORE" "$MNT"
	check "a sync without a mount" ours change mirror "dsyncfs:$W/b"
	check "a sync without a mount, over a pipe" ours change.pipe mirror "$TMP/bin/far" dsync-server
	check "nothing to sync" ours nothing mirror "dsyncfs:$W/b"
	check "a full comparison" ours full -f mirror "dsyncfs:$W/b"
	check "both are alike" alike "dsyncfs:$W/b"
	check "and the far one" alike "dsyncfs:$W/c"
	rm -rf "$W"/[bc]
	check "verify" ours upkeep.verify verify
	check "compact" ours upkeep.compact compact

	check "a Maildir" ours maildir.first mirror "maildir:$W/maildir"
	mount_it
	change 3
	umount_store "$STORE" "$MNT"
	check "a change of the store goes there" ours maildir.there mirror "maildir:$W/maildir"
	: >"$W/maildir/new/one"
	printf 'Subject: one\n\n' >"$W/maildir/new/one"
	check "a change of the Maildir comes" ours maildir.here mirror "maildir:$W/maildir"
	check "both are alike, too" alike "maildir:$W/maildir"
	rm -rf "$W/maildir"
	WHERE=
}
# FIGURE PATTERN, BYTES a message, KiB besides: held against the small one's.
grows() {
	awk -v want="$1" -v bytes="$2" -v kib="$3" -v n=$((messages - messages / 10)) '
		$1 !~ want { next }
		!($1 in at) { at[$1] = 0; order[++figures] = $1 }
		FNR == NR { if ($2 > small[$1]) small[$1] = $2; next }
		{ if ($2 > large[$1]) large[$1] = $2 }
		END {
			for (i = 1; i <= figures; i++) {
				f = order[i]
				over = (large[f] - small[f]) * 1024 / n
				printf "%-20s %8d and %8d KiB, %+.1f bytes a message\n", f, small[f], large[f], over
				if (!(f in small) || !(f in large) || large[f] - small[f] > kib + bytes * n / 1024) bad = 1
			}
			exit bad || figures == 0
		}' "$TMP/$((messages / 10))/peaks" "$TMP/$messages/peaks"
}
figures() {	# NAME PATTERN BYTES KIB
	local text
	text=$(grows "$2" "$3" "$4")
	report $? "$1" "$text"
	printf '%s\n' "$text"
}

round $((messages / 10))
round "$messages"
figures "a mount takes no more" '^mount' 0 $caches
figures "nor does a sync of a few changes" '^(settled|by_mount|change|far.change|nothing)' 0 $same
figures "a full comparison holds pages of both, and no more" '^full' 0 $pages
figures "a first sync takes little for each message" '^(first|far.first)' $first $pages
figures "and verify" '^upkeep.verify' $upkeep $pages
figures "and compact" '^upkeep.compact' $upkeep $frame
figures "so does one with a Maildir" '^maildir.first' $((first + 160)) $pages
figures "and looking at one that has changed" '^maildir.(there|here)' $maildir $pages
finish
