# real -- for scripts that mount stores and let real mail programs work: lib.sh
# and what they need besides.  Sourced by bash.
#
#	needs PROGRAM...		a missing program is a failure, never a skip
#	mount_store STORE MNT [OPTS]	mounts, and returns when it answers
#	umount_store STORE MNT		unmounts, and returns when the store is free
#	ds ARGS...			dsyncfs-sync on $STORE
#	script NAME			a program in $TMP/bin
#	dump LOCATION			what two places must have alike
#	within SECONDS COMMAND...	polls until COMMAND succeeds, at most so long (times $SLOWNESS)
#	equal NAME WANT GOT		a check that two texts are the same
#	check_status NAME N COMMAND...	a check that COMMAND exits with N
#	mail_of, count, has_flag, ...	what a Maildir folder holds
#	on_both COMMAND...		does the same on a mount and on a plain Maildir, and
#					compares what each of them noted; MOUNT_OPTS are the mount's
#	note NAME COMMAND...		keeps what the command says for that; outside of it
#					only when NOTES, a directory, and SIDE are set
#	state [HEADER...]		the mail below $MNT as all programs see it, but for names
#
# Whatever is mounted below $TMP is unmounted at the end.  TEST_PLAIN=1 puts a plain
# Maildir in the mount's place, to debug a script without the programs.

# What Debian installs, whatever the caller has put before it.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/dovecot
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export LC_ALL=C.UTF-8 TZ=UTC XDG_CACHE_HOME=$HOME/.cache
unset MAILDIR NOTMUCH_CONFIG MUHOME
TEST_PLAIN=${TEST_PLAIN:-}
TMP=$(realpath "$TMP")
STORE=$TMP/store
MNT=$TMP/mnt
MAIL="python3 $ROOT/tests/mail.py"
NOTES=${NOTES:-} SIDE=${SIDE:-} WORK=$TMP
background=()

mounts_below() { awk -v d="$1/" 'index($2 "/", d) == 1 { print $2 }' /proc/self/mounts | sort -r; }

real_exit() {
	local m p
	cd /
	for p in "${background[@]}"; do kill "$p" 2>/dev/null; done
	for m in $(mounts_below "$TMP"); do
		case $(timeout 5 stat -f -c %T "$m" 2>/dev/null) in
		tmpfs) umount "$m" || umount -l "$m" ;;
		*) timeout 10 fusermount3 -u "$m" 2>/dev/null || fusermount3 -uz "$m" ;;
		esac
	done
	# rm -rf must never meet a mount.
	[ -z "$(mounts_below "$TMP")" ] || KEEP=1
}
on_exit real_exit

needs() {
	local p
	for p in "$@"; do
		command -v "$p" >/dev/null || { echo "FAIL: $p is not installed: make deps"; exit 1; }
	done
	[ -n "$TEST_PLAIN" ] && return
	for p in "$MOUNT" "$SYNC"; do
		[ -x "$p" ] || { echo "FAIL: $p is not built: make all"; exit 1; }
	done
}

not() { ! "$@"; }

# What is done has a directory for itself, $WORK, in it $MNT, mounted, and $HOME.  The paths of both sides are of
# one length.  Of the mount it is also checked that all mail is there after mounting it again, and the store is whole.
on_both() {
	local home=$HOME plain=$TEST_PLAIN mnt=$MNT store=$STORE before
	NOTES=$TMP/notes
	for SIDE in mount plain; do
		[ $SIDE = mount ] || TEST_PLAIN=1
		WHERE="$SIDE: " WORK=$TMP/$SIDE STORE=$TMP/$SIDE/store MNT=$TMP/$SIDE/mnt HOME=$TMP/$SIDE/home
		mkdir -p "$HOME" "$NOTES/mount" "$NOTES/plain"
		check "a Maildir is there" mount_store "$STORE" "$MNT" "${MOUNT_OPTS:-}"
		"$@"
		mounted || continue
		before=$(state)
		check "unmount" umount_store "$STORE" "$MNT"
		check "the store is whole" ds verify
		check "mount again" mount_store "$STORE" "$MNT" "${MOUNT_OPTS:-}"
		equal "all mail is as it was" "$before" "$(state)"
		check "unmount at the end" umount_store "$STORE" "$MNT"
	done
	WHERE='' TEST_PLAIN=$plain HOME=$home MNT=$mnt STORE=$store
	alike
}
alike() {
	local name
	for name in $(cd "$NOTES" && ls mount plain | grep -v ':$' | sort -u); do
		equal "both alike: $name" "$(cat "$NOTES/plain/$name" 2>&1)" "$(cat "$NOTES/mount/$name" 2>&1)"
	done
}
note() {
	local name=$1
	shift
	[ -n "$NOTES" ] || return 0
	mkdir -p "$NOTES/$SIDE"
	"$@" 2>&1 | sed "s|$MNT|MNT|g; s|$WORK|WORK|g; s|$TMP|TMP|g" >"$NOTES/$SIDE/$name"
}
state() { $MAIL state "$MNT" "$@"; }

