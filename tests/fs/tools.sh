#!/bin/bash
# tools -- rsync, cp, tar, find, inotifywait and plain mv/rm/ln on the mount.
. "$(dirname "$0")/../real.sh"
needs rsync tar find inotifywait getfattr
check "the store is mounted" mount_store "$STORE" "$MNT"

SRC=$TMP/src
$MAIL maildir "$SRC" 40

# Names, contents and dates of all mail.  Names of folders' own files are left out: the mount has its own.
listing() { (cd "$1" && find . -path '*/[cn][ue][rw]/*' -type f -printf '%p %s %Ts ' -exec sh -c 'sha1sum <"$1" | cut -c1-40' _ {} \;) | sort; }
want=$(listing "$SRC")

# WAY: everything in, compared, out again, compared, removed
round() {
	local way=$1
	shift
	check "$way: a Maildir goes in" "$@"
	equal "$way: names, contents and dates are the same inside" "$want" "$(listing "$MNT")"
}
leave() {
	rm -rf "$MNT"/.Work "$MNT"/.Archive.2024 "$MNT"/.Entw* "$MNT"/cur/* "$MNT"/new/*
	equal "$1: all of it is removed again" "" "$(listing "$MNT")"
}
tar_in() { tar -C "$SRC" -cf - . | tar -C "$MNT" --no-overwrite-dir -xpf -; }

round rsync rsync -a --exclude=/tmp "$SRC/" "$MNT/"
check "rsync: a second run sends nothing" test -z "$(rsync -ai --exclude=/tmp "$SRC/" "$MNT/" | grep '^>f')"
check "rsync: out again" rsync -a --exclude='.dsyncfs' "$MNT/" "$TMP/out.rsync/"
equal "rsync: the same outside" "$want" "$(listing "$TMP/out.rsync")"
leave rsync
round "cp -a" cp -a "$SRC/." "$MNT/"
check "cp -a: out again" cp -a "$MNT/." "$TMP/out.cp"
equal "cp -a: the same outside" "$want" "$(listing "$TMP/out.cp")"
leave "cp -a"
round tar tar_in
check "tar: out again" eval 'mkdir "$TMP/out.tar" && tar -C "$MNT" -cf - . | tar -C "$TMP/out.tar" -xpf -'
equal "tar: the same outside" "$want" "$(listing "$TMP/out.tar")"
if mounted; then
	# Files that tar wrote straight into cur are mail once they have settled.
	check "dump has all of it" within 20 eval '[ "$(ds dump | grep -c sha1=)" = 40 ]'
	(cd "$SRC" && find . -path '*/[cn][ue][rw]/*' -type f -exec python3 "$ROOT/tests/mail.py" hash {} +) |
		awk '{print "size=" $2 " sha1=" $1}' | sort >"$TMP/want.hash"
	equal "byte by byte" "$(cat "$TMP/want.hash")" "$(ds dump | grep sha1= | grep -o 'size=.*' | sort)"
	equal "with its dates" "$(cut -d' ' -f3 <<<"$want" | sort)" "$(ds dump | grep sha1= | grep -o 'received=[0-9]*' | cut -d= -f2 | sort)"
fi

# find trusts st_nlink of a directory (2 and one for each directory in it), or 1 for "do not".
for d in "$MNT" "$MNT/cur" "$MNT/.Work"; do
	n=$(stat -c %h "$d") sub=$(find "$d" -mindepth 1 -maxdepth 1 -noleaf -type d | wc -l)
	check "links of ${d#"$TMP/"}: $n, with $sub directories" test "$n" = 1 -o "$n" = $((sub + 2))
done
equal "find with leaf optimisation sees what find without sees" "$(find "$MNT" -noleaf -type d | sort)" "$(find "$MNT" -type d | sort)"
equal "a file of one link" 1 "$(stat -c %h "$(messages "$MNT" | head -1)")"

# maildirmake
check "a folder made as maildirmake does" eval 'mkdir "$MNT/.Made" "$MNT/.Made/tmp" "$MNT/.Made/new" "$MNT/.Made/cur" && : >"$MNT/.Made/maildirfolder"'
check "mkdir of a folder that is there: EEXIST" eval '! mkdir "$MNT/.Made" 2>"$TMP/e" && grep -q "File exists" "$TMP/e"'
check "delivery by link and unlink" eval '$MAIL one linked >"$MNT/.Made/tmp/1.x" && ln "$MNT/.Made/tmp/1.x" "$MNT/.Made/new/1.x" && rm "$MNT/.Made/tmp/1.x"'
check "is there" has_mail "$MNT/.Made" "Subject: linked"
check "a link onto a name that is there: EEXIST" eval \
	'$MAIL one other >"$MNT/.Made/tmp/2.x"; ! ln "$MNT/.Made/tmp/2.x" "$MNT/.Made/new/1.x" 2>"$TMP/e" && grep -q "File exists" "$TMP/e"'
rm -f "$MNT/.Made/tmp/2.x"
check "rmdir of a folder with mail: ENOTEMPTY" eval '! rmdir "$MNT/.Made" 2>"$TMP/e" && grep -q "not empty" "$TMP/e"'
check "a folder is renamed" mv "$MNT/.Made" "$MNT/.Moved"
check "with its mail" has_mail "$MNT/.Moved" "Subject: linked"
if mounted; then
	check "the log has the rename" grep -q "rename" <(ds log)
	check "mailboxes has the new name alone" eval 'ds mailboxes | grep -q "^Moved\\b" && ! ds mailboxes | grep -q "^Made\\b"'
fi
check "a folder is removed, as rm -r does" rm -r "$MNT/.Moved"

# Watchers.
watch() {	# DIR EVENTS OUT
	inotifywait -m -q -e "$2" --format '%e %f' "$1" >"$3" 2>"$3.err" &
	background+=($!)
	within 5 grep -q inotify "/proc/$!/fdinfo/3"
}
watch "$MNT/new" moved_to,create,attrib "$TMP/events.new"
watch "$MNT/cur" moved_to,moved_from,delete "$TMP/events.cur"
deliver_one "$MNT" 1700000003.M1.watched watched
check "inotify: a delivery" within 5 grep -q "MOVED_TO 1700000003.M1.watched" "$TMP/events.new"
mv "$MNT/new/1700000003.M1.watched" "$MNT/cur/1700000003.M1.watched:2,S"
check "inotify: it is read" within 5 grep -q "MOVED_TO 1700000003.M1.watched:2,S" "$TMP/events.cur"
rm "$MNT/cur/1700000003.M1.watched:2,S"
check "inotify: it is deleted" within 5 grep -q "DELETE 1700000003.M1.watched:2,S" "$TMP/events.cur"
if mounted; then
	# Mail that a sync brings: an event of the folder, of any kind that makes a reader look.
	seen=$(wc -l <"$TMP/events.new")
	mkdir -p "$TMP/peer/"{cur,new,tmp}
	$MAIL one synced >"$TMP/peer/new/1700000004.M1.synced"
	check "a mirror brings mail" ds mirror "maildir:$TMP/peer"
	check "it is in the folder" within 10 has_mail "$MNT" "Subject: synced"
	told() { tail -n +"$((seen + 1))" "$TMP/events.new" | grep -qE "^(MOVED_TO|CREATE|ATTRIB)"; }
	check "inotify: a watcher is told of it" within 10 told
	check "xattr: a message's uid, guid and modseq" eval \
		'getfattr -d "$(mail_of "$MNT" "Subject: synced")" | grep -c "user.dsyncfs.\(uid\|guid\|modseq\)=" | grep -qx 3'
	check "xattr: a folder's uidnext" getfattr -n user.dsyncfs.uidnext "$MNT/.Work"
	check ".dsyncfs/status is readable" grep -q . "$MNT/.dsyncfs/status"
	check ".dsyncfs/changes is the log" grep -q save "$MNT/.dsyncfs/changes"
	check ".dsyncfs is not listed" not grep -qx .dsyncfs <(ls -A "$MNT")
	# The last second of changes is not lost at unmount.
	before=$(listing "$MNT")
	check "unmount" umount_store "$STORE" "$MNT"
	check "the store is whole" ds verify
	check "mount again" mount_store "$STORE" "$MNT"
	equal "everything is as it was" "$before" "$(listing "$MNT")"
fi
finish
