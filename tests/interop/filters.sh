#!/bin/bash
# filters -- remote sections that take only a part of the mail: by commands, with options in place of a key, by commands through a
# mount that has either side, by flush, and by the mount itself.
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
MD=$TMP/md CONF=$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf
mkdir -p "$XDG_CONFIG_HOME/dsyncfs"
# Beside it there is a section that has the name of the host where another one is.
script dsyncfs-there <<<"#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$TMP/far dsync-server"
section() { local name=$1; shift; printf 'remote %s {\n' "$name"; printf '\t%s\n' "$@"; printf '}\n'; }
{
	echo "mail_location = dsyncfs:$STORE"
	echo "max_delete = no"
	section boxes "location = dsyncfs:$TMP/boxes" "mailbox = INBOX" "mailbox = Wo%" "exclude = Work/*"
	section notrash "location = maildir:$TMP/notrash" 'exclude = \Trash' "exclude = Big"
	section recent "location = dsyncfs:$TMP/recent" "since = 30d"
	section dry "location = dsyncfs:$TMP/dry" "since = 30d"
	section old "location = dsyncfs:$TMP/old" "until = 2026-01-01"
	section small "location = dsyncfs:$TMP/small" "max_size = 4k"
	section flagged "location = dsyncfs:$TMP/flagged" 'flag = \Flagged'
	section unseen "location = dsyncfs:$TMP/unseen" 'flag = -\Seen' "mode = backup"
	section oneway "location = dsyncfs:$TMP/oneway" "one_way = yes"
	section there "location = $TMP/bin/dsyncfs-there dsync-server" "mailbox = INBOX"
	section alpha "location = beta" "mailbox = INBOX"
	section beta "location = dsyncfs:$TMP/beta"
} >"$CONF"

