#!/bin/bash
# migrate -- contrib/MIGRATION.md step by step: from mbsync, from OfflineIMAP, and from Dovecot's replicator.
. "$(dirname "$0")/../real.sh"
needs mbsync offlineimap python3
. "$(dirname "$0")/../dovecot.sh"
mkdir -p "$TMP/bin" "$XDG_CONFIG_HOME/dsyncfs"
chmod 755 "$TMP"
dovecot_conf box "mdbox:$TMP/dovecot/box/mdbox"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
script imap <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL /usr/lib/dovecot/imap -c $TMP/dovecot/box/dovecot.conf
C
script far <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
mkdir -p "$MNT"
conf() { cat >"$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf"; }
mail_there() { $MAIL one "$2" | da box save -m "$1"; }
da box mailbox create -s Work
da box mailbox create -s Work/Sub
for i in 1 2 3; do mail_there INBOX in$i; done
mail_there Work work
mail_there Work/Sub sub
da box flags add '\Seen' mailbox INBOX 1

# ---- mbsync ----

cat >"$TMP/mbsyncrc" <<-C
	IMAPStore far
	Tunnel "$TMP/bin/imap"

	MaildirStore near
	Inbox $TMP/mb
	SubFolders Maildir++

	Channel mail
	Far :far:
	Near :near:
	Patterns *
	Create Both
	Expunge Both
	Sync All
	SyncState *
C
mbsync_run() { mbsync -q -c "$TMP/mbsyncrc" -a; }
check "mbsync has the mail" mbsync_run
equal "in three folders" 5 "$(find "$TMP/mb" -path '*/cur/*' -o -path '*/new/*' | wc -l)"
conf <<-C
	mail_location = dsyncfs:$STORE
	remote mbsync {
		location = maildir:$TMP/mb
	}
C
check "mbsync: the store takes all over" "$SYNC" -v mirror mbsync
# mbsync adds a header of its own, so mails are counted.
counts() { awk '/^mailbox/ { m = $2 } /^[0-9]/ { n[m]++ } END { for (m in n) print m, n[m] }' | sort; }
equal "mbsync: all is there" "$(doveadm_dump box | counts)" "$("$SYNC" dump | counts)"
equal "mbsync: what was read is read" 1 "$("$SYNC" dump | grep -c 'flags=.Seen')"
check "mbsync: mount" "$MOUNT" "$MNT"
printf 'Subject: mine\n\nmine\n' >"$MNT/tmp/1.mine"; mv "$MNT/tmp/1.mine" "$MNT/.Work/new/"
f=$(basename "$(grep -l '^Subject:.*in2' "$MNT"/new/* "$MNT"/cur/*)")
mv "$MNT"/[cn]*/"$f" "$MNT/cur/${f%%:2,*}:2,F"
mail_there INBOX in4
check "mbsync: the next round" mbsync_run
check "mbsync: through the mount" "$SYNC" mirror mbsync
check "mbsync: and back" mbsync_run
check "mbsync: new mail has come" eval 'grep -rqs "in4" "$MNT/new" "$MNT/cur"'
equal "mbsync: new mail has gone" "$(doveadm_dump box | counts)" "$("$SYNC" dump | counts)"
check "mbsync: the flag is there" eval '[ "$(da box fetch uid mailbox INBOX flagged | grep -c uid)" = 1 ]'
umount_store "$STORE" "$MNT"

# The other form of its Maildir, after INBOX has been moved to the root.
sed -i "s|SubFolders .*|SubFolders Verbatim|; s|Inbox .*|Inbox $TMP/mbv/INBOX\nPath $TMP/mbv/|; s|/mb\$|/mbv|" "$TMP/mbsyncrc"
mkdir "$TMP/mbv"
check "mbsync verbatim: has the mail" mbsync_run
mv "$TMP"/mbv/INBOX/{cur,new,tmp,.mbsyncstate*,.uidvalidity} "$TMP/mbv/" && rmdir "$TMP/mbv/INBOX"
sed -i "s|^\(.*Inbox .*\)/INBOX|\1|" "$TMP/mbsyncrc"
verbatim() { "$SYNC" -o "mail_location=dsyncfs:$TMP/store1" "$@"; }
check "mbsync verbatim: the store takes all over" verbatim mirror "maildir:$TMP/mbv:LAYOUT=fs"
equal "mbsync verbatim: all is there" "$(doveadm_dump box | counts)" "$(verbatim dump | counts)"
mail_there Work/Sub in5
mail_there INBOX in6
check "mbsync verbatim: the next round" mbsync_run
check "mbsync verbatim: is mirrored" verbatim mirror "maildir:$TMP/mbv:LAYOUT=fs"
equal "mbsync verbatim: new mail has come" "$(doveadm_dump box | counts)" "$(verbatim dump | counts)"

