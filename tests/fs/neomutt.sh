#!/bin/bash
# neomutt -- neomutt and mutt work in a terminal on the mount: open, flag, read,
# delete and purge, save to another folder, see a new message arrive.
. "$(dirname "$0")/../real.sh"
needs neomutt mutt tmux
T="tmux -L dsyncfs-$$ -f /dev/null"
on_exit "$T kill-server 2>/dev/null"

screen() { $T capture-pane -p -t mail; }
shows() { screen | grep -qF -- "$1"; }
keys() { $T send-keys -t mail "$@"; }
# The steps of a visit build on each other: the first that fails ends the script.
step() {
	local before=$failures
	check "$@"
	[ $failures = "$before" ] || { screen | sed 's/^/    | /'; finish; }
}
gone() { ! $T has-session -t mail 2>/dev/null; }

muttrc() {	# FILE
	cat >"$1" <<C
set folder=$MNT spoolfile=$MNT mbox_type=Maildir record="" postponed=""
set header_cache=$HOME/hcache
set move=no delete=yes confirmappend=no confirmcreate=no wait_key=no sleep_time=0
set mail_check=1 timeout=1 mark_old=no beep=no sort=mailbox-order quit=yes
set realname=Ann from=ann@example.org
mailboxes $MNT
bind index,pager q quit
bind pager x exit
C
}

# Mail that comes while neomutt itself writes to the folder it misses until the next, on any file system: it takes the
# directory's time after its own change.  So up to four come, and each has to be shown in the end.
arrives() {
	local p=$1 n
	for n in 1 2 3 4; do
		deliver_one "$MNT" "170000000$n.M9new.$p" "$p-arrived$n"
		echo $n >"$TMP/arrived"
		if within 3 shows "$p-arrived$n"; then
			for ((; n > 0; n--)); do shows "$p-arrived$n" || return 1; done
			return 0
		fi
	done
	return 1
}

session() {	# PROGRAM: the whole visit
	local p=$1 n
	muttrc "$HOME/$p.rc"
	mkdir -p "$HOME/hcache"
	for n in one two three four; do deliver_one "$MNT" "1700000000.M${#n}$n.$p" "$p-$n"; done
	step "$p: four messages are delivered" count_is "$MNT" 4
	$T new-session -d -s mail -x 120 -y 40 "env HOME=$HOME TERM=screen $p -n -F $HOME/$p.rc -f $MNT 2>$TMP/$p.err"
	step "$p: the index shows the mail" within 8 shows "$p-four"
	keys "/"; keys "~s $p-one" Enter
	keys F
	step "$p: the flag shows" within 8 eval "screen | grep -F '$p-one' | grep -q '!'"
	keys "/"; keys "~s $p-two" Enter
	keys Enter
	step "$p: a message is read in the pager" within 8 shows "Body of $p-two"
	keys x
	step "$p: back in the index" within 8 shows "$p-four"
	keys "/"; keys "~s $p-three" Enter
	keys d
	keys "\$"
	step "$p: the deleted message is purged" within 8 not has_mail "$MNT" "Subject: $p-three"
	step "$p: the flag is in the name" within 8 has_flag "$MNT" "Subject: $p-one" F
	step "$p: the read message is seen" within 8 has_flag "$MNT" "Subject: $p-two" S
	keys "/"; keys "~s $p-four" Enter
	keys s; keys C-u; keys "$MNT/.Kept" Enter
	keys "\$"
	step "$p: a saved message is in the other folder" within 8 has_mail "$MNT/.Kept" "Subject: $p-four"
	step "$p: and gone from the first" within 8 not has_mail "$MNT" "Subject: $p-four"
	step "$p: mail that arrives is shown" arrives "$p"
	keys q
	step "$p: it quits" within 8 gone
	step "$p: no complaint" not grep -qiE 'error|fail|corrupt' "$TMP/$p.err"
	step "$p: two messages left in INBOX, and what arrived" count_is "$MNT" $((2 + $(cat "$TMP/arrived")))
}

# What the store says of PROGRAM's visit.
store_knows() {
	local p=$1 dump log hash
	dump=$(dump_of INBOX)
	equal "$p: dump has INBOX's messages" "$(count "$MNT")" "$(grep -c . <<<"$dump")"
	for n in one two; do
		hash=$(hash_of "$(mail_of "$MNT" "Subject: $p-$n")")
		check "$p: dump has $n, byte by byte" grep -q "size=${hash#* } sha1=${hash% *}" <<<"$dump"
	done
	hash=$(hash_of "$(mail_of "$MNT" "Subject: $p-one")")
	check "$p: dump has the flag" grep -q "flags=[^ ]*\\\\Flagged.* sha1=${hash% *}" <<<"$dump"
	hash=$(hash_of "$(mail_of "$MNT" "Subject: $p-two")")
	check "$p: dump has \\Seen" grep -q "flags=[^ ]*\\\\Seen.* sha1=${hash% *}" <<<"$dump"
	hash=$(hash_of "$(mail_of "$MNT/.Kept" "Subject: $p-four")")
	check "$p: dump has the saved one in Kept" grep -q "sha1=${hash% *}" <(dump_of Kept)
	log=$(ds log)
	check "$p: the log has a save, a flag change and an expunge" bash -c \
		'grep -q "INBOX.* save" <<<"$1" && grep -q "INBOX.*Flagged" <<<"$1" && grep -q "INBOX.*expunge" <<<"$1"' _ "$log"
	check "$p: mailboxes lists Kept" eval 'ds mailboxes | grep -q "^Kept\\b"'
}

for p in neomutt mutt; do
	STORE=$TMP/$p.store MNT=$TMP/$p.mnt
	check "$p: the store is mounted" mount_store "$STORE" "$MNT"
	session $p
	if mounted; then store_knows $p; fi
	umount_store "$STORE" "$MNT"
done
finish
