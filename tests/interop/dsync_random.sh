#!/bin/bash
# dsync_random -- random histories of a real Dovecot and a location of ours, with syncs in between in both roles, that end
# equal (dsync_random.py says what has to hold).  A failing seed is shrunk and printed, and can be run again from a file.
#
#	dsync_random.sh [OPTIONS] [FIRST COUNT | FILE...]	-v says each step, -k goes on after a failure, -K keeps its files
#
# Without arguments: those of tests/interop/histories, which failed once, and 40 others.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 "$BIN/tests/interop/store_user" "$BIN/tests/interop/clock.so"

chmod 755 "$TMP"
for kind in maildir sdbox; do
	dovecot_conf $kind "$kind:~/mail"
	sed -i 's|^log_path.*|log_path = /dev/stderr|; s|^info_log_path.*|info_log_path = /dev/null|; /^mail_home/d' \
		"$TMP/dovecot/$kind/dovecot.conf"
	echo 'import_environment = $import_environment LD_PRELOAD TEST_CLOCK' >>"$TMP/dovecot/$kind/dovecot.conf"
	declare -x "DOVECOT_$kind=$TMP/dovecot/$kind/dovecot.conf"
done
mkdir -p "$TMP/histories"
histories() { RANDOM_DIR=$TMP/histories BIN=$BIN as_mail_user python3 "$ROOT/tests/interop/dsync_random.py" "$@"; }
if [ $# = 0 ]; then
	histories "$ROOT"/tests/interop/histories/* && histories 1 40
else
	histories "$@"
fi
