#!/bin/bash
# like_plain -- the scripts of mblaze, notmuch and mu again, and on a plain Maildir: each check passes on both, and they leave the same
# mail, tags and index.
. "$(dirname "$0")/../real.sh"
needs notmuch mu mdeliver
for s in mblaze notmuch mu; do
	export NOTES=$TMP/notes.$s
	for SIDE in mount plain; do
		mkdir -p "$NOTES/$SIDE"
		plain=
		[ $SIDE = mount ] || plain=1
		check "$s, $SIDE" env -u HOME SIDE=$SIDE TEST_PLAIN=$plain TMPDIR="$TMP" bash -c '"$1" >"$2" 2>&1 || { cat "$2"; exit 1; }' _ "$ROOT/tests/fs/$s.sh" "$TMP/$s.$SIDE"
	done
	equal "$s: what is checked of a plain Maildir holds on the mount" "" \
		"$(comm -23 <(grep '^ok' "$TMP/$s.plain" | sort) <(grep '^ok' "$TMP/$s.mount" | sort))"
	WHERE="$s: " alike
	WHERE=
done
finish
