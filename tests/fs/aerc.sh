#!/bin/bash
# aerc -- aerc in a terminal, with the folders of the mount as its maildirpp account: lists, reads, flags, moves, copies, deletes, makes a
# folder, sees new mail; the mail is then what it is after the same keys on a plain Maildir.
. "$(dirname "$0")/../real.sh"
needs aerc tmux
T="tmux -L dsyncfs-$$ -f /dev/null"
on_exit "$T kill-server 2>/dev/null"
screen() { $T capture-pane -p -t mail; }
shows() { screen | grep -qF -- "$1"; }
keys() { $T send-keys -t mail "$@"; }
# The steps build on each other: the first that fails ends the script.
step() {
	local before=$failures
	check "$@"
	[ $failures = "$before" ] || { screen | sed 's/^/    | /'; finish; }
}
gone() { ! $T has-session -t mail 2>/dev/null; }
command_() { keys ":"; keys -l "$1"; keys Enter; }
# To the message with that subject, which is selected then.
selected() { $T capture-pane -pe -t mail | grep -F "$1" | grep -q $'\033\\[[0-9;]*7m'; }
# aerc may still take in what the last command did, and select another one: twice, and calm between.
calm() { selected "$1" && sleep 0.5 && selected "$1"; }
select_() { command_ "search $1"; within 10 calm "$1"; }
open_() { select_ "$1"; command_ view; within 10 shows "Body of $1"; }

settings() {
	mkdir -p "$XDG_CONFIG_HOME/aerc" "$HOME/.cache"
	cat >"$XDG_CONFIG_HOME/aerc/accounts.conf" <<-C
	[Mail]
	source = maildirpp://$MNT
	default = INBOX
	from = Ann <ann@example.org>
	copy-to = Sent
	check-mail = 0
	C
	chmod 600 "$XDG_CONFIG_HOME/aerc/accounts.conf"
	cat >"$XDG_CONFIG_HOME/aerc/aerc.conf" <<-C
	[general]
	log-file = $WORK/aerc.log
	log-level = debug
	[ui]
	index-format = %-5.5Z %s
	mouse-enabled = false
	next-message-on-delete = false
	[viewer]
	pager = less -R
	[filters]
	text/plain = cat
	C
	: >"$XDG_CONFIG_HOME/aerc/binds.conf"
}

all() {
	local n
	export XDG_CONFIG_HOME=$WORK/config
	settings
	maildir_new "$MNT/.Work"; maildir_new "$MNT/.Work.Deep"
	for n in one two three four five six; do deliver_one "$MNT" "1700000000.M${#n}$n.aerc" "letter-$n"; done
	deliver_one "$MNT/.Work" 1700000000.M1.work letter-work
	$T new-session -d -s mail -x 120 -y 40 "env HOME=$HOME XDG_CONFIG_HOME=$XDG_CONFIG_HOME TERM=screen-256color LANG=C.UTF-8 aerc 2>$WORK/aerc.err"
	step "the index shows the mail" within 15 shows "letter-six"
	step "and the folders" within 10 eval 'shows Work && shows Deep'
	select_ letter-one; command_ "flag -x Flagged"
	step "a flag" within 10 has_flag "$MNT" "Subject: letter-one" F
	select_ letter-two; command_ "read"
	step "marked as read" within 10 has_flag "$MNT" "Subject: letter-two" S
	select_ letter-two; command_ "unread"
	step "and as unread" within 10 eval 'case $(flags_of "$MNT" "Subject: letter-two") in *S*) false ;; esac'
	step "a message is opened" open_ letter-three
	command_ close
	step "which makes it seen" within 10 has_flag "$MNT" "Subject: letter-three" S
	step "the index is back" within 10 shows letter-six
	select_ letter-four; command_ "mv Work"
	step "moved" within 10 eval 'has_mail "$MNT/.Work" "Subject: letter-four" && ! has_mail "$MNT" "Subject: letter-four"'
	select_ letter-one; command_ "cp Work.Deep"
	step "copied" within 10 eval 'has_mail "$MNT/.Work.Deep" "Subject: letter-one" && has_mail "$MNT" "Subject: letter-one"'
	select_ letter-five; command_ "delete"
	step "deleted" within 10 not has_mail "$MNT" "Subject: letter-five"
	deliver_one "$MNT" 1700000002.M7seven.aerc letter-seven
	step "new mail is shown" within 15 shows letter-seven
	command_ "mkdir Made"
	step "a folder is made, and shown empty" within 10 test -d "$MNT/.Made/cur"
	command_ "cf Work"
	step "another folder" within 10 shows letter-work
	select_ letter-work; command_ "mv Made"
	step "moved to the folder made" within 10 has_mail "$MNT/.Made" "Subject: letter-work"
	command_ "cf INBOX"
	step "back" within 10 shows letter-seven
	command_ "quit -f"
	step "it quits" within 10 gone
	note mail state
	equal "no panic" "" "$(grep -iE 'panic|fatal' "$WORK/aerc.err" "$WORK/aerc.log")"
}
on_both all
finish
