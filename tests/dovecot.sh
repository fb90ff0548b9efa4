# dovecot -- a throw-away Dovecot: no daemon, nothing outside $TMP.  Sourced.
#
# Dovecot lets no root have mail.  Where the tests run as root its programs run in
# a user namespace in which root's files, and root's mounts, are user 1000's.
#
#	dovecot_conf NAME MAIL_LOCATION		makes configuration NAME
#	da NAME ARGS...				doveadm with it
#	lda NAME ARGS...			dovecot-lda with it
#	doveadm_dump NAME			all mail state in the format of `dsyncfs-sync dump`
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
