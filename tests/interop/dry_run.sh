#!/bin/bash
# dry_run -- a dry run touches no byte of either location, and says just what the
# real run then does: stores and Maildirs of both layouts, with a sidecar and
# without one, every mode, and into what is not there yet.
. "$(dirname "$0")/../lib.sh"
cd "$TMP" || exit 1
is() { [ "$1" = "$2" ] || { diff <(echo "$1") <(echo "$2"); return 1; }; }
# Every file and directory of a location: name, type, size, mode, times, content.
files_of() { find "$@" ! -type s -printf '%p %y %s %m %T@ %C@ ' \( -type f -exec sha1sum {} \; -o -printf '\n' \) | LC_ALL=C sort; }
# The changes that a run tells of, without whether they were planned.
changes() { grep '"event":"change"' | sed 's/,"planned":[a-z]*//' | LC_ALL=C sort; }
sync() { "$SYNC" -o "mail_location=$FIRST" --no-max-delete "$@"; }

# One more of each kind of change, on both sides.
n=0
change_maildir() {	# DIR SUB
	local sub=$1/$2
	n=$((n + 10))
	maildir_new "$sub"
	mail "$1" $((n + 100))
	mail "$1" $((n + 101)) S
	mail "$sub" $((n + 102)) F
	# a flag, an expunge, a move, of the oldest that there are
	set -- "$1" "$sub" $(find "$1/cur" -name '*:2,*' | sort | head -3)
	[ $# -ge 3 ] && mv "$3" "${3%%:2,*}:2,$([ "${3##*:2,}" = FRS ] && echo S || echo FRS)"
	[ $# -ge 4 ] && rm "$4"
	[ $# -ge 5 ] && mv "$5" "$2/cur/"
	return 0
}
# The other side, when it is a store: by way of a Maildir of its own.
change_store() {	# STORE DIR
	"$SYNC" -o "mail_location=dsyncfs:$1" mirror "maildir:$2" >/dev/null 2>&1
	change_maildir "$2" .Store
	"$SYNC" -o "mail_location=dsyncfs:$1" mirror "maildir:$2" >/dev/null 2>&1
}

# DIR... are all that may not be touched.
dry_then_real() {	# NAME MODE LOCATION2 DIR...
	local name=$1 mode=$2 to=$3 before planned done
	shift 3
	before=$(files_of "$@")
	planned=$(sync --json --dry-run $mode "$to" 2>dry.err | changes)
	check "$name: the dry run ends well" status 0 sync --dry-run $mode "$to"
	check "$name: no byte is touched" is "$(files_of "$@")" "$before"
	check "$name: there is something to do" test -n "$planned"
	done=$(sync --json $mode "$to" 2>real.err | changes)
	check "$name: what was planned was done" is "$planned" "$done"
	check "$name: nothing is left over in TMPDIR" is "$(ls "$TMPDIR")" ""
}
export TMPDIR=$TMP/tmpdir
mkdir "$TMPDIR"

FIRST=dsyncfs:$TMP/a
maildir_new m
for i in 1 2 3 4 5 6; do mail m $i S; done
sync mirror "maildir:$TMP/m" >/dev/null 2>&1

for mode in mirror backup "backup -R" "mirror" "-1 mirror"; do
	case $mode in -*) opt=${mode%% *} mode=${mode#* } ;; *) opt= ;; esac
	sync() { "$SYNC" -o "mail_location=$FIRST" --no-max-delete $opt "$@"; }
	# Maildir with its sidecar
	change_maildir m .Sub
	change_store a side
	dry_then_real "store, Maildir: $opt $mode" "$mode" "maildir:$TMP/m" a m
	# ... without one
	rm -r m/dsyncfs-sidecar
	change_maildir m .Sub
	change_store a side
	dry_then_real "store, Maildir without a sidecar: $opt $mode" "$mode" "maildir:$TMP/m" a m
	check "the Maildir has its sidecar now" test -d m/dsyncfs-sidecar
done
sync() { "$SYNC" -o "mail_location=$FIRST" --no-max-delete "$@"; }

# Two stores.
sync backup "dsyncfs:$TMP/b" >/dev/null 2>&1
for mode in mirror backup "backup -R"; do
	change_store a side
	[ "$mode" = mirror ] && change_store b side2
	dry_then_real "two stores: $mode" "$mode" "dsyncfs:$TMP/b" a b
done

# Two Maildirs, nested, their sidecars elsewhere.
FIRST=maildir:$TMP/f1:LAYOUT=fs:SIDECAR=$TMP/s1 SECOND=maildir:$TMP/f2:LAYOUT=fs:CONTROL=$TMP/c2
maildir_new f1; maildir_new f2; mkdir c2
mail f1 1 S; mail f2 2 S; mail f1 3
dry_then_real "nested Maildirs" mirror "$SECOND" f1 f2 c2
check "a dry run made no sidecar" test -d s1
change_maildir f1 Work; change_maildir f2 Play
dry_then_real "nested Maildirs again" mirror "$SECOND" f1 f2 c2 s1

# Into what is not there yet: all is planned, nothing is made.
FIRST=dsyncfs:$TMP/a
for to in dsyncfs:$TMP/new maildir:$TMP/new maildir:$TMP/new:LAYOUT=fs; do
	before=$(files_of a)
	planned=$(sync --json --dry-run backup "$to" 2>&1 | changes)
	check "into a new $to: it is planned" test -n "$planned"
	check "into a new $to: it is not made" test ! -e new
	check "into a new $to: the source is as it was" is "$(files_of a)" "$before"
	check "into a new $to: it is done so" is "$(sync --json backup "$to" 2>&1 | changes)" "$planned"
	rm -r new
	mkdir new
	planned=$(sync --json --dry-run backup "$to" 2>&1 | changes)
	check "into an empty $to: it stays empty" is "$(ls -A new)" ""
	check "into an empty $to: it is done so" is "$(sync --json backup "$to" 2>&1 | changes)" "$planned"
	rm -r new
done
check "where no directory is nothing can be made" status 1 sync --dry-run backup "dsyncfs:$TMP/none/new"
check "and it is said" one_line sync --dry-run backup "dsyncfs:$TMP/none/new"
check "a source that is missing is none" status 1 sync --dry-run backup -R "maildir:$TMP/new"
check "nor is one made of it" test ! -e new
check "a Maildir that is busy is busy" python3 - "$SYNC" <<'P'
import fcntl, os, struct, subprocess, sys
fd = os.open("m/dsyncfs-sidecar/lock", os.O_RDWR)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))	# F_OFD_SETLK
r = subprocess.run([sys.argv[1], "-o", "mail_location=dsyncfs:a", "--dry-run", "mirror", "maildir:m"], stderr=subprocess.PIPE)
print(r)
sys.exit(not (r.returncode == 75 and r.stderr.count(b"\n") == 1))
P
finish
