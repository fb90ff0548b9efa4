#!/bin/bash
# agents -- programs that deliver into a Maildir (maildrop, procmail, fdm, safecat, getmail, mdeliver, Python's mailbox), four at a time,
# and one that fetches from it (fdm): the same mail is there as on a plain Maildir, byte by byte, each once.
. "$(dirname "$0")/../real.sh"
needs maildrop procmail fdm safecat getmail getmail_maildir mdeliver python3
COUNT=${COUNT:-14}
chmod 755 "$TMP"
mkdir "$TMP/in"
for ((i = 0; i < COUNT; i++)); do $MAIL show $i agents >"$TMP/in/$i"; done

# getmail does nothing as root, and fdm then fetches as a user of its own: root's files are nobody's for them.
as_no_root() {
	if [ "$(id -u)" = 0 ]; then unshare --user --map-user=65534 --map-group=65534 "$@"; else "$@"; fi
}
deliver() {	# AGENT FILE, into $BOX
	case $1 in
	maildrop) maildrop "$WORK/mailfilter" <"$2" ;;
	procmail) procmail -m "$WORK/procmailrc" <"$2" ;;
	fdm) as_no_root fdm -q -f "$WORK/fdm.conf" -a stdin fetch <"$2" ;;
	safecat) safecat "$BOX/tmp" "$BOX/new" <"$2" ;;
	mdeliver) mdeliver "$BOX" <"$2" ;;
	python) python3 -c 'import mailbox, sys
mailbox.Maildir(sys.argv[1], create=False).add(open(sys.argv[2], "rb"))' "$BOX" "$2" ;;
	esac >>"$WORK/said" 2>&1
}

settings() {
	printf 'to "%s/"\n' "$BOX" >"$WORK/mailfilter"
	printf 'MAILDIR=%s\nDEFAULT=%s/\nLOGFILE=%s/procmail.log\nLOCKFILE\n:0\n%s/\n' "$WORK" "$BOX" "$WORK" "$BOX" >"$WORK/procmailrc"
	printf 'set allow-multiple\nset lock-types none\naccount "stdin" disabled stdin\naction "d" maildir "%s"\nmatch all action "d"\n' "$BOX" >"$WORK/fdm.conf"
	chmod 600 "$WORK/mailfilter" "$WORK/procmailrc" "$WORK/fdm.conf"
}

agent() {	# NAME
	local i pids=() bad=0 p
	BOX=$MNT/.$1
	# procmail and fdm make the Maildir where it is missing; the others want it there.
	case $1 in procmail | fdm) ;; *) maildir_new "$BOX" ;; esac
	settings
	for ((i = 0; i < COUNT; i++)); do
		deliver "$1" "$TMP/in/$i" &
		pids+=($!)
		if ((i % 4 == 3 || i == COUNT - 1)); then
			for p in "${pids[@]}"; do wait "$p" || bad=$((bad + 1)); done
			pids=()
		fi
	done
	equal "$1: all deliveries succeed" 0 $bad
	equal "$1: each mail is there once" $COUNT "$(count "$BOX")"
	equal "$1: tmp is empty" "" "$(ls -A "$BOX/tmp")"
	equal "$1: no other file is left" "cur new tmp" "$(ls "$BOX" | xargs)"
}

getmail_goes() {
	maildir_new "$MNT/.getmail"
	maildir_new "$WORK/source"
	mkdir -p "$HOME/.getmail"
	for ((i = 0; i < 5; i++)); do mail "$WORK/source" 1$i "" "for getmail $i"; done
	for f in "$WORK"/source/new/*; do as_no_root getmail_maildir "$MNT/.getmail/" <"$f" >>"$WORK/said" 2>&1 || report 1 "getmail_maildir" "$(tail -3 "$WORK/said")"; done
	equal "getmail: each mail is there once" 5 "$(count "$MNT/.getmail")"
}

# fdm takes all mail from one folder to another, with filters, and removes it.
fdm_fetches() {
	cat >"$WORK/fetch.conf" <<-C
	set lock-types none
	set lock-file "$WORK/fdm.lock"
	account "box" maildir "$MNT/.safecat"
	action "odd" maildir "$MNT/.Odd"
	action "rest" maildir "$MNT/.Rest"
	match "^Subject: mail[0-9]*[13579] " in headers action "odd"
	match all action "rest"
	C
	chmod 600 "$WORK/fetch.conf"
	check "fdm fetches from a Maildir" as_no_root fdm -q -f "$WORK/fetch.conf" -a box fetch
	equal "fdm: the folder is empty then" 0 "$(count "$MNT/.safecat")"
	equal "fdm: its mail is in two others" $COUNT $(($(count "$MNT/.Odd") + $(count "$MNT/.Rest")))
}

all() {
	local a
	: >"$WORK/said"
	for a in maildrop procmail fdm safecat mdeliver python; do agent $a; done
	fdm_fetches
	getmail_goes
	note mail state Delivered-To X-getmail-retrieved-from-mailbox X-getmail-filter-classifier
	note folders eval 'cd "$MNT" && find . -type d ! -path "./.dsyncfs*" | sort'
}
# FUSE lets no program in that has another group than who mounted: maildrop and procmail are setgid, if they are not told to
# keep out of others' mail.
MOUNT_OPTS=allow_other
on_both all
finish