within() {
	local end=$((SECONDS + $1 * SLOWNESS))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.05
	done
}

mount_store() {
	local store=$1 mnt=$2 rc
	mkdir -p "$mnt"
	if [ -n "$TEST_PLAIN" ]; then
		mkdir -p "$mnt/cur" "$mnt/new" "$mnt/tmp"
		return
	fi
	timeout 20 "$MOUNT" ${3:+-o "$3"} "dsyncfs:$store" "$mnt" >"$TMP/mount.log" 2>&1 </dev/null
	rc=$?
	if [ $rc != 0 ] || ! mountpoint -q "$mnt"; then
		echo "mounting $store on $mnt: exit $rc"
		cat "$TMP/mount.log"
		return 1
	fi
}

store_is_free() {
	local pid
	"$SYNC" -o "mail_location=dsyncfs:$1" mailboxes >/dev/null 2>&1 && ! mounted_process "$1" >/dev/null
}

# The process that has STORE mounted.
mounted_process() { pgrep -f "^$MOUNT_RUNS .*dsyncfs:$1 " || return 1; }

umount_store() {
	[ -n "$TEST_PLAIN" ] && return
	# The helper of the mount may just be telling watchers what a sync did.
	within 5 fusermount3 -u "$2" || return 1
	within 15 store_is_free "$1"
}

ds() {
	if [ -n "$TEST_PLAIN" ]; then
		echo "TEST_PLAIN: dsyncfs-sync $*"
		return
	fi
	"$SYNC" -o "mail_location=dsyncfs:$STORE" "$@"
}

# A program of the test's own, from standard input.
script() { mkdir -p "$TMP/bin"; cat >"$TMP/bin/$1"; chmod 755 "$TMP/bin/$1"; }
# LOCATION: all mail state but for what only grows.
dump() { "$SYNC" dump --no-modseqs "$1" | sed 's/ highestmodseq=[0-9]*//'; }

# For checks that a plain Maildir cannot pass.
mounted() { [ -z "$TEST_PLAIN" ]; }

equal() {
	local text
	text=$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$3"))
	report $? "$1" "$text"
}

check_status() { local name=$1; shift; check "$name" status "$@"; }

# Messages of a Maildir folder, new and cur.
messages() { find "$1/cur" "$1/new" -maxdepth 1 -type f ! -name '.*'; }
count() { messages "$1" | wc -l; }
count_is() { [ "$(count "$1")" = "$2" ]; }
mail_of() { grep -lr -- "$2" "$1/cur" "$1/new" 2>/dev/null | head -1; }		# FOLDER TEXT
has_mail() { [ -n "$(mail_of "$1" "$2")" ]; }
flags_of() { local f; f=$(mail_of "$1" "$2"); case $f in *:2,*) echo "${f##*:2,}" ;; esac; }
has_flag() { case $(flags_of "$1" "$2") in *"$3"*) ;; *) return 1 ;; esac; }
hash_of() { $MAIL hash "$@" | cut -d' ' -f1,2; }
# FOLDER NAME TEXT-OF-SUBJECT: delivers as an MTA does
deliver_one() { $MAIL one "$3" >"$1/tmp/$2" && mv "$1/tmp/$2" "$1/new/$2"; }
# MAILBOX: its messages' lines of dump
dump_of() { ds dump | awk -v m="mailbox $1 " '/^(mailbox|subscription) /{on = index($0, m) == 1; next} on'; }
