#!/bin/bash
# postmark -- the files of a mail server: made, read, appended to, removed.
. "$(dirname "$0")/../lib.sh"
needs postmark
go() {
	printf '%s\n' "set location $DIR" "set number 1000" "set transactions 3000" "set subdirectories 7" "set size 300 20000" "set seed 42" run quit |
		timeout "$HANG" postmark
}
# How many files it made, read, appended to and removed: chance, but from one seed.
counts() { sed -n 's/^[[:space:]]*\([0-9]* [a-z]*\) (.*per second).*/\1/p' "$SAID"; }
run() {
	check "postmark succeeds" show_said go
	check "it has no complaint" no_complaint error cannot
	counts >"$TMP/counts.${WHERE%:*}"
	check "and nothing is left" empty "$DIR"
}
both run
check "it has counted" test -s "$TMP/counts.plain"
equal "it did on the mount what it did elsewhere" "$(cat "$TMP/counts.plain")" "$(cat "$TMP/counts.mount")"
finish