# ---- OfflineIMAP ----

cat >"$TMP/offlineimaprc" <<-C
	[general]
	accounts = me
	metadata = $TMP/offlineimap
	ui = quiet
	[Account me]
	localrepository = local
	remoterepository = far
	[Repository local]
	type = Maildir
	localfolders = $TMP/oi
	sep = .
	nametrans = lambda f: 'INBOX' if f == '' else f[1:].replace('.', '/')
	[Repository far]
	type = IMAP
	preauthtunnel = $TMP/bin/imap
	remoteuser = me
	nametrans = lambda f: '' if f == 'INBOX' else '.' + f.replace('/', '.')
C
STORE2=$TMP/store2
oi_run() { timeout 60 offlineimap -o -c "$TMP/offlineimaprc" </dev/null; }
oi() { "$SYNC" -o "mail_location=dsyncfs:$STORE2" "$@"; }
mkdir -p "$TMP/oi"
check "OfflineIMAP has the mail" oi_run
check "OfflineIMAP: the store takes all over" oi -v mirror "maildir:$TMP/oi"
equal "OfflineIMAP: all is there" "$(doveadm_dump box | grep -o 'sha1=.*' | sort)" "$(oi dump | grep -o 'sha1=.*' | sort)"
mkdir -p "$TMP/mnt2"
check "OfflineIMAP: mount" "$MOUNT" "dsyncfs:$STORE2" "$TMP/mnt2"
printf 'Subject: mine\n\nfrom the mount\n' >"$TMP/mnt2/tmp/2.mine"; mv "$TMP/mnt2/tmp/2.mine" "$TMP/mnt2/new/"
mail_there Work/Sub sub2
check "OfflineIMAP: the next round" oi_run
check "OfflineIMAP: through the mount" oi mirror "maildir:$TMP/oi"
check "OfflineIMAP: and back" oi_run
check "OfflineIMAP: new mail has come" eval 'grep -rqs "sub2" "$TMP/mnt2/.Work.Sub"'
equal "OfflineIMAP: new mail has gone" "$(doveadm_dump box | grep -o 'sha1=.*' | sort)" "$(oi dump | grep -o 'sha1=.*' | sort)"
umount_store "$STORE2" "$TMP/mnt2"

# ---- Dovecot's replicator ----

# The machine a: its Dovecot goes on with the Maildir that dsyncfs-sync keeps like the other machine's mail.
dovecot_conf a "maildir:$TMP/dovecot/a/home/Maildir"
da a mailbox create -s Mine
$MAIL one nearmine | da a save -m Mine
$MAIL one nearin | da a save -m INBOX
conf <<-C
	mail_location = maildir:$TMP/dovecot/a/home/Maildir
	remote b {
		location = ssh me@b doveadm dsync-server
	}
C
# ssh's part is to reach the other machine; tests/interop/ssh.sh has the real one.
script ssh <<-C
	#!/bin/sh
	[ "\$1 \$2" = "me@b doveadm" ] || exit 255
	shift 2
	exec $TMP/bin/far "\$@"
C
export PATH=$TMP/bin:$PATH
same_mail() { equal "$1" "$(doveadm_dump box | sed 's/ highestmodseq=[0-9]*//; s/ modseq=[0-9]*//')" "$(doveadm_dump a | sed 's/ highestmodseq=[0-9]*//; s/ modseq=[0-9]*//')"; }
check "replicator: both are merged" again "$SYNC" -v mirror b
same_mail "replicator: both Dovecots have the same"
$MAIL one later | da a save -m Mine
da a flags add '\Flagged' mailbox Mine 1
mail_there Work later2
da box expunge mailbox INBOX uid 2
check "replicator: and are again" again "$SYNC" mirror b
same_mail "replicator: after changes on both sides too"
equal "replicator: Dovecot has no complaint" "" "$(cat "$TMP"/dovecot/*/log 2>/dev/null | grep -E 'Error|Panic|Fatal')"
finish
