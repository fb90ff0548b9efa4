#!/bin/bash
# tcp_dovecot -- doveadm's protocol over TCP and TLS with a real Dovecot: who is let in, what is said to who is not, and a whole
# dsync of Dovecot with itself through our links.
. "$(dirname "$0")/../lib.sh"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CAT=$BIN/tests/interop/link_cat
for p in dovecot doveadm openssl python3 strace; do
	command -v $p >/dev/null || { echo "FAIL: $p is not installed: make deps"; exit 1; }
done
[ -x "$CAT" ] || { echo "FAIL: $CAT is not built: make interop-programs"; exit 1; }
TMP=$(realpath "$TMP")
chmod 755 "$TMP"
D=$TMP/dovecot CONF=$TMP/dovecot/dovecot.conf
mkdir -p "$D"/{run,state,home}

# ---- certificates: a CA, one for the host's name and address, one for another ----
certificate() {	# NAME SUBJECT-ALT-NAME
	openssl req -new -newkey rsa:2048 -nodes -keyout "$D/$1.key" -subj "/CN=$1" -out "$D/$1.csr" 2>/dev/null &&
		openssl x509 -req -in "$D/$1.csr" -CA "$D/ca.pem" -CAkey "$D/ca.key" -CAcreateserial -days 2 \
			-extfile <(echo "subjectAltName=$2") -out "$D/$1.pem" 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$D/ca.key" -subj "/CN=test CA" -days 2 -out "$D/ca.pem" 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$D/ca2.key" -subj "/CN=other CA" -days 2 -out "$D/ca2.pem" 2>/dev/null
check "a certificate for localhost" certificate good "DNS:localhost,IP:127.0.0.1"
check "one for another host" certificate bad "DNS:elsewhere.example"

# ---- Dovecot ----
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
PORT=$(free_port) TLS=$(free_port)
if [ "$(id -u)" = 0 ]; then
	internal=dovecot group=dovecot login=dovenull uid=65534 gid=65534
else
	internal=$(id -un) group=$(id -gn) login=$internal uid=$(id -u) gid=$(id -g)
fi
cat >"$CONF" <<C
base_dir = $D/run
state_dir = $D/state
instance_name = test$PORT
protocols =
listen = 127.0.0.1
ssl = yes
ssl_cert = <$D/good.pem
ssl_key = <$D/good.key
log_path = $D/log
default_internal_user = $internal
default_internal_group = $group
default_login_user = $login
first_valid_uid = 1
first_valid_gid = 1
mail_uid = $uid
mail_gid = $gid
mail_home = $D/home/%u
mail_location = maildir:~/Maildir
mail_fsync = never
stats_writer_socket_path =
doveadm_password = open sesame
namespace inbox {
  inbox = yes
  separator = /
}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = username_format=%u $D/users
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service doveadm {
  inet_listener {
    port = $PORT
  }
  inet_listener {
    port = $TLS
    ssl = yes
  }
}
local 127.0.0.2 {
  ssl_cert = <$D/bad.pem
  ssl_key = <$D/bad.key
}
C
for u in near far; do echo "$u::$uid:$gid::$D/home/$u"; mkdir "$D/home/$u"; done >"$D/users"
[ "$(id -u)" != 0 ] || chown -R $uid:$gid "$D/home"
dovecot_down() { [ ! -f "$D/run/master.pid" ] || kill "$(cat "$D/run/master.pid")"; }
on_exit dovecot_down
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
dovecot_up() { dovecot -c "$CONF" >"$D/out" 2>&1; }
check "Dovecot starts" dovecot_up
check "and listens" wait_for answers "$TLS"

# ---- who is let in ----
printf 'open sesame\n' >"$TMP/pass"
chmod 600 "$TMP/pass"
# talk STATUS OPTIONS...: nothing is said to the far side; its words in $TMP/out, ours in $TMP/err
talk() {
	local want=$1 rc
	shift
	timeout -s KILL 60 "$CAT" -v "$@" </dev/null >"$TMP/out" 2>"$TMP/err"
	rc=$?
	cat "$TMP/err"
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
}
hears_dsync() { [ "$(head -1 "$TMP/out")" = "VERSION	dsync	3	5" ]; }
heard() { [ ! -s "$TMP/out" ] && grep -qE -- "$1" "$TMP/err"; }
check "with the password" talk 0 -u far -K "$TMP/pass" tcp "tcp:127.0.0.1:$PORT"
check "dsync begins at the first byte" hears_dsync
check "with the password from a command" talk 0 -u far -P "echo open sesame" tcp "tcp:localhost:$PORT"
check "the same" hears_dsync
check "with a wrong password" talk 77 -u far -P "echo friend" tcp "tcp:127.0.0.1:$PORT"
check "is told so" heard "permission denied: wrong doveadm password"
check "without one" talk 77 -u far tcp "tcp:127.0.0.1:$PORT"
check "is told so" heard "set doveadm_password"
check "a user that is not there" talk 69 -u nobody-there -K "$TMP/pass" tcp "tcp:127.0.0.1:$PORT"
check "is told so" heard "no such user"
check "without a user" talk 64 -K "$TMP/pass" tcp "tcp:127.0.0.1:$PORT"
check "is told so" heard "whose mail"
check "without a port" talk 64 -u far -K "$TMP/pass" tcp "tcp:127.0.0.1"
check "is told so" heard "no port: write tcp:HOST:PORT"

# ---- TLS ----
# Dovecot, which does not get what it waits for, closes without TLS's goodbye: that is told from an end.
check "TLS" talk 75 -u far -K "$TMP/pass" -a "$D/ca.pem" tcp "tcps:localhost:$TLS"
check "dsync begins at the first byte" hears_dsync
check "TLS by address" talk 75 -u far -K "$TMP/pass" -a "$D/ca.pem" tcp "tcps:127.0.0.1:$TLS"
check "dsync begins at the first byte" hears_dsync
check "a CA that the system does not have" talk 77 -u far -K "$TMP/pass" tcp "tcps:localhost:$TLS"
check "is told so" heard "not trusted.*ssl_client_ca_file"
check "another CA" talk 77 -u far -K "$TMP/pass" -a "$D/ca2.pem" tcp "tcps:localhost:$TLS"
check "is told so" heard "not trusted"
check "TLS to a port without it" talk 75 -u far -K "$TMP/pass" -a "$D/ca.pem" -t 2000 tcp "tcps:localhost:$PORT"
check "no TLS to a port with it" talk 75 -u far -K "$TMP/pass" -t 2000 tcp "tcp:localhost:$TLS"
check_not "the password is in no log" grep -rq "sesame" "$D/log" "$TMP/err"

# the same Dovecot with the other certificate
sed -i "s|$D/good\.|$D/bad.|" "$CONF"
check "another certificate" doveadm -c "$CONF" reload
check "the certificate of another host" wait_for talk 77 -u far -K "$TMP/pass" -a "$D/ca.pem" tcp "tcps:localhost:$TLS"
check "is told so" heard "not trusted as that of localhost: (hostname mismatch|IP address)"
sed -i "s|$D/bad\.|$D/good.|" "$CONF"
check "the right one again" doveadm -c "$CONF" reload
check "it works" wait_for talk 75 -u far -K "$TMP/pass" -a "$D/ca.pem" tcp "tcps:localhost:$TLS"

# ---- dsync through it ----
letter() { printf 'From: a@example.org\nSubject: %s\nMessage-ID: <%s@test>\n\nbody of %s\n' "$1" "$1" "$1"; }
da() { doveadm -c "$CONF" "$@"; }
mail_of() { da fetch -u "$1" "mailbox guid flags hdr.subject" all | sort; }
for i in 1 2 3 4 5; do letter "near$i" | da save -u near; done
{ letter big; head -c 3000000 /dev/urandom | base64; } >"$TMP/big"
da save -u near <"$TMP/big"
da mailbox create -u near Work; letter work | da save -u near -m Work
want=7
for where in "tcp:localhost:$PORT" "tcps:localhost:$TLS"; do
	through=("$CAT" -u far -K "$TMP/pass" -a "$D/ca.pem" tcp "$where")
	da flags add -u near '\Seen $label' mailbox INBOX $((want - 5))
	# doveadm adds the word dsync-server, which link_cat passes over
	check "doveadm backup through ${where%%:*}" da backup -u near "${through[@]}"
	check "both sides are the same" cmp <(mail_of near) <(mail_of far)
	check "with all mail" test "$(da search -u far all | wc -l)" = $want
	da save -u far -m Work <"$TMP/big"; da expunge -u far mailbox INBOX 1
	letter more | da save -u far
	want=$((want + 1))
	check "and the other way round" da backup -R -u near "${through[@]}"
	check "both sides are the same" cmp <(mail_of near) <(mail_of far)
	check "with all mail" test "$(da search -u near all | wc -l)" = $want
done
# ---- the commands ----
ours() {	# LOCATION2
	"$SYNC" -o "mail_location=dsyncfs:$TMP/store" -o "doveadm_password_file=$TMP/pass" -o "ssl_client_ca_file=$D/ca.pem" mirror "$1"
}
for where in "tcp:far@localhost:$PORT" "tcps:far@localhost:$TLS"; do
	letter "ours${where%%:*}" | da save -u far
	check "dsyncfs-sync mirror ${where%%:*}" again ours "$where"
	check "has all mail" test "$("$SYNC" dump "dsyncfs:$TMP/store" | grep -c sha1=)" = "$(da search -u far all | wc -l)"
done
# ---- check-config: Dovecot answers, and has nothing to say about it ----
{
	printf 'mail_location = dsyncfs:%s\ndoveadm_password_file = %s\nssl_client_ca_file = %s\n' "$TMP/store" "$TMP/pass" "$D/ca.pem"
	printf 'remote plain {\nlocation = tcp:far@localhost:%s\n}\nremote tls {\nlocation = tcps:far@localhost:%s\n}\n' "$PORT" "$TLS"
} >"$TMP/check.conf"
errors=$(grep -c Error "$D/log") before=$(mail_of far)
check "check-config" "$SYNC" check-config "$TMP/check.conf"
check "says who answers" eval '[ "$("$SYNC" check-config "$TMP/check.conf" 2>&1 | grep -c "works: a Dovecot (dsync) answers")" = 2 ]'
check "no error in the log" test "$(grep -c Error "$D/log")" = "$errors"
check "and no other mail" test "$(mail_of far)" = "$before"
check "no password" eval '"$SYNC" -o doveadm_password_file=/dev/null check-config "$TMP/check.conf"; [ $? = 77 ]'
# ---- the password is said to the server alone ----
# What is run, with all its words and its environment, what is said, and the copy of the traffic: none has it, in no form.
SECRETS=$(printf '%s\n' sesame "$(printf '\0doveadm\0open sesame' | base64)" "$(printf 'open sesame' | base64)")
quiet() { ! grep -rqaF -- "$SECRETS" "$TMP/strace" "$TMP/err" "$TMP/raw" "$D/log"; }
cat >"$TMP/pass.conf" <<C
mail_location = dsyncfs:$TMP/store
doveadm_password_command = cat $TMP/pass
ssl_client_ca_file = $D/ca.pem
C
traced() { ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -v -s 4096 -e trace=execve -o "$TMP/strace" "$SYNC" -c "$TMP/pass.conf" -v -D -r "$TMP/raw" "$@" >"$TMP/err" 2>&1; }
for where in "tcp:far@localhost:$PORT" "tcps:far@localhost:$TLS"; do
	letter "command${where%%:*}" | da save -u far
	check "${where%%:*}, the password from a command" again traced mirror "$where"
	check "has all mail" test "$("$SYNC" dump "dsyncfs:$TMP/store" | grep -c sha1=)" = "$(da search -u far all | wc -l)"
	check "the command was run" grep -q "execve.*cat.*$TMP/pass" "$TMP/strace"
	check "${where%%:*}: the password is said to nobody else" quiet
done
check "the copy of the traffic is there" test -s "$TMP/raw"
printf 'closed sesame\n' >"$TMP/pass"
check "a wrong one from a command" status 77 traced mirror "tcp:far@localhost:$PORT"
check "is told so" grep -q "permission denied: wrong doveadm password" "$TMP/err"
check "and is not said either" quiet
check "the password cannot be a setting" status 64 eval '"$SYNC" -o "doveadm_password=open sesame" mirror tcp:far@localhost:$PORT >"$TMP/err" 2>&1'
check "is told so" grep -q "doveadm_password_file" "$TMP/err"
check "without saying it" quiet
printf 'doveadm_password = open sesame\n' >"$TMP/open.conf"
check "nor in a file" status 78 eval '"$SYNC" -c "$TMP/open.conf" mirror tcp:far@localhost:$PORT >"$TMP/err" 2>&1'
check "is told so, with the line" grep -q "open.conf:1:.*doveadm_password_file" "$TMP/err"
check "without saying it" quiet
check "a command that fails" status 77 eval '"$SYNC" -c "$TMP/pass.conf" -o "doveadm_password_command=false" mirror tcp:far@localhost:$PORT >"$TMP/err" 2>&1'
printf 'open sesame\n' >"$TMP/pass"

check "a user that is not there" status 69 ours "tcp:nobody-there@localhost:$PORT"
check "another certificate authority" status 77 "$SYNC" -o "mail_location=dsyncfs:$TMP/store" -o "doveadm_password_file=$TMP/pass" \
	-o "ssl_client_ca_file=$D/ca2.pem" mirror "tcps:far@localhost:$TLS"
printf 'friend\n' >"$TMP/pass"
check "a wrong password" status 77 ours "tcp:far@localhost:$PORT"
chmod 644 "$TMP/pass"
check "a file that others can read" status 77 ours "tcp:far@localhost:$PORT"
check "Dovecot saw no error" test -z "$(grep -E 'Panic|Fatal|Error: (dsync|Remote)' "$D/log" | grep -v 'read(.*) failed: EOF')"
finish
