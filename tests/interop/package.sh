#!/bin/bash
# package -- the Debian package: dpkg-buildpackage makes it, lintian has no word against it, and it is installed, used, upgraded,
# removed and purged in a root of its own.  That has this machine's essential packages, what the package says that it needs, and man
# and systemd, which look at what it brought; its mounts are seen in a namespace of this script's own only.
[ -n "${PACKAGE_NS:-}" ] ||
	exec env PACKAGE_NS=1 unshare $([ "$(id -u)" = 0 ] || echo --user --map-root-user) --mount "$0" "$@"
. "$(dirname "$0")/../real.sh"
# Others' mounts, copied into the namespace, would go on here when they are unmounted there.
awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts | xargs -r umount -l 2>/dev/null
needs dpkg-buildpackage lintian mandoc systemd-analyze man unshare chroot
DEBS=$TMP/debs R=$TMP/root

# ---- building it ----
check "make deb: lintian has no error and no warning" make -s -C "$ROOT" deb DEB="$DEBS"
deb=$(echo "$DEBS"/dsyncfs_*.deb)
[ -f "$deb" ] || finish
version=$(dpkg-deb -f "$deb" Version)
dpkg-deb -R "$deb" "$TMP/older"
sed -i "s/^Version: .*/&~older/" "$TMP/older/DEBIAN/control"
rm -r "$TMP/older/usr/share/doc"
check "an older one" dpkg-deb --root-owner-group -b "$TMP/older" "$TMP/older.deb"
check_not "lintian has a word against one without its copyright" lintian --fail-on error,warning "$TMP/older.deb"
equal "all is root's, and nothing is for others to write" "" "$(dpkg-deb -c "$deb" | grep -vE '^([^l].{4}-.{2}-.|l.{9}) root/root ')"

