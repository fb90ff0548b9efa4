#!/bin/bash
# hostile -- a peer that knows the dsync protocol and breaks it, in both roles, against each kind of location (hostile.py).
#
#	hostile.sh [ARGUMENTS OF hostile.py]	without any: a short share of the cases, always the same
#
# `make hostile` is all of them; FLAVOUR=asan takes the programs with the sanitizers.
#
# Nothing here is about what a lost power supply leaves: in memory it goes ten times as fast.
[ ! -w /dev/shm ] || TMPDIR=/dev/shm
. "$(dirname "$0")/../real.sh"
needs python3
export TMP SYNC
[ $# -gt 0 ] || set -- -n 110 -s 1
"$ROOT/tests/interop/hostile.py" "$@" >"$TMP.said" 2>&1
rc=$?
tail -n 40 "$TMP.said" | cut -c1-1500
report $rc "hostile peers: $(tail -n 1 "$TMP.said" | cut -c1-200)" ""
rm -f "$TMP.said"
finish
