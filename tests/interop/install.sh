#!/bin/bash
# install -- `make install` puts everything where Debian's programs look for it, `make uninstall` takes it away again, and the units
# are good ones: systemd-analyze says so, and what they run is there and knows its options.
. "$(dirname "$0")/../real.sh"
needs systemd-analyze
INST=$TMP/inst
install_to() { make -s -C "$ROOT" install "$@"; }
listing() { (cd "$1" && find . ! -type d -printf '%m %P %l\n' | sort -k 2); }

check "make install PREFIX=" install_to PREFIX="$INST"
equal "what lies where" "$(sed 's/^\t//' <<-L
	755 bin/dsyncfs 
	755 bin/dsyncfs-sync 
	644 lib/systemd/user/dsyncfs-backup@.service 
	644 lib/systemd/user/dsyncfs-backup@.timer 
	644 lib/systemd/user/dsyncfs@.service 
	777 sbin/mount.fuse.dsyncfs ../bin/dsyncfs
	644 share/bash-completion/completions/dsyncfs 
	644 share/bash-completion/completions/dsyncfs-sync 
	644 share/doc/dsyncfs/CHANGELOG.md 
	644 share/doc/dsyncfs/MIGRATION.md 
	644 share/doc/dsyncfs/README.md 
	644 share/doc/dsyncfs/dsyncfs.conf.example 
	644 share/doc/dsyncfs/examples/fstab 
	644 share/doc/dsyncfs/examples/home-me-Mail.mount 
	644 share/doc/dsyncfs/examples/srv-mail.automount 
	644 share/doc/dsyncfs/examples/srv-mail.mount 
	644 share/fish/vendor_completions.d/dsyncfs-sync.fish 
	644 share/fish/vendor_completions.d/dsyncfs.fish 
	644 share/man/man1/dsyncfs-sync.1 
	644 share/man/man1/dsyncfs.1 
	644 share/man/man5/dsyncfs-format.5 
	644 share/man/man5/dsyncfs.conf.5 
	777 share/man/man8/mount.fuse.dsyncfs.8 ../man1/dsyncfs.1
	644 share/zsh/site-functions/_dsyncfs 
	644 share/zsh/site-functions/_dsyncfs-sync 
	L
)" "$(listing "$INST")"
check "the mount helper is the mount" says dsyncfs "$INST/sbin/mount.fuse.dsyncfs" -V
check "the mount runs" says usage "$INST/bin/dsyncfs" -h
check "dsyncfs-sync too" "$INST/bin/dsyncfs-sync" --version
check "the example configuration is valid" "$INST/bin/dsyncfs-sync" check-config --no-connect "$INST/share/doc/dsyncfs/dsyncfs.conf.example"
for p in "$INST"/share/man/man[15]/*; do check "a manual page: ${p##*/}" cmp "$ROOT/man/${p##*/}" "$p"; done

# The units.  They run what has been installed, and systemd looks for that too.
units=$INST/lib/systemd/user
export XDG_RUNTIME_DIR=$TMP/run
mkdir -p "$XDG_RUNTIME_DIR"
cp -r "$units" "$TMP/units"
for u in "$TMP"/units/*; do check "${u##*/}: systemd has no word against it" no_word systemd-analyze verify --user --man=no "$u"; done
echo 'NoSuchKey=1' >>"$TMP/units/dsyncfs@.service"
check_not "it would have one against a key that is none" no_word systemd-analyze verify --user --man=no "$TMP/units/dsyncfs@.service"
mkdir "$TMP/system" && cp "$INST"/share/doc/dsyncfs/examples/*mount "$TMP/system"
check "examples: systemd has no word against them" no_word systemd-analyze verify --man=no "$TMP"/system/*
value() { sed -n "s/^$2=//p" "$units/$1"; }	# FILE KEY
words=($(value dsyncfs@.service ExecStart))
equal "the mount's unit runs the mount" "$INST/bin/dsyncfs" "${words[0]}"
check "with options that it knows" test "$(getopt -q -o fdc:u:o:hV -- "${words[@]:1}" | sed 's/ --.*//')" = " -f"
equal "which says when it is ready" notify "$(value dsyncfs@.service Type)"
words=($(value dsyncfs-backup@.service ExecStart))
equal "the backup's unit runs dsyncfs-sync" "$INST/bin/dsyncfs-sync" "${words[0]}"
mkdir "$XDG_CONFIG_HOME/dsyncfs"
printf 'mail_location = dsyncfs:%s\nremote disk {\nlocation = maildir:%s\n}\n' "$STORE" "$TMP/disk" >"$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf"
maildir_new "$TMP/md"
mail "$TMP/md" 1
check "there is mail" "$INST/bin/dsyncfs-sync" mirror "maildir:$TMP/md"
check "what it runs, for a remote by its name" "${words[@]/\%i/disk}"
equal "is a backup" "$("$SYNC" dump --no-modseqs | sed 's/ highestmodseq=[0-9]*//')" "$("$SYNC" dump --no-modseqs "maildir:$TMP/disk" | sed 's/ highestmodseq=[0-9]*//')"
check_not "fusermount3 is setuid, and the mount's unit lets it" grep -qE '^(NoNewPrivileges|Private|Protect|Restrict(Name|Real|Addr|SUID)|SystemCall|LockP|MemoryDeny)' "$units/dsyncfs@.service"
equal "the timer's unit is there" dsyncfs-backup@.service "$(basename "$units"/dsyncfs-backup@.service)"
check "and the timer says when" systemd-analyze calendar "$(value dsyncfs-backup@.timer OnCalendar)"

# DESTDIR goes before everything, and is in nothing.
check "make install DESTDIR= PREFIX=/usr" install_to DESTDIR="$TMP/dest" PREFIX=/usr
equal "the same files" "$(listing "$INST")" "$(listing "$TMP/dest/usr")"
equal "and no others" usr "$(ls -A "$TMP/dest")"
check_not "nothing knows DESTDIR" grep -rIq -e "$TMP" "$TMP/dest"
check "the units run /usr/bin" grep -qx 'ExecStart=/usr/bin/dsyncfs -f .*' "$TMP/dest/usr/lib/systemd/user/dsyncfs@.service"
echo mine >"$TMP/dest/usr/bin/mine"
for i in once "and again"; do check "make uninstall, $i" make -s -C "$ROOT" uninstall DESTDIR="$TMP/dest" PREFIX=/usr; done
equal "leaves what is not its own" "$(chmod 644 "$TMP/dest/usr/bin/mine"; echo "644 bin/mine ")" "$(listing "$TMP/dest/usr")"
check "and no directory of its own" test ! -e "$TMP/dest/usr/share/doc/dsyncfs"
finish
