#!/bin/bash
# cli -- every command of dsyncfs-sync, every exit status, and what it says to wrong input.
. "$(dirname "$0")/../lib.sh"
cd "$TMP" || exit 1
A="dsyncfs:$TMP/a" B="dsyncfs:$TMP/b" M="maildir:$TMP/m"
a() { "$SYNC" -o "mail_location=$A" "$@"; }
b() { "$SYNC" -o "mail_location=$B" "$@"; }
m() { "$SYNC" -o "mail_location=$M" "$@"; }
json_ok() { "$@" 2>/dev/null | python3 -c 'import json,sys
lines=[json.loads(l) for l in sys.stdin]
assert lines and lines[-1]["event"]=="summary" and "status" in lines[-1], lines[-1:]
assert all("event" in l for l in lines)'; }
same_dump() { "$SYNC" dump --no-modseqs "$1" >dump.1 && "$SYNC" dump --no-modseqs "$2" >dump.2 && [ -s dump.1 ] && diff dump.1 dump.2; }
messages() { "$SYNC" dump "$1" | grep -vc '^mailbox '; }

# ---- without any mail
check help says 'Commands:' "$SYNC" --help
check help_status status 0 "$SYNC" --help
check help_lists_what_works says 'conflicts' "$SYNC" --help
check help_lists_dsync_server says dsync-server "$SYNC" --help
check version says 'dsyncfs-sync ' "$SYNC" --version
check no_command status 64 "$SYNC"
check unknown_command status 64 "$SYNC" frobnicate
check unknown_option status 64 "$SYNC" --frobnicate status
check full_output status 1 bash -c '"$0" --help >/dev/full' "$SYNC"

# ---- configuration
check init_config status 0 "$SYNC" init-config "$TMP/new.conf"
check init_config_is_the_example cmp "$TMP/new.conf" "$ROOT/contrib/dsyncfs.conf.example"
check init_config_refuses_to_overwrite status 1 "$SYNC" init-config "$TMP/new.conf"
check init_config_to_stdout cmp <("$SYNC" init-config -) "$TMP/new.conf"
check init_config_default status 0 "$SYNC" init-config
check init_config_default_file test -s "$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf"
check check_config status 0 "$SYNC" check-config
check check_config_file says 'nothing is wrong' "$SYNC" check-config "$TMP/new.conf"
rm -r "$XDG_CONFIG_HOME/dsyncfs"
printf '# c\nmail_locatoin = x\ncommit = never\n' >"$TMP/bad.conf"
check bad_config_status status 78 "$SYNC" -c "$TMP/bad.conf" status
check bad_config_names_line says "$TMP/bad.conf:2: unknown key 'mail_locatoin' (did you mean 'mail_location'?)" "$SYNC" check-config "$TMP/bad.conf"
check bad_config_names_all_lines says "$TMP/bad.conf:3: commit = 'never'" "$SYNC" check-config "$TMP/bad.conf"
check missing_config status 78 "$SYNC" -c "$TMP/none.conf" status
printf 'mail_location = nosuch:/x\n' >"$TMP/kind.conf"
check unknown_kind_in_config status 78 "$SYNC" -c "$TMP/kind.conf" status
check unknown_kind_in_config_line says "$TMP/kind.conf:1" "$SYNC" -c "$TMP/kind.conf" status
check unknown_kind_in_check_config status 78 "$SYNC" check-config "$TMP/kind.conf"
printf 'mail_location = %s\nremote box {\n\tlocation = imap://host.example/\n}\n' "$A" >"$TMP/form.conf"
check form_in_config status 78 "$SYNC" -c "$TMP/form.conf" mirror box
check form_in_config_line says "$TMP/form.conf:3" "$SYNC" -c "$TMP/form.conf" mirror box
printf 'protocols = imap\nmail_location = %s\n' "$M" >"$TMP/dovecot.conf"
check dovecot_config_kind says "$TMP/m" "$SYNC" -c "$TMP/dovecot.conf" status

# ---- mail in a Maildir
maildir_new "$TMP/m"; maildir_new "$TMP/m/.Work"
for i in 1 2 3 4 5; do mail "$TMP/m" $i S; done
mail "$TMP/m/.Work" 6 FS; mail "$TMP/m/.Work" 7
check mirror_into_new_store status 0 a mirror "$M"
check mirror_carries_everything same_dump "$A" "$M"
check mirror_again_is_perfect status 0 a mirror "$M"
check mirror_full status 0 a -f mirror "$M"
check mirror_verbose says 'done: ' a -v -f mirror "$M"
check mirror_json json_ok a --json mirror "$M"
check progress_only_on_terminal test -z "$(a mirror "$M" 2>&1)"
check mirror_relative status 0 a mirror maildir:m
check mirror_itself status 64 a mirror "$A"

mail "$TMP/m" 8 S
check dry_run_lists says '8' a --dry-run mirror "$M"
before=$(messages "$A")
check dry_run_changes_nothing test "$(messages "$A")" = "$before"
check mirror_one_mailbox status 0 a -m Work mirror "$M"
check mirror_one_mailbox_only test "$(messages "$A")" = "$before"
check mirror_takes_the_new_one status 0 a mirror "$M"
check mirror_took_it same_dump "$A" "$M"

check backup_into_new_store status 0 a backup "$B"
check backup_is_exact same_dump "$A" "$B"
mail "$TMP/m" 9 S; a mirror "$M"
check backup_reverse status 0 b backup -R "$A"
check backup_reverse_is_exact same_dump "$A" "$B"
check verify_equal status 0 a verify "$B"
mail "$TMP/m" 10 S; a mirror "$M"
check verify_differs status 1 a verify "$B"
check verify_differs_says says ' differences' a verify "$B"

printf 'mail_location = %s\nremote = disk\nremote disk {\n\tlocation = %s\n\tmode = backup\n}\n' "$A" "$B" >"$TMP/remote.conf"
check flush status 0 "$SYNC" -c "$TMP/remote.conf" flush --wait
check flush_is_exact same_dump "$A" "$B"
check mirror_by_name status 0 "$SYNC" -c "$TMP/remote.conf" mirror disk
check flush_without_remote status 78 a flush

# ---- looking
check status_peers says "$M" a status
check status_store says 'messages: 10' a status
check status_json json_ok a --json status
check mailboxes says 'Work guid=' a mailboxes
check mailboxes_json json_ok a --json mailboxes
check dump says 'mailbox INBOX guid=' a dump
check dump_location says 'mailbox INBOX guid=' "$SYNC" dump "$M"
check log says 'save uid=' a log
check_not log_of_one_mailbox says ' INBOX ' a log Work
check log_json json_ok a --json log
cursor=$(a log --cursor | sed -n '$s/^cursor //p')
check log_cursor test -n "$cursor"
check log_from_cursor_is_empty test -z "$(a log --from "$cursor")"
check conflicts status 0 a conflicts
check conflicts_json json_ok a --json conflicts
"$SYNC" -o "mail_location=$A" log --follow >follow.out 2>&1 &
follower=$!
check log_follow_shows_what_is_there wait_for grep -q 'save uid=' follow.out
lines=$(wc -l <follow.out)
mail "$TMP/m" 11 S; a -l 10 mirror "$M"
check log_follow_goes_on wait_for bash -c '[ "$(wc -l <follow.out)" -gt '"$lines"' ]'
kill $follower; wait $follower
check log_follow_ends_well test $? = 0

# ---- upkeep
check verify status 0 a verify
check verify_json json_ok a --json verify
check verify_rebuild status 0 a verify --rebuild
check verify_repair_dry status 0 a verify --repair --dry-run
check compact status 0 a compact
check compact_json json_ok a --json compact

# ---- restore
rm "$TMP"/m/cur/170000001.*
check expunge_is_mirrored status 0 a mirror "$M"
full=$(messages "$A")
check restore_list says ' guid=' a restore --list
check restore_list_json json_ok a --json restore --list
check restore_nothing_named status 64 a restore
check restore_sync says '1 of 1 restored' a restore --sync
check restore_is_back test "$(messages "$A")" = $((full + 1))
check restore_again says '0 of 1 restored' a restore --sync
check restored_reaches_the_peer status 0 a mirror "$M"
check restored_is_equal same_dump "$A" "$M"
check restore_since status 0 a restore INBOX --since 1d
check restore_unknown_guid says '0 of 0 restored' a restore --guid nosuchguid

is() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

# ---- a run that has nothing to do writes nothing, but for when it was
files_of() { find "$@" ! -path '*/peers/*' ! -name peers ! -type s -printf '%p %s %T@ ' \( -type f -exec sha1sum {} \; -o -printf '\n' \) | sort; }
idle="dsyncfs:$TMP/idle"
check idle_first status 0 a mirror "$idle"
log_end=$(a log --cursor | tail -1); before=$(files_of a idle)
check idle_again status 0 a mirror "$idle"
check idle_left_the_log is "$(a log --cursor | tail -1)" "$log_end"
check idle_touched_no_file is "$(files_of a idle)" "$before"
check idle_is_seen_by_status says 'peer dsyncfs:' a status
quiet() { before=$(files_of a m); a mirror "$M" && is "$(files_of a m)" "$before"; }
# A Maildir's time stamps are believed when they are some seconds old.
check idle_leaves_a_settled_maildir wait_for quiet
rm a/peers/*
check idle_notes_are_not_needed says 'no peers' a status
echo damaged >a/peers/00112233445566778899aabbccddeeff
check idle_notes_that_are_damaged_are_none says 'no peers' a status
check idle_notes_come_back status 0 a mirror "$idle"
check idle_notes_are_back says "peer $idle" a status

# ---- a state from outside
s="dsyncfs:$TMP/s" t="maildir:$TMP/t"
maildir_new "$TMP/t"
for i in 10 11 12; do mail "$TMP/t" $i S; done
s() { "$SYNC" -o "mail_location=$s" "$@"; }
# Prints what a state string holds: mailboxes, then UID and count of each.
state_of() { python3 -c 'import base64,struct,sys,zlib
raw=base64.b64decode(sys.argv[1],validate=True)
assert raw[:4]==b"\1\0\0\0" and (len(raw)-8)%44==0 and struct.unpack("<I",raw[-4:])[0]==zlib.crc32(raw[:-4])
print((len(raw)-8)//44, *sorted(f"{u}/{n}" for g,v,u,m,p,n in struct.iter_unpack("<16sIIQQI",raw[4:-4])))' "$1"; }
state=$(s -s '' mirror "$t")
check state_is_printed is "$(state_of "$state")" "1 3/3"
mail "$TMP/t" 13 S; maildir_new "$TMP/t/.Sub"; mail "$TMP/t/.Sub" 14
state=$(s -s "$state" mirror "$t")
check state_of_both_mailboxes is "$(state_of "$state")" "2 1/1 4/4"
check state_run_syncs same_dump "$s" "$t"
rm -r "$TMP/t/.Sub"
state=$(s -s "$state" mirror "$t")
check state_of_a_mailbox_that_is_gone_is_dropped is "$(state_of "$state")" "1 4/4"
check state_by_backup is "$(state_of "$(s -s "$state" backup "dsyncfs:$TMP/s2")")" "1 4/4"
check state_full is "$(state_of "$(s -f -s nonsense mirror "$t")")" "1 4/4"
check state_bad_is_said says 'option -s: the state is not valid' s -s nonsense mirror "$t"
check state_bad_goes_on is "$(state_of "$(s -s nonsense mirror "$t" 2>/dev/null)")" "1 4/4"
check state_bad_ends_well status 0 s -s nonsense mirror "$t"
check state_v0_is_empty is "$(state_of "$(s -s AAAAAA== mirror "$t")")" "1 4/4"
check state_json json_ok s --json -s "$state" mirror "$t"
check state_json_holds_it says "\"state\":\"$state\"" s --json -s "$state" mirror "$t"
check state_not_in_a_dry_run is "" "$(s --dry-run -s "$state" mirror "$t")"
rm "$TMP"/t/cur/*13*
state2=$(s --max-delete=1% -o max_delete_min=1 -s "$state" mirror "$t" 2>/dev/null)
check state_after_a_failure is "$(state_of "$state2")" "1 4/4"

# ---- conflicts: two stores, each with a Maildir by which it is changed
rm -rf ca cb ha hb
maildir_new ha; maildir_new ha/.Box
for i in 10 11 12 13; do mail ha $i S; done
mail ha/.Box 14 S
hand() { "$SYNC" -o "mail_location=dsyncfs:$TMP/c$1" mirror "maildir:$TMP/h$1"; }
ca() { "$SYNC" -o "mail_location=dsyncfs:$TMP/ca" "$@"; }
cb() { "$SYNC" -o "mail_location=dsyncfs:$TMP/cb" "$@"; }
hand a && ca mirror "dsyncfs:$TMP/cb" && maildir_new hb && hand b
check conflicts_none_yet is "$(ca conflicts)" ""
file_of() { grep -rl "^body $2\$" "$1" --exclude-dir=dsyncfs-sidecar; }
f=$(file_of ha 10); mv "$f" "${f%:2,*}:2,FS"		# a flag here, an expunge there
rm "$(file_of hb 10)"
mail ha 20 S; mail hb 21 S				# one UID for two mails
maildir_new ha/.New; maildir_new hb/.New		# one name for two mailboxes
mail ha/.Box 15						# new mail in what is deleted there
rm -r hb/.Box
hand a; hand b
check conflicts_are_settled status 0 ca mirror "dsyncfs:$TMP/cb"
check conflicts_settled_alike same_dump "dsyncfs:$TMP/ca" "dsyncfs:$TMP/cb"
for side in ca cb; do
	check "conflicts_in_$side: expunge" says "INBOX uid=1 with dsyncfs:" $side conflicts
	check "conflicts_in_$side: expunge, rule and outcome" says "expunged on one side, flags changed on the other; an expunge wins: expunged" $side conflicts
	check "conflicts_in_$side: UIDs" says "both sides have used UID 5, for different messages; it gets the next UID that is free on both sides: now UID 6" $side conflicts
	check "conflicts_in_$side: names" says "New with dsyncfs:" $side conflicts
	check "conflicts_in_$side: names, rule and outcome" says "both sides have made a mailbox of this name; the larger GUID stays: one mailbox with the mail of both" $side conflicts
	check "conflicts_in_$side: deletion" says "deleted on one side, its mail changed on the other; a deletion wins: deleted" $side conflicts
	check "conflicts_in_$side: each once" is "$($side conflicts | sed 's/^[^ ]* //' | sort | uniq -d)" ""
	check "conflicts_in_$side: json" json_ok $side --json conflicts
done
check conflicts_name_the_peer is "$(ca conflicts | grep -vc "with dsyncfs:$TMP/cb:")" 0
many=$(ca conflicts | wc -l)
check conflicts_again_none status 0 ca mirror "dsyncfs:$TMP/cb"
check conflicts_again_none_new is "$(ca conflicts | wc -l)" "$many"

# ---- restore: what a sync took away, in every way, and it stays
gone() { local i; for i in "$@"; do rm "$(file_of hb "$i")"; done; hand b && ca --no-max-delete mirror "dsyncfs:$TMP/cb"; }
in_all() {	# N: the mail is in both stores and both Maildirs
	hand a && ca mirror "dsyncfs:$TMP/cb" && hand b && hand a && ca mirror "dsyncfs:$TMP/cb" || return 1
	[ "$(file_of ha "$1" | wc -l)" = 1 ] && [ "$(file_of hb "$1" | wc -l)" = 1 ] || { echo "mail $1 is not there once"; return 1; }
	same_dump "dsyncfs:$TMP/ca" "dsyncfs:$TMP/cb"
}
gone 11
check restore_by_mailbox says '1 of 1 restored' ca restore --since 1h INBOX --uid 2
check restored_by_mailbox_stays in_all 11
gone 12
check restore_by_guid says '1 of 1 restored' ca restore --guid 1700000012.M12.test
check restored_by_guid_stays in_all 12
gone 13
check restore_by_time says ' restored as uid=' ca restore --since 1h
check restored_by_time_stays in_all 13
gone 11 12
ca mirror "maildir:$TMP/ha"	# a run of another peer, and one with nothing to do
ca mirror "dsyncfs:$TMP/cb"
check restore_of_a_sync says '2 of ' ca restore --sync
check restored_of_a_sync_stays in_all 11
check restored_of_a_sync_stays_too in_all 12
check restored_with_its_flags says "$(ca dump | grep -o 'guid=1700000011[^ ]* .*flags=.Seen ')" cb dump
maildir_new ha/.Gone; mail ha/.Gone 30 FS; hand a && ca mirror "dsyncfs:$TMP/cb" && hand b
rm -r hb/.Gone; hand b; ca --no-max-delete mirror "dsyncfs:$TMP/cb"
check restore_of_a_mailbox_that_was_deleted says '1 of 1 restored' ca restore Gone
check restored_mailbox_stays in_all 30
check restored_mailbox_is_there says 'mailbox Gone ' cb dump
# Taken back on both sides: one message, not two.
gone 13
{ ca restore --guid 1700000013.M13.test; cb restore --guid 1700000013.M13.test; } >/dev/null
check restored_twice_is_one in_all 13
check restored_twice_is_one_message is "$(ca dump | grep -c 'guid=1700000013.M13.test ')" 1

# ---- the guard
c="dsyncfs:$TMP/c" n="maildir:$TMP/n"
maildir_new "$TMP/n"
for i in $(seq 10 40); do mail "$TMP/n" "$i" S; done
"$SYNC" -o "mail_location=$c" mirror "$n"
rm "$TMP"/n/cur/*
check max_delete_stops status 4 "$SYNC" -o "mail_location=$c" mirror "$n"
check max_delete_says_one_line one_line "$SYNC" -o "mail_location=$c" mirror "$n"
check max_delete_says_what says 'mailbox INBOX would lose 31 of its 31 messages, which max_delete = 50% does not allow; nothing was changed in it. If that is right, run again with --no-max-delete' "$SYNC" -o "mail_location=$c" mirror "$n"
check max_delete_holds_in_a_dry_run status 4 "$SYNC" -o "mail_location=$c" --dry-run mirror "$n"
check max_delete_kept test "$(messages "$c")" = 31
check max_delete_is_shown says 'status 4' "$SYNC" -o "mail_location=$c" status
check max_delete_raised status 0 "$SYNC" -o "mail_location=$c" --max-delete=100% mirror "$n"
check max_delete_done test "$(messages "$c")" = 0
# An emptied mailbox, small though it is; mail that moved away; a mailbox with mail.
maildir_new "$TMP/n/.Old"; maildir_new "$TMP/n/.Pile"
for i in 50 51 52 53 54 55; do mail "$TMP/n" "$i" S; mail "$TMP/n/.Old" "9$i" S; done
check max_delete_refill status 0 "$SYNC" -o "mail_location=$c" mirror "$n"
mv "$TMP"/n/cur/* "$TMP/n/.Pile/cur/"
check max_delete_lets_moved_mail_go status 0 "$SYNC" -o "mail_location=$c" mirror "$n"
rm "$TMP"/n/.Pile/cur/*
check max_delete_stops_at_an_emptied_one says 'mailbox Pile would lose 6 of its 6 messages' "$SYNC" -o "mail_location=$c" mirror "$n"
check max_delete_configured status 0 "$SYNC" -o "mail_location=$c" -o max_delete=no mirror "$n"
rm -r "$TMP/n/.Old"
check max_delete_stops_at_a_deleted_one says 'mailbox Old with its 6 messages would be deleted' "$SYNC" -o "mail_location=$c" mirror "$n"
check max_delete_stops_a_backup status 4 "$SYNC" -o "mail_location=$c" backup -R "$n"
check max_delete_overridden status 0 "$SYNC" -o "mail_location=$c" --no-max-delete mirror "$n"
check max_delete_is_equal_then same_dump "$c" "$n"

# ---- wrong input: one line, the right status
bad() {
	local want=$1 name="bad ${*:3}"
	shift
	check "$name: status" status "$want" "$@"
	check "$name: one line" one_line "$@"
}
bad 1 "$SYNC" dump dsyncfs:none
bad 1 "$SYNC" dump maildir:none
bad 64 "$SYNC" dump nosuch:none
bad 64 "$SYNC" mirror host.example/path
bad 64 "$SYNC" mirror me@-oProxyCommand=x
bad 64 "$SYNC" mirror tcp:host
bad 64 "$SYNC" mirror tcps:host:99999
bad 64 "$SYNC" mirror imap://host/
bad 64 "$SYNC" mirror "server | cat"
bad 64 "$SYNC" -U mirror maildir:none
bad 64 "$SYNC" dsync-server now
bad 69 "$SYNC" mirror tcp:127.0.0.1:1
bad 69 "$SYNC" mirror /nonexistent/server dsync-server
bad 64 "$SYNC" mirror ./m
bad 64 "$SYNC" dump maildir:m:nosuch=1
bad 64 "$SYNC" -u no-such-user-here status
bad 64 "$SYNC" -s '' status
mkdir notastore; echo x >notastore/x
check not_a_store_status status 1 "$SYNC" dump dsyncfs:notastore
check not_a_store_line one_line "$SYNC" dump dsyncfs:notastore
check not_a_store_is_left status 1 a mirror dsyncfs:notastore
check not_a_store_untouched test "$(ls notastore)" = x
echo x >afile
check file_status status 1 "$SYNC" dump dsyncfs:afile
# A store that another process owns: the lock is held from here.
check owned_status python3 - "$SYNC" "$A" <<'P'
import fcntl, os, struct, subprocess, sys
fd = os.open("a/lock", os.O_RDWR)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))	# F_OFD_SETLK
r = subprocess.run([sys.argv[1], "dump", sys.argv[2]], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
print(r)
sys.exit(not (r.returncode == 75 and r.stderr.count(b"\n") == 1))
P
if [ "$(id -u)" = 0 ]; then
	mkdir -m 700 secret; "$SYNC" -o "mail_location=$A" backup dsyncfs:secret/s
	chmod 755 "$TMP" "$HOME"
	check unreadable status 77 "$SYNC" -u nobody dump "dsyncfs:$TMP/secret/s"
	check unreadable_line one_line "$SYNC" -u nobody dump "dsyncfs:$TMP/secret/s"
	check unreadable_config status 77 bash -c 'chmod 600 new.conf; "$0" -u nobody -c "$PWD/new.conf" status' "$SYNC"
fi

# ---- signals: what is being done ends, and is finished by the next run
check interrupted_run_is_finished bash -c '
	"$0" -o "mail_location=dsyncfs:$1/sig" mirror "maildir:$1/m" & kill -TERM $!; wait $!
	"$0" -l 10 -o "mail_location=dsyncfs:$1/sig" mirror "maildir:$1/m"' "$SYNC" "$TMP"
check interrupted_run_is_equal same_dump "dsyncfs:$TMP/sig" "$M"
finish
