#!/bin/bash
# xdg -- configuration and store lie where the XDG directories are; without these below the home directory, where a relative one is
# none.  Nothing else is written to any of them, nor to the home directory.
. "$(dirname "$0")/../real.sh"
maildir_new "$TMP/md"
mail "$TMP/md" 1
tops() { (cd "$1" && find . -mindepth 1 -maxdepth "$2" -type d | sort); }
run() {	# HOME [VARIABLE=VALUE...]: both programs, with nothing but that
	local home=$1 rc=0
	shift
	mkdir -p "$home"
	local clean=(env -i PATH="$PATH" HOME="$home" TMPDIR="$TMP" "$@")
	"${clean[@]}" "$SYNC" init-config || return
	mkdir -p "$home/Mail"
	"${clean[@]}" "$MOUNT" "$home/Mail" || return
	"${clean[@]}" "$SYNC" mirror "maildir:$TMP/md" || rc=1
	grep -qs "body 1" "$home"/Mail/*/* || rc=1
	fusermount3 -u "$home/Mail"
	wait_for "${clean[@]}" "$SYNC" verify || rc=1
	rmdir "$home/Mail"
	return $rc
}

H=$TMP/h1
check "without any" run "$H"
check "the configuration is below .config" test -f "$H/.config/dsyncfs/dsyncfs.conf"
check "the store is below .local/share" test -f "$H/.local/share/dsyncfs/store"
equal "and nothing is elsewhere" "./.config ./.config/dsyncfs ./.local ./.local/share" "$(tops "$H" 2 | xargs)"

H=$TMP/h2
check "with all" run "$H" XDG_CONFIG_HOME="$TMP/c" XDG_DATA_HOME="$TMP/d" XDG_STATE_HOME="$TMP/s" XDG_CACHE_HOME="$TMP/k" XDG_RUNTIME_DIR="$TMP/r"
check "the configuration" test -f "$TMP/c/dsyncfs/dsyncfs.conf"
check "the store" test -f "$TMP/d/dsyncfs/store"
equal "the home directory is empty" "" "$(ls -A "$H")"
for d in s k r; do check_not "nothing needs the others: $d" test -e "$TMP/$d"; done

H=$TMP/h3
mkdir "$TMP/cwd"
cd "$TMP/cwd"
check "with relative ones" run "$H" XDG_CONFIG_HOME=c XDG_DATA_HOME=d
equal "these are passed over" "./.config ./.config/dsyncfs ./.local ./.local/share" "$(tops "$H" 2 | xargs)"
equal "and nothing is made of them" "" "$(ls -A "$TMP/cwd")"
cd /

H=$TMP/h4
check "with empty ones" run "$H" XDG_CONFIG_HOME= XDG_DATA_HOME=
equal "these are none" "./.config ./.config/dsyncfs ./.local ./.local/share" "$(tops "$H" 2 | xargs)"

# What is configured there holds, for both.
echo "mail_location = dsyncfs:$TMP/elsewhere" >"$H/.config/dsyncfs/dsyncfs.conf"
mkdir "$H/Mail"
clean=(env -i PATH="$PATH" HOME="$H")
check "a mount reads the configuration" "${clean[@]}" "$MOUNT" "$H/Mail"
check "the store is where it says" test -d "$TMP/elsewhere"
check "dsyncfs-sync reads it too" says "$H/Mail" "${clean[@]}" "$SYNC" status
check "unmount" fusermount3 -u "$H/Mail"
finish
