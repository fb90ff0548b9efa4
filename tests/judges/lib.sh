# lib -- for programs of Debian that judge file systems: `. "$(dirname "$0")/../lib.sh"`.
#
#	both COMMAND...		runs it for a plain directory and for one in the mount, and checks that it succeeds in each;
#				$DIR is that directory, fresh, where it works, and $SAID a file for what a program says
#	empty DIR		succeeds when nothing is in it
#	no_complaint TEXT...	succeeds when $SAID holds none of these words, and is not empty
#
# The kernel tests rights in that mount, as everywhere; where root makes it, it stands open to other users.
. "$(dirname "${BASH_SOURCE[0]}")/../real.sh"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
# More than any of them takes: a hang is a failure, not slowness.
HANG=${HANG:-300}
MOUNT_OPTS=default_permissions
[ "$(id -u)" != 0 ] || MOUNT_OPTS=allow_other
chmod 755 "$TMP"
check "mount" mount_store "$STORE" "$MNT" "$MOUNT_OPTS"
mountpoint -q "$MNT" || finish

both() {
	local where
	for where in "$TMP/plain" "$MNT/judge"; do
		DIR=$where SAID=$TMP/said
		WHERE="plain: "
		[ "$where" = "$TMP/plain" ] || WHERE="mount: "
		: >"$SAID"
		mkdir "$DIR"
		cd "$DIR" || exit 1
		"$@"
		cd "$TMP" || exit 1
		check "it can be removed" rm -r "$DIR"
	done
	WHERE=
	check "unmount" umount_store "$STORE" "$MNT"
	check "the store is whole" ds verify
}
empty() { [ -z "$(ls -A "$1")" ] || { ls -A "$1" | head; return 1; }; }
no_complaint() {
	[ -s "$SAID" ] || { echo "it has said nothing"; return 1; }
	! grep -iE "$(IFS='|'; echo "$*")" "$SAID"
}
show_said() { local rc; "$@" >"$SAID" 2>&1; rc=$?; [ $rc = 0 ] || tail -20 "$SAID"; return $rc; }
