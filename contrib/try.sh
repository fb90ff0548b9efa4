#!/bin/bash
# try -- shows dsyncfs at work: `contrib/try.sh BUILD-DIR`, or `make try`.
#
# Makes a sample mailbox in a temporary place, mounts it, changes mail through
# the mount with cp, mv and rm, mirrors it with a Maildir both ways, and shows
# what happened.  Every step is checked: exit 0 means that all of it worked.
# Nothing stays mounted and no file stays behind, on Ctrl-C neither.
set -u
if [ $# != 1 ] || [ ! -x "$1/dsyncfs" ] || [ ! -x "$1/dsyncfs-sync" ]; then
	echo "usage: contrib/try.sh BUILD-DIR, where dsyncfs and dsyncfs-sync have been built (make all)" >&2
	exit 64
fi
build=$(cd "$1" && pwd)
top=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/dsyncfs-try.XXXXXX")") || exit 1

clean_up() {
	trap '' INT TERM HUP
	cd /
	if mountpoint -q "$top/Mail" 2>/dev/null; then
		fusermount3 -u "$top/Mail" 2>/dev/null || fusermount3 -uz "$top/Mail"
	fi
	mountpoint -q "$top/Mail" 2>/dev/null || rm -rf "$top"
}
trap clean_up EXIT
trap 'trap "" INT TERM HUP; echo; echo "stopped."; exit 130' INT TERM HUP

# Everything below happens in a home of its own.
export HOME=$top PATH=$build:$PATH LC_ALL=C.UTF-8
unset XDG_DATA_HOME XDG_CONFIG_HOME XDG_CACHE_HOME XDG_STATE_HOME
cd "$top" || exit 1

bold= plain=
[ -t 1 ] && bold=$'\e[1m' plain=$'\e[0m'
say() { printf '\n%s\n' "$bold$*$plain"; }
wrong() { printf '\nNot as it should be: %s\n' "$*" >&2; exit 1; }
# Shows a command, runs it, and ends when it fails.
run() {
	echo "  \$ $*"
	bash -c "$*" 2>&1 | sed 's/^/    /'
	[ "${PIPESTATUS[0]}" = 0 ] || wrong "that command failed"
}
quiet() { bash -c "$*" >"$top/out" 2>&1 || { cat "$top/out" >&2; wrong "$*"; }; }
must() { local what=$1; shift; "$@" || wrong "$what"; }
count() { find "$1/cur" "$1/new" -type f | wc -l; }
within_5s() {
	local end=$((SECONDS + 5))
	until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}
is_gone() { ! mountpoint -q "$top/Mail"; }

all_stored() { [ "$(dsyncfs-sync dump | grep -c sha1=)" = 12 ]; }

# A dozen mails: FOLDER NAME SENDER DATE SUBJECT, their text on standard input.
mail() {
	local folder=$1 name=$2 from=$3 date=$4 subject=$5 info=
	case $name in *:2,*) info=cur ;; *) info=new ;; esac
	printf 'From: %s\nTo: You <you@example.org>\nSubject: %s\nDate: %s\nMessage-ID: <%s@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n' \
		"$from" "$subject" "$(date -Rud "$date")" "${name%%:*}" >"$folder/tmp/${name%%:*}"
	cat >>"$folder/tmp/${name%%:*}"
	touch -d "$date" "$folder/tmp/${name%%:*}"
	mv "$folder/tmp/${name%%:*}" "$folder/$info/$name"
}

