#!/bin/bash
# copy -- rsync, cp -a and tar with a whole Maildir, in and out, and again: what they say, and what is there then (names, contents, times,
# modes, other files beside the mail) is the same as with a plain Maildir.  What changed in between goes along, and no more.
. "$(dirname "$0")/../real.sh"
needs rsync tar cmp
umask 077
SRC=$TMP/src
$MAIL maildir "$SRC" 40
mkdir -p "$SRC/.notmuch/xapian" "$SRC/.Work/.state/deep"
echo database >"$SRC/.notmuch/xapian/iamglass"
echo uids >"$SRC/.Work/dovecot-uidlist"
echo state >"$SRC/.Work/.state/deep/x"
ln -s xapian/iamglass "$SRC/.notmuch/link"
: >"$SRC/.Work/maildirfolder"
touch -d @1500000000 "$SRC/.Work/dovecot-uidlist" "$SRC/.Work/maildirfolder" "$SRC/.notmuch/xapian/iamglass" "$SRC/.Work/.state/deep/x"

# Files: kind, mode, time, name, content.  A dovecot-keywords is the mount's own: P has a number there.
files() { (cd "$1" && find . -path './.dsyncfs' -prune -o -name dovecot-keywords -o -type f -printf '%m %Ts %s %p ' -exec sh -c 'sha1sum <"$1" | cut -c1-40' _ {} \; -o -type l -printf 'l %p %l\n' | sort -k4); }
# Directories; times of those that hold mail are the mail's.
dirs() { (cd "$1" && find . -path './.dsyncfs' -prune -o -type d -printf '%m %p\n' | sort); }
look() { files "$1"; dirs "$1"; }
sync_in() { rsync -ai --delete --exclude=dovecot-keywords "$SRC/" "$MNT/" | grep -v '^\.d..t' | sort; }
empty() { rm -rf "$MNT"/.[!.]* "$MNT"/cur/* "$MNT"/new/*; }

with_rsync() {
	note rsync-in sync_in
	note rsync-there look "$MNT"
	equal "rsync: as the source" "$(files "$SRC")" "$(files "$MNT")"
	equal "rsync: nothing to transfer again" "" "$(sync_in)"
	equal "rsync -c: nothing by contents" "" "$(rsync -aic --delete --exclude=dovecot-keywords "$SRC/" "$MNT/" | grep -v '^\.d..t')"
	mkdir "$WORK/out"
	note rsync-out eval 'rsync -ai --exclude=dovecot-keywords "$MNT/" "$WORK/out/" | grep -v "^\.d" | sort'
	equal "rsync out: as the source" "$(files "$SRC")" "$(files "$WORK/out")"
	equal "rsync out: nothing to transfer again" "" "$(rsync -ai --exclude=dovecot-keywords "$MNT/" "$WORK/out/" | grep -v '^\.d..t')"
	# A flag, a mail less, a mail more; to the mount and from it.
	cp -a "$SRC" "$WORK/changed"
	f=$(messages "$WORK/changed" | sort | head -1); mv "$f" "$WORK/changed/cur/$(basename "${f%%:2,*}"):2,FRST"
	rm "$(messages "$WORK/changed/.Work" | sort | head -1)"
	$MAIL one extra >"$WORK/changed/.Work/new/1700000001.M1.extra" && touch -d @1700000001 "$WORK/changed/.Work/new/1700000001.M1.extra"
	note rsync-changed eval 'rsync -ai --delete --exclude=dovecot-keywords "$WORK/changed/" "$MNT/" | grep -v "^\.d..t" | sort'
	equal "rsync --delete: as the source" "$(files "$WORK/changed")" "$(files "$MNT")"
	note rsync-changed-out eval 'rsync -ai --delete --exclude=dovecot-keywords "$MNT/" "$WORK/out/" | grep -v "^\.d" | sort'
	equal "rsync --delete out: as the source" "$(files "$WORK/changed")" "$(files "$WORK/out")"
	check "rsync --inplace of a mail that has grown" eval 'f=cur/$(ls "$WORK/changed/cur" | head -1) && echo more >>"$WORK/changed/$f" && touch -d @1700000002 "$WORK/changed/$f" &&
		rsync -a --inplace --no-whole-file "$WORK/changed/" "$MNT/" && cmp "$WORK/changed/$f" "$MNT/$f"'
	note rsync-emptied eval 'empty; look "$MNT"'
}

with_cp() {
	check "cp -a" no_word cp -a "$SRC/." "$MNT/"
	equal "cp -a: as the source" "$(files "$SRC")" "$(files "$MNT")"
	note cp-there look "$MNT"
	check "cp -a over it" no_word cp -a "$SRC/." "$MNT/"
	equal "cp -a over it: as the source" "$(files "$SRC")" "$(files "$MNT")"
	equal "cp -au: copies nothing" "" "$(cp -auv "$SRC/." "$MNT/")"
	check "cp -a out" no_word cp -a "$MNT/." "$WORK/cp"
	equal "cp -a out: as the source" "$(look "$SRC")" "$(look "$WORK/cp")"
	check "a folder from the mount to the mount" no_word cp -a "$MNT/.Work" "$MNT/.Copy"
	equal "is the same" "$(files "$MNT/.Work")" "$(files "$MNT/.Copy")"
	note cp-emptied eval 'empty; look "$MNT"'
}

with_tar() {
	check "tar in" eval 'tar -C "$SRC" -cf - . | tar -C "$MNT" -xpf -'
	equal "tar: as the source" "$(files "$SRC")" "$(files "$MNT")"
	note tar-there look "$MNT"
	check "tar -d finds no difference" eval 'tar -C "$SRC" -cf - cur new .Work .Archive.2024 .notmuch | tar -C "$MNT" -df - 2>&1 | grep -v "Mod time differs" | { ! grep .; }'
	check "tar over it" eval 'tar -C "$SRC" -cf - . | tar -C "$MNT" -xpf -'
	equal "tar over it: as the source" "$(files "$SRC")" "$(files "$MNT")"
	check "tar out" eval 'mkdir "$WORK/tar" && tar -C "$MNT" -cf - . | tar -C "$WORK/tar" -xpf -'
	equal "tar out: as the source" "$(look "$SRC")" "$(look "$WORK/tar")"
	check "tar -g: a second dump holds no mail" eval 'tar -C "$MNT" -g "$WORK/snar" -cf "$WORK/full.tar" . && tar -C "$MNT" -g "$WORK/snar" -cf "$WORK/incr.tar" . && ! tar -tf "$WORK/incr.tar" | grep -q ":2,"'
	check "tar's archive read back" eval 'mkdir "$WORK/back" && tar -C "$WORK/back" -xpf "$WORK/full.tar"'
	equal "as the source" "$(files "$SRC")" "$(files "$WORK/back")"
}

all() {
	chmod 700 "$MNT" "$MNT/cur" "$MNT/new" "$MNT/tmp"
	with_rsync
	with_cp
	with_tar
	note mail state
	if mounted; then
		check "the store has each mail once" within 10 eval '[ "$(ds dump | grep -c sha1=)" = 40 ]'
	fi
}
on_both all
finish