# ---- the root ----
# The installed packages that these and the essential ones need, by their names in dpkg's database.
closure() {
	dpkg-query -W -f '${db:Status-Status}\t${Architecture}\t${Package}\t${binary:Package}\t${Essential}\t${Provides}\t${Pre-Depends},${Depends}\n' |
		awk -F'\t' -v want="$1" -v arch="$(dpkg --print-architecture)" '
		function plain(s) { gsub(/\([^)]*\)|:[a-z0-9]+|[ \n]/, "", s); return s }
		function take(list,   clause, way, i, j, n, m, p) {
			n = split(plain(list), clause, ",")
			for (i = 1; i <= n; i++) {
				m = split(clause[i], way, "|")
				for (j = 1; j <= m; j++) {
					p = way[j] in name ? way[j] : by[way[j]]
					if (p == "") continue
					if (!(p in taken)) { taken[p] = 1; print name[p]; take(deps[p]) }
					break
				}
			}
		}
		$1 != "installed" || ($2 != arch && $2 != "all") { next }
		{
			name[$3] = $4; deps[$3] = $7
			if ($5 == "yes") want = want "," $3
			n = split(plain($6), virtual, ",")
			for (i = 1; i <= n; i++) by[virtual[i]] = $3
		}
		END { take(want) }'
}
make_root() {
	local p db=var/lib/dpkg packages=($(closure "man-db,systemd,$(dpkg-deb -f "$deb" Depends)"))
	mkdir "$R" && chmod 755 "$R"
	for p in /bin /sbin /lib*; do [ ! -L "$p" ] || mkdir -p "$R/$(readlink "$p")"; done
	{
		dpkg-query -L "${packages[@]}" | sed -n 's|^/\([^.]\)|\1|p'
		(cd / && ls -d etc/passwd etc/group etc/alternatives/*)
	} | sort -u >"$TMP/files"
	tar -C / -c --no-recursion --ignore-failed-read -X <(printf '%s\n' 'usr/share/doc/*/*' 'usr/share/man/*/*' '*.mo') -T "$TMP/files" |
		tar -C "$R" -xp --no-same-owner || return 1
	mkdir -p "$R/$db/info" "$R/$db/updates" "$R/$db/triggers" "$R/home/me/Mail" "$R/tmp/debs" "$R"/usr/share/man/man{1,5,8}
	dpkg-query -s "${packages[@]}" >"$R/$db/status"
	: >"$R/$db/available"
	cp /$db/diversions "$R/$db"
	cp /$db/info/format "$R/$db/info"
	for p in "${packages[@]}"; do cp /$db/info/"$p".* "$R/$db/info"; done
	grep -E " ($(IFS='|'; echo "${packages[*]%:*}"))(:[a-z0-9]+)?(/noawait)?\$" "/$db/triggers/File" >"$R/$db/triggers/File"
	ln -sf ../proc/self/mounts "$R/etc/mtab"
	mount --rbind /proc "$R/proc" || return 1
	for p in null zero random urandom tty fuse; do
		touch "$R/dev/$p" && mount --bind "/dev/$p" "$R/dev/$p" || return 1
	done
	in_root ldconfig && in_root dpkg --configure -a
}
in_root() {
	chroot "$R" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/me LC_ALL=C.UTF-8 \
		XDG_RUNTIME_DIR=/tmp MANPAGER=cat "$@"
}
leave_root() { fusermount3 -uz "$R/home/me/Mail" 2>/dev/null; mounts_below "$R" | xargs -r umount -l; }
on_exit leave_root
# What lies there, but for what dpkg itself and man keep of it.
everything() {
	(cd "$R" && find . \( -path ./proc -o -path ./dev -o -path ./tmp -o -path ./run -o -path ./home -o -path ./var/lib/dpkg -o -path ./var/log \
		-o -path ./var/cache/man -o -path ./var/cache/ldconfig \) -prune -o \( -printf '%M %u %g %p %l\n' -type f -exec sha1sum {} + \) | sort)
}
host() {
	dpkg-query -W -f '${Package} ${Version} ${Status}\n' | sha1sum
	dpkg-deb -c "$deb" | awk '$1 !~ /^d/ {print substr($6, 2)}' | xargs stat -c '%n %i %s %Y' 2>&1
}
mine() { (cd "$R/home/me" && find . -type f -exec sha1sum {} + | sort); }

check "a root of its own" make_root
[ -x "$R/usr/bin/env" ] || finish
cp "$deb" "$R/tmp/debs/this.deb"
cp "$TMP/older.deb" "$R/tmp/debs/older.deb"
host >"$TMP/host"
equal "dpkg has no word against it" "" "$(in_root dpkg --audit 2>&1)"
everything >"$TMP/before"
check "with more than a thousand files" test "$(wc -l <"$TMP/before")" -gt 1000
check_not "no dsyncfs among them" grep -q dsyncfs "$TMP/before"

# ---- installed, used, upgraded ----
version_is() { equal "$1" "$2 install ok installed" "$(in_root dpkg-query -W -f '${Version} ${Status}' dsyncfs 2>&1)"; }
check "the older one is installed" in_root dpkg -i /tmp/debs/older.deb
version_is "as it says" "$version~older"
check "and runs" in_root dsyncfs -V
check "this one is installed over it" in_root dpkg -i /tmp/debs/this.deb
version_is "as it says too" "$version"
equal "all files are as in the package" "" "$(in_root dpkg --verify dsyncfs 2>&1)"
check "dsyncfs runs" says "dsyncfs $version" in_root dsyncfs -V
check "dsyncfs-sync runs" says "$version" in_root dsyncfs-sync --version
check "the example configuration is valid" in_root dsyncfs-sync check-config /usr/share/doc/dsyncfs/dsyncfs.conf.example
for page in dsyncfs.1 dsyncfs-sync.1 dsyncfs.conf.5 dsyncfs-format.5 mount.fuse.dsyncfs.8; do
	check "man finds $page" says dsyncfs in_root man "${page##*.}" "${page%.*}"
	check "and it is whole" mandoc -Tlint -W warning "$R/usr/share/man/man${page##*.}/$page.gz"
done
for unit in dsyncfs@Mail.service dsyncfs-backup@disk.service dsyncfs-backup@disk.timer; do
	check "$unit: systemd has no word against it" no_word in_root systemd-analyze verify --user "$unit"
done
bash_completes() {
	in_root bash -c 'for f in /usr/share/bash-completion/completions/dsyncfs*; do . "$f" || exit; done; complete -p dsyncfs dsyncfs-sync'
}
check "bash completes both programs" bash_completes

M=$R/home/me/Mail
sync_in_root() { in_root dsyncfs-sync -o mail_location=dsyncfs:/home/me/store "$@"; }
check "mount(8) mounts by its helper" in_root mount -t fuse.dsyncfs /home/me/store /home/me/Mail
check "mail comes" deliver_one "$M" 1700000001.M1.host one
check "the mount says so" says "messages: 1" sync_in_root status
check "it is installed again, while that is mounted" in_root dpkg -i /tmp/debs/this.deb
version_is "nothing else has changed" "$version"
check "the mount works on" deliver_one "$M" 1700000002.M2.host two
check "with the new dsyncfs-sync" again sync_in_root mirror maildir:/home/me/copy
equal "which finds both" 2 "$(count "$R/home/me/copy")"
check "it is unmounted" within 5 in_root fusermount3 -u /home/me/Mail
check "and the store free" within 15 sync_in_root mailboxes
check "every checksum is good" sync_in_root verify
mine >"$TMP/mine"

# ---- removed, purged ----
check "it is removed" in_root dpkg -r dsyncfs
for p in dsyncfs dsyncfs-sync mount.fuse.dsyncfs; do check_not "no $p" in_root which "$p"; done
check "it is purged" in_root dpkg -P dsyncfs
check_not "dpkg knows none" in_root dpkg-query -W dsyncfs
check_not "and keeps nothing of it" ls "$R"/var/lib/dpkg/info/dsyncfs*
equal "dpkg has no word against what is left" "" "$(in_root dpkg --audit 2>&1)"
everything >"$TMP/after"
check "which is what there was" diff "$TMP/before" "$TMP/after"
mine >"$TMP/mine.after"
check "a user's mail stays" diff "$TMP/mine" "$TMP/mine.after"
check "it is installed again" in_root dpkg -i /tmp/debs/this.deb
check "the mail is there" says "messages: 2" sync_in_root status
check "the host has not noticed" diff "$TMP/host" <(host)
finish