sample() {
	local s=$1 f i=0
	for f in "$s" "$s/.Lists" "$s/.Archive.2025"; do mkdir -p "$f/cur" "$f/new" "$f/tmp"; done
	mail "$s" 1772000001.1.host "Anna Berg <anna@example.org>" 2026-02-25T08:12Z "Lunch on Friday?" <<<"Twelve at the usual place? Åsa comes too."
	mail "$s" 1772000002.2.host "Per Lund <per@example.com>" 2026-02-25T09:40Z "Minutes of the meeting" <<<"Attached below, please correct what I got wrong."
	mail "$s" 1772000003.3.host:2,S "Billing <billing@example.net>" 2026-02-20T04:00Z "Invoice 4711" <<<"Amount due: 120.00 EUR."
	mail "$s" 1772000004.4.host:2,FS "Anna Berg <anna@example.org>" 2026-02-19T17:31Z "The keys" <<<"They are with the neighbours. Don't lose this mail."
	mail "$s" 1772000005.5.host:2,S "Win a prize <x@example.invalid>" 2026-02-18T03:14Z "You have won!!!" <<<"Click here."
	mail "$s" 1772000006.6.host:2,RS "Jo Ek <jo@example.org>" 2026-02-17T11:05Z "Re: photos" <<<"Lovely, thank you."
	for i in 1 2 3; do
		mail "$s/.Lists" 177100000$i.$i.host:2, "Dev list <dev@lists.example.org>" 2026-02-1${i}T10:00Z "[dev] patch $i of 3" <<<"--- a/file
+++ b/file
From the top of a line, and
. a dot."
	done
	mail "$s/.Archive.2025" 1760000001.1.host:2,S "Anna Berg <anna@example.org>" 2025-10-09T08:00Z "Räkning" <<<"Tack för senast."
	mail "$s/.Archive.2025" 1760000002.2.host:2,RS "Per Lund <per@example.com>" 2025-11-02T12:00Z "Travel plans" <<<"Train at nine."
	mail "$s/.Archive.2025" 1760000003.3.host:2,S "Jo Ek <jo@example.org>" 2025-12-24T18:00Z "Merry Christmas" <<<"And a happy new year."
}

say "A store is mounted, and a sample mailbox of twelve mails is copied in."
sample "$top/sample"
mkdir Mail
run "dsyncfs ~/Mail"
must "~/Mail is mounted" mountpoint -q Mail
run "cp -a ~/sample/. ~/Mail/"
run "ls -A ~/Mail"
must "six mails in INBOX" [ "$(count Mail)" = 6 ]
# What is written straight into a folder counts as a mail once it has not been written to for a second.
must "twelve mails in the store" within_5s all_stored
run "dsyncfs-sync mailboxes"

say "Mail is changed with plain file commands: one is read, one deleted, one filed, one arrives."
run "mv ~/Mail/new/1772000001.1.host ~/Mail/cur/1772000001.1.host:2,S"
run "rm ~/Mail/cur/1772000005.5.host:2,S"
run "mv ~/Mail/cur/1772000003.3.host:2,S ~/Mail/.Archive.2025/cur/"
run "printf 'From: Anna Berg <anna@example.org>\nSubject: Friday it is\n\nSee you.\n' > ~/Mail/tmp/1772100000.7.host"
run "mv ~/Mail/tmp/1772100000.7.host ~/Mail/new/"
must "five mails in INBOX" [ "$(count Mail)" = 5 ]

say "The change log has each of these, as it happened:"
run "dsyncfs-sync log | tail -n 5"

say "The mailbox is mirrored with a Maildir, through the running mount."
run "dsyncfs-sync -v mirror maildir:~/Backup"
must "the Maildir has INBOX's mail" [ "$(count Backup)" = 5 ]
must "the read mail is read there" [ -e "$(echo Backup/cur/*1772000001*:2,*S*)" ]
quiet "dsyncfs-sync verify maildir:~/Backup"

say "On the other side a mail is flagged and another arrives; the next mirror brings both here."
flagged=$(cd Backup && grep -l '^Subject: Minutes' new/* cur/* 2>/dev/null | head -n 1)
must "the mail is in the Maildir" [ -n "$flagged" ]
run "mv ~/Backup/$flagged ~/Backup/cur/$(basename "${flagged%%:2,*}"):2,FS"
run "printf 'From: Jo Ek <jo@example.org>\nSubject: Written far away\n\nHello.\n' > ~/Backup/new/1772200000.8.far"
run "dsyncfs-sync -v mirror maildir:~/Backup"
brought() { grep -rqs '^Subject: Written far away' Mail/new Mail/cur && ls Mail/new Mail/cur | grep -q '1772000002.*:2,.*F'; }
must "both changes are in the mount" within_5s brought
run "grep -h ^Subject: -r ~/Mail/new ~/Mail/cur"
run "dsyncfs-sync verify maildir:~/Backup"

say "A deleted mail can be taken back."
run "dsyncfs-sync restore --list"
quiet "dsyncfs-sync restore INBOX"
taken_back() { grep -rqs '^Subject: You have won' Mail/new Mail/cur; }
must "the deleted mail is back" within_5s taken_back

say "How things stand:"
run "dsyncfs-sync status"
run "fusermount3 -u ~/Mail"
must "~/Mail is unmounted" within_5s is_gone
run "dsyncfs-sync -l 5 verify"

say "All of that worked. $top is removed again; README.md says how to begin with your own mail."