# What a place has: mailbox and number of each mail.
mails() { "$SYNC" dump "$1" | awk '/^mailbox / { m = $2; next } { n = $2; sub(/.*\.M/, "", n); sub(/\..*/, "", n); print m, n }' | sort; }
boxes() { "$SYNC" dump "$1" | sed -n 's/^mailbox \([^ ]*\) .*/\1/p' | sort | xargs; }
has() { mails "$1" | grep -qx "$2"; }
numbers() { mails "dsyncfs:$TMP/$1" | sed 's/.* //' | sort -n | xargs; }
at() { touch -d "$2" "$1"/*/*"M$3.test"*; }	# FOLDER DATE N: received then
maildir_new "$MD"
for b in Work Work.Sub Trash Big; do maildir_new "$MD/.$b"; done
mail "$MD" 1 S; mail "$MD" 2 F; mail "$MD" 3 FS; mail "$MD/.Work" 4 S; mail "$MD/.Work.Sub" 5 S; mail "$MD/.Trash" 6 S
mail "$MD/.Big" 7 S; mail "$MD/.Big" 8 S
head -c 20000 /dev/zero | tr '\0' x | fold -w 70 >>"$MD"/.Big/cur/*M7.test*
at "$MD" 2025-06-01 1; at "$MD" "3 days ago" 2; at "$MD" 2025-07-01 3; at "$MD/.Work" "40 days ago" 4
at "$MD/.Work.Sub" "2 days ago" 5; at "$MD/.Trash" "1 day ago" 6; at "$MD/.Big" "50 days ago" 7; at "$MD/.Big" "10 days ago" 8
check "mail is here" again "$SYNC" mirror "maildir:$MD"

# ---- by command ----
check "only some mailboxes" again "$SYNC" mirror boxes
equal "are over there" "INBOX Work" "$(boxes "dsyncfs:$TMP/boxes")"
equal "with all of their mail" "1 2 3 4" "$(numbers boxes)"
check "not those" again "$SYNC" mirror notrash
equal "the others are" "INBOX Work Work/Sub" "$(boxes "maildir:$TMP/notrash")"
check "only since" again "$SYNC" mirror recent
equal "it is recent" "2 5 6 8" "$(numbers recent)"
check "only until" again "$SYNC" backup old
equal "it is old" "1 3" "$(numbers old)"
check "only small ones" again "$SYNC" mirror small
equal "they are" "1 2 3 4 5 6 8" "$(numbers small)"
check "only with a flag" again "$SYNC" mirror flagged
equal "they have it" "2 3" "$(numbers flagged)"
check "only without" again "$SYNC" backup unseen
equal "they have it not" "2" "$(numbers unseen)"
check "what was left out is no deletion" again "$SYNC" mirror recent
equal "here" "1 2 3 4 5 6 7 8" "$(numbers store)"

# ---- an option takes the place of its key ----
check "another mailbox" again "$SYNC" -m Trash mirror boxes
check "is there, too" has "dsyncfs:$TMP/boxes" "Trash 6"
guid=$("$SYNC" mailboxes | sed -n 's/^Big guid=\([0-9a-f]*\).*/\1/p')
check "another by its GUID" again "$SYNC" -g "$guid" mirror boxes
check "is there, too" has "dsyncfs:$TMP/boxes" "Big 8"
check "an exclude that leaves a mailbox" again "$SYNC" -x Big mirror notrash
check "is there" has "maildir:$TMP/notrash" "Trash 6"
check "the rest of the keys holds" again "$SYNC" -t 45d mirror recent
equal "it is since then" "2 4 5 6 8" "$(numbers recent)"
check "0 is without" again "$SYNC" -t 0 mirror recent
equal "all is there" "1 2 3 4 5 6 7 8" "$(numbers recent)"
check "the location itself has no filter" again "$SYNC" mirror "dsyncfs:$TMP/flagged"
equal "all is there" "1 2 3 4 5 6 7 8" "$(numbers flagged)"
planned=$("$SYNC" --dry-run mirror dry)
check "a dry run plans what is recent" grep -q M8.test <<<"$planned"
check_not "and no more" grep -q M7.test <<<"$planned"

# ---- one way ----
check "one way" again "$SYNC" mirror oneway
equal "all is there" "1 2 3 4 5 6 7 8" "$(numbers oneway)"
rm "$MD"/cur/*M1.test*
check "what is expunged here" again "$SYNC" mirror "maildir:$MD"
check "is not there" again "$SYNC" mirror oneway
check "it stays" has "dsyncfs:$TMP/oneway" "INBOX 1"
check_status "no backup there" 64 "$SYNC" backup oneway
check "which is told with its line" says "$CONF:$(grep -n 'one_way' "$CONF" | cut -d: -f1): one_way is not for 'backup'" "$SYNC" backup oneway
check "it has stayed" has "dsyncfs:$TMP/oneway" "INBOX 1"

# ---- mistakes ----
mistake() {	# LINE WORDS: in the file's only section
	printf 'remote a {\n\tlocation = dsyncfs:%s\n\t%s\n}\n' "$TMP/never" "$1" >"$TMP/mistake.conf"
	check "a mistake: $1" says "$TMP/mistake.conf:3: $2" "$SYNC" -c "$TMP/mistake.conf" mirror a
	check_status "status of $1" 78 "$SYNC" -c "$TMP/mistake.conf" mirror a
}
mistake "since = someday" "since = 'someday' is not valid: it takes a date: 2026-03-01"
mistake "max_size = big" "max_size = 'big' is not valid: it takes a size such as 50M"
mistake "flag =" "flag = '' is not valid: it takes a flag or keyword"
mistake "maxsize = 1M" "unknown key of section 'remote' 'maxsize' (did you mean 'max_size'?)"

# ---- by a mount of the first location ----
rm -rf "$TMP"/{boxes,recent,oneway,notrash,far}
check "the store is mounted" mount_store "$STORE" "$MNT"
check "through it: only some mailboxes" again "$SYNC" mirror boxes
equal "are over there" "INBOX Work" "$(boxes "dsyncfs:$TMP/boxes")"
check "since" again "$SYNC" mirror recent
equal "it is recent" "2 5 6 8" "$(numbers recent)"
check "an option in place of it" again "$SYNC" -t 45d mirror recent
equal "it is since then" "2 4 5 6 8" "$(numbers recent)"
check "with a far side" again "$SYNC" mirror there
equal "only the mailbox" "INBOX" "$(boxes "dsyncfs:$TMP/far")"
check "one way" again "$SYNC" mirror oneway
rm "$(mail_of "$MNT" "<2@test>")"
check "after an expunge" again "$SYNC" mirror oneway
check "it stays" has "dsyncfs:$TMP/oneway" "INBOX 2"
check_status "no backup there" 64 "$SYNC" backup oneway
check "a host that is a section's name is a host all the same" says "beta: the connection of ssh(1) was cut" \
	"$SYNC" -o dsync_remote_cmd="ssh -F none -oProxyCommand=false %{host} x" mirror alpha
check_not "and nothing comes to the section" test -e "$TMP/beta"
check "the mount ends" umount_store "$STORE" "$MNT"

# ---- by a mount of the second ----
rm -rf "$TMP"/{recent,notrash,small}
"$SYNC" -m INBOX mirror "dsyncfs:$TMP/small"
check "the second is mounted" mount_store "$TMP/small" "$MNT"
check "by its mount: only small ones" again "$SYNC" mirror small
equal "they are" "3 4 5 6 8" "$(numbers small)"
check "its mount ends" umount_store "$TMP/small" "$MNT"

# ---- by the mount itself, and by flush ----
sed -i "/^remote recent/a sync = 1s" "$CONF"
sed -i "/^remote notrash/a sync = push" "$CONF"
sed -i "/^remote unseen/a sync = 1s" "$CONF"
mount_by_config() { mkdir -p "$MNT"; timeout 20 "$MOUNT" "$MNT" 2>&1 </dev/null && mountpoint -q "$MNT"; }
check "a mount by its configuration" mount_by_config
deliver_one "$MNT" 1700000091.M91.test "delivered"
deliver_one "$MNT/.Trash" 1700000092.M92.test "delivered to the trash"
check "it syncs what is recent" within 30 has "dsyncfs:$TMP/recent" "INBOX 91"
check "that, too" within 30 has "dsyncfs:$TMP/recent" "Trash 92"
check "and into what has no trash" within 30 has "maildir:$TMP/notrash" "INBOX 91"
check "it backs up what is unseen" within 30 has "dsyncfs:$TMP/unseen" "INBOX 91"
check "flush is done" again "$SYNC" flush
equal "only what is recent" "5 6 8 91 92" "$(numbers recent)"
equal "only what is unseen" "91 92" "$(numbers unseen)"
equal "no trash" "INBOX Work Work/Sub" "$(boxes "maildir:$TMP/notrash")"
waits() { "$SYNC" --json status | grep '"event":"remote"' | grep -v '"sync":"manual"' | grep -v '"waiting":0}'; }
check_not "nothing waits" waits
check "it ends" timeout 60 fusermount3 -u "$MNT"
within 15 store_is_free "$STORE"
deliver=$(mktemp -d "$TMP/d.XXXXXX"); maildir_new "$deliver"; mail "$deliver" 93; mail "$deliver" 94
at "$deliver" 2025-01-01 94
check "more mail, without a mount" again "$SYNC" mirror "maildir:$deliver"
check "flush, without a mount" again "$SYNC" flush
equal "only what is recent" "5 6 8 91 92 93" "$(numbers recent)"
finish
