# dovecot -- a throw-away Dovecot: no daemon, nothing outside $TMP.  Sourced.
#
# Dovecot lets no root have mail.  Where the tests run as root its programs run in
# a user namespace in which root's files, and root's mounts, are user 1000's.
#
#	dovecot_conf NAME MAIL_LOCATION		makes configuration NAME
#	da NAME ARGS...				doveadm with it
#	lda NAME ARGS...			dovecot-lda with it
#	doveadm_dump NAME			all mail state in the format of `dsyncfs-sync dump`
#	imap_of NAME				makes $TMP/bin/imap-NAME, an IMAP server with it
#	dovecot_lmtp_up, lmtp_send		a server for LMTP with it, and its client
needs doveadm dovecot dovecot-lda unshare

as_mail_user() {
	if [ "$(id -u)" = 0 ]; then
		unshare --user --map-user=1000 --map-group=1000 "$@"
	else
		"$@"
	fi
}

dovecot_conf() {
	local d=$TMP/dovecot/$1 user uid gid
	uid=$(as_mail_user id -u) gid=$(as_mail_user id -g) user=nobody
	[ "$(id -u)" = 0 ] || user=$(id -un)
	mkdir -p "$d/run" "$d/state" "$d/home"
	cat >"$d/dovecot.conf" <<C
base_dir = $d/run
state_dir = $d/state
protocols =
ssl = no
log_path = $d/log
info_log_path = $d/info
default_internal_user = $user
default_internal_group = nogroup
default_login_user = $user
first_valid_uid = 0
first_valid_gid = 0
mail_uid = $uid
mail_gid = $gid
mail_home = $d/home
mail_location = $2
stats_writer_socket_path =
maildir_very_dirty_syncs = no
mail_fsync = never
lda_mailbox_autocreate = yes
lda_mailbox_autosubscribe = yes
postmaster_address = postmaster@example.org
hostname = test.example.org
namespace inbox {
  inbox = yes
  separator = /
}
C
}

da() {
	local n=$1
	shift
	USER=mail HOME=$TMP/dovecot/$n/home as_mail_user doveadm -c "$TMP/dovecot/$n/dovecot.conf" "$@"
}

lda() {
	local n=$1
	shift
	USER=mail HOME=$TMP/dovecot/$n/home as_mail_user dovecot-lda -c "$TMP/dovecot/$n/dovecot.conf" "$@"
}

doveadm_dump() {
	USER=mail HOME=$TMP/dovecot/$1/home as_mail_user python3 "$ROOT/tests/interop/dump_doveadm.py" \
		"$TMP/dovecot/$1/dovecot.conf" "${@:2}"
}

# NAME: a command that is an IMAP server, its client logged in, $TMP/bin/imap-NAME
imap_of() {
	local as=
	[ "$(id -u)" != 0 ] || as="unshare --user --map-user=1000 --map-group=1000"
	mkdir -p "$TMP/bin"
	cat >"$TMP/bin/imap-$1" <<C
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/$1/home USER=mail $as /usr/lib/dovecot/imap -c $TMP/dovecot/$1/dovecot.conf
C
	chmod 755 "$TMP/bin/imap-$1"
}

# NAME: runs it as a server for LMTP, on the socket $TMP/dovecot/NAME/run/lmtp
dovecot_lmtp_up() {
	local d=$TMP/dovecot/$1 user as=
	user=$(id -un)
	[ "$(id -u)" != 0 ] || user=nobody as="unshare --user --map-user=65534 --map-group=65534"
	sed -e 's/^protocols =.*/protocols = lmtp/' -e "s/^mail_[ug]id = .*//" \
		-e "s/^default_internal_user = .*/default_internal_user = $user/; s/^default_login_user = .*/default_login_user = $user/" \
		"$d/dovecot.conf" >"$d/lmtp.conf"
	cat >>"$d/lmtp.conf" <<C
instance_name = $(basename "$TMP")
default_internal_group = $(if [ "$(id -u)" = 0 ]; then echo nogroup; else id -gn; fi)
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=$user gid=$(if [ "$(id -u)" = 0 ]; then echo nogroup; else id -gn; fi) home=$d/home
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
C
	on_exit "dovecot_lmtp_down $1"
	$as dovecot -c "$d/lmtp.conf" >"$d/out" 2>&1 || { cat "$d/out"; return 1; }
	wait_for test -S "$d/run/lmtp"
}
dovecot_lmtp_down() {
	local p=$TMP/dovecot/$1/run/master.pid
	[ ! -f "$p" ] || { kill "$(cat "$p")"; wait_for test ! -f "$p"; }
}
# NAME FROM TO FILE: one mail
lmtp_send() {
	python3 -c '
import smtplib, sys
s = smtplib.LMTP(sys.argv[1])
s.sendmail(sys.argv[2], [sys.argv[3]], open(sys.argv[4], "rb").read())
s.quit()' "$TMP/dovecot/$1/run/lmtp" "${@:2}"
}
