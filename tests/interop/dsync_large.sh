#!/bin/bash
# dsync_large -- mails of 200 MB, both ways at once: as master of `doveadm dsync-server`, as slave of `doveadm sync`, and between two
# dsyncfs over a pipe.  Every byte arrives, and no process of ours ever holds as much as a third of one of them.  The store between
# them has no files: what it got from one it gives to the other.
#
#	dsync_large.sh [MB]		the size of each mail
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 cmp

size=${1:-200}
limit=65536		# KiB
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
PEAK="python3 $ROOT/tests/interop/peak.py $TMP/peaks"
NEAR_ENV="env -i PATH=/usr/bin:/bin HOME=$HOME XDG_CONFIG_HOME=$XDG_CONFIG_HOME"
THERE=$TMP/there OTHER=$TMP/other
mkdir -p "$TMP/bin" "$OTHER"/{cur,new,tmp}
chmod 755 "$TMP"
script doveadm-far <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
script slave <<-C
	#!/bin/sh
	exec $NEAR_ENV $PEAK slave $SYNC -o mail_location=dsyncfs:$STORE "\$@"
C
script far <<-C
	#!/bin/sh
	exec $NEAR_ENV $PEAK far $SYNC -o mail_location=maildir:$OTHER "\$@"
C
ours() { $PEAK master "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "$@"; }
# NAME MAILDIR: a large mail that nobody has seen before
make_large() { $MAIL large "$1" "$size" >"$TMP/$1" && ln "$TMP/$1" "$2/new/1700000000.M$1.test"; }
file_of() { find "$1/cur" "$1/new" -type f -exec grep -alm1 "^Subject: $2\$" {} + ; }
same_bytes() { cmp "$TMP/$1" "$(file_of "$2" "$1")"; }
# Dovecot keeps mail with LF alone.
lf() { sed 's/\r$//' "$1"; }
same_lines() { cmp <(lf "$TMP/$1") "$(file_of "$THERE" "$1")"; }
small() {
	check "$1: each process of ours was seen" [ "$(wc -l <"$TMP/peaks")" -ge "$2" ]
	check "$1: none took more than $limit KiB: $(tr '\n' ' ' <"$TMP/peaks")" awk -v l=$limit '$2 > l { exit 1 }' "$TMP/peaks"
	: >"$TMP/peaks"
}

dovecot_conf box "maildir:$THERE"
mkdir -p "$THERE"/{cur,new,tmp}
: >"$TMP/peaks"
mkdir -p "$TMP/first"/{cur,new,tmp}
make_large up "$TMP/first"
make_large down "$THERE"
ds mirror "maildir:$TMP/first" || exit

check "as master of doveadm" again ours "$TMP/bin/doveadm-far" dsync-server
check "every line has arrived there" same_lines up
small "as master of doveadm" 1

make_large back "$OTHER"
check "between two dsyncfs" again ours "$TMP/bin/far" dsync-server
check "every byte has arrived" same_bytes up "$OTHER"
check "also of the mail that came from Dovecot" same_bytes down "$OTHER"
small "between two dsyncfs" 2

make_large late "$THERE"
check "as slave of doveadm" again da box sync "$TMP/bin/slave"
check "every line has arrived there" same_lines back
small "as slave of doveadm" 1

check "each replica has all it should" again ours "$TMP/bin/far" dsync-server
check "every byte of the last one has arrived" same_bytes late "$OTHER"
check "Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|Warning|assert' "$TMP/dovecot/box/log"
finish
