#!/bin/bash
# mount_push -- sync = push between two dsyncfs keeps its connection: what changes over there comes at once, by a mount, a command or a
# sync there, and again when the connection was lost; and all is quiet when nothing changes.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs doveadm
FAR=$TMP/far-store SIDE=$TMP/side FARMNT=$TMP/far-mnt
far_script() {	# NAME STORE
	script "$1" <<<"#!/bin/sh
echo x >>$TMP/$1.calls
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$2 \"\$@\""
	: >"$TMP/$1.calls"
}
far_script far "$FAR"
far_script near "$STORE"
calls() { wc -l <"$TMP/$1.calls"; }
same() { [ "$(dump "dsyncfs:$STORE")" = "$(dump "dsyncfs:$FAR")" ]; }
has() { dump "dsyncfs:$1" | grep -q "$2"; }
connected() { grep -q '^    connected: ' "${1:-$MNT}/.dsyncfs/status"; }
far_server() { pgrep -f "mail_location=dsyncfs:$FAR dsync-server"; }

check "a mount" mount_store "$STORE" "$MNT" "remote=$TMP/bin/far dsync-server,sync=push"
deliver_one "$MNT" 1700000601.M1.a one
check "what is new here is pushed" within 30 has "$FAR" 1700000601.M1.a
check "the connection stays" within 30 connected
check "so it is known that nothing waits there" within 30 grep -q "^    waiting there: none" "$MNT/.dsyncfs/status"
check "as JSON, too" says '"connected":true' "$SYNC" -o "mail_location=dsyncfs:$STORE" --json status
check "and holds nothing over there" within 30 "$SYNC" -o "mail_location=dsyncfs:$FAR" compact
maildir_new "$SIDE"
mail "$SIDE" 71
check "mail comes there by a command" again "$SYNC" -o "mail_location=dsyncfs:$FAR" mirror "maildir:$SIDE"
has_mails() { [ "$(find "$MNT"/{cur,new} -type f | wc -l)" = "$1" ]; }
check "and here" within 30 has_mails 2
check "it is mounted there" mount_store "$FAR" "$FARMNT"
deliver_one "$FARMNT" 1700000602.M1.b two
check "what is new there comes here" within 30 test -e "$MNT/new/1700000602.M1.b"
check "it is read here" mv "$MNT/new/1700000602.M1.b" "$MNT/cur/1700000602.M1.b:2,S"
check "and there" within 30 test -e "$FARMNT/cur/1700000602.M1.b:2,S"
check "it is answered there" mv "$FARMNT/cur/1700000602.M1.b:2,S" "$FARMNT/cur/1700000602.M1.b:2,RS"
check "and here" within 30 test -e "$MNT/cur/1700000602.M1.b:2,RS"
for i in 1 2 3 4 5 6 7 8; do
	deliver_one "$MNT" "170000061$i.M1.a" "a$i"
	deliver_one "$FARMNT" "170000061$i.M1.b" "b$i"
	sleep 0.2
done
check "both at a time" within 30 has_mails 19
check "come to the same" within 30 same
check_fast "by one connection" test "$(calls far)" = 1

# ---- it ends ----
server=$(far_server)
check "the server is killed" kill -9 "$server"
deliver_one "$FARMNT" 1700000603.M1.b three
check "a new one comes" within 30 test -e "$MNT/new/1700000603.M1.b"
check "and stays" within 30 connected
check "the mount over there ends" umount_store "$FAR" "$FARMNT"
check "which is not the connection's end" connected
check "the store is a command's" again "$SYNC" -o "mail_location=dsyncfs:$FAR" mirror "maildir:$SIDE"
deliver_one "$MNT" 1700000604.M1.a four
check "and still pushed to" within 30 has "$FAR" 1700000604.M1.a
check "it is mounted there again" mount_store "$FAR" "$FARMNT" "remote=$TMP/bin/near dsync-server,sync=push"

# ---- the process that has reached it is killed, also while mail goes over ----
client() { pgrep -f "mail_location=dsyncfs:$STORE .*--session"; }
killed=0
for i in 1 2 3 4 5 6; do
	deliver_one "$MNT" "170000064$i.M1.a" "e$i"
	deliver_one "$FARMNT" "170000064$i.M1.b" "f$i"
	sleep 0.$i
	pid=$(client) && kill -9 $pid && killed=$((killed + 1))
done
check "it was there to be killed: $killed times" test "$killed" -ge 2
check "all mail is on both sides" within 60 has_mails 33
check "the same" within 60 same
check "and there is a connection" within 60 connected
client >"$TMP/clients"
check_fast "by one process" test "$(wc -l <"$TMP/clients")" = 1

# ---- both push to each other ----
check "the other way, too" within 30 connected "$FARMNT"
for i in 1 2 3 4 5 6; do
	deliver_one "$MNT" "170000062$i.M1.a" "c$i"
	deliver_one "$FARMNT" "170000062$i.M1.b" "d$i"
	sleep 0.3
done
check "all is everywhere" within 60 has_mails 45
check "the same" within 30 same
quiet() { local a; a=$(syncs); sleep 2; [ "$a" = "$(syncs)" ]; }
syncs() { stat -c %Y%Z "$STORE"/peers/* "$FAR"/peers/*; sed -n 's/^    last success: //p' "$MNT/.dsyncfs/status" "$FARMNT/.dsyncfs/status"; }
check "then nothing more is said" within 30 quiet
equal "no mail is there twice" "" "$(dump "dsyncfs:$STORE" | grep -o ' guid=[^ ]*' | sort | uniq -d)"
check "one ends" umount_store "$FAR" "$FARMNT"
check "the other ends" umount_store "$STORE" "$MNT"
gone() { ! far_server >/dev/null; }
check "and its server" within 30 gone

# ---- who cannot do it ----
dovecot_conf box "mdbox:$TMP/dovecot/box/mdbox"
chmod 755 "$TMP"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
script dovecot <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
STORE=$TMP/third
check "a mount with a Dovecot" mount_store "$STORE" "$MNT" "remote=$TMP/bin/dovecot dsync-server,sync=push"
deliver_one "$MNT" 1700000605.M1.a five
dovecot_has() { doveadm_dump box | grep -q 1700000605.M1.a; }
check "gets its mail" within 30 dovecot_has
check_not "and hangs up" connected
check "it ends" umount_store "$STORE" "$MNT"
finish
